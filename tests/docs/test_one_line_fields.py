"""How our docstrings are put before Sphinx."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[2] / "docs" / "extensions" / "one_line_fields.py"


@pytest.fixture(scope="module")
def separate():
    """The function, as text in and text out."""
    spec = importlib.util.spec_from_file_location("one_line_fields", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda text: "\n".join(module.separate_fields(text.split("\n")))


def test_words_of_a_parameter_move_below_its_name(separate):
    text = "Sum.\n\nParameters\n----------\na, b : (V,) Numbers,\n    in mm.\nkeep : bool\n    As it says."
    assert separate(text) == (
        "Sum.\n\nParameters\n----------\na, b\n    (V,) Numbers,\n    in mm.\nkeep : bool\n    As it says."
    )


def test_an_error_is_a_name_with_words_too(separate):
    assert separate("Raises\n------\nMeshError : If it is none.") == "Raises\n------\nMeshError\n    If it is none."


def test_a_free_text_under_returns_is_words_without_name_or_type(separate):
    assert separate("Returns\n-------\nScalar, mm.") == "Returns\n-------\n:\n    Scalar, mm.\n"


def test_several_results_become_a_list(separate):
    assert separate("Returns\n-------\nface : (P,) The face,\n    the first.\nfar : (P,) How far.") == (
        "Returns\n-------\n:\n    * **face**: (P,) The face,\n      the first.\n    * **far**: (P,) How far.\n"
    )


def test_attributes_become_a_list(separate):
    text = "Attributes\n----------\nname, unit : As in\n    the file."
    assert separate(text) == "Attributes\n----------\n* **name, unit**: As in\n  the file.\n"


def test_a_colon_outside_these_sections_is_left_alone(separate):
    text = "a : not a parameter of this.\n\nExamples\n--------\nb : nor is this one."
    assert separate(text) == text
