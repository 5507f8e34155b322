"""Expressions under names: kept in the model file, found by name, refused where they cannot be right."""

import pytest
import torch

from meshdisent.errors import ModelFileError, UsageError
from meshdisent.morphable import contract
from meshdisent.morphable.linear import LinearModel
from meshdisent.morphable.model_file import load
from meshdisent.morphable.named_expressions import find_expression
from meshdisent.morphable.tensor_file import read_tensors, write_tensors
from meshdisent.training.loop import build
from meshdisent.training.recipe import Recipe, TrainingConfig, model_class

CODES = {"jawOpen": torch.tensor([0.123456789, -2.0]), "mouthSmile_L": torch.tensor([1.0, 0.5])}


@pytest.fixture
def model(tiny_scans, tiny_config):
    return LinearModel.fit(tiny_scans, tiny_config["linear"])


def altered(path, **tensors):
    found, texts = read_tensors(path)
    write_tensors(path, found | tensors, texts, overwrite=True)
    return path


@pytest.mark.parametrize("name", sorted(contract.MODELS))
def test_every_model_has_none_by_default_and_keeps_those_it_is_given(name, tiny_scans, tiny_config, tmp_path):
    training = TrainingConfig(steps=1) if model_class(name, "the test").trainable else None
    model = build(Recipe(model=name, seed=1, config=tiny_config[name], training=training), tiny_scans)
    assert model.named_expressions == {}
    model.save(tmp_path / "none.safetensors")
    assert load(tmp_path / "none.safetensors").named_expressions == {}
    assert not [k for k in read_tensors(tmp_path / "none.safetensors")[0] if k.startswith("expressions/")]
    if model.expression_size == 0:
        return  # nothing to name
    codes = {"jawOpen": torch.linspace(-2, 0.123456789, model.expression_size)}
    codes["mouthSmile_L"] = codes["jawOpen"].flip(0)
    model.named_expressions = dict(codes)
    model.save(tmp_path / "two.safetensors")
    loaded = load(tmp_path / "two.safetensors").named_expressions
    assert loaded.keys() == codes.keys()
    assert all(torch.equal(loaded[key], codes[key]) for key in codes)


def test_codes_stay_float32_in_a_file_of_half_precision_and_of_a_model_in_double(model, tmp_path):
    for number, made in enumerate((model, model.double())):
        made.named_expressions = {key: code.to(made.identity_mean) for key, code in CODES.items()}
        made.save(tmp_path / str(number), half=True)
        assert read_tensors(tmp_path / str(number))[0]["expressions/jawOpen"].dtype == torch.float32
        assert torch.equal(load(tmp_path / str(number)).named_expressions["jawOpen"], CODES["jawOpen"])


@pytest.mark.parametrize("name", ["", "jaw open", "jaw/open", "-jaw", ".jaw", "../jaw", "jaw\n", "Mäuler", "neutral"])
def test_a_name_that_is_no_word_is_refused_when_saved_and_when_opened(model, tmp_path, name):
    model.save(tmp_path / "file")
    altered(tmp_path / "file", **{f"expressions/{name}": torch.zeros(2)})
    with pytest.raises(ModelFileError, match=r"names an expression .*; wanted letters of a to z, digits") as told:
        load(tmp_path / "file")
    assert repr(name) in str(told.value)
    model.named_expressions = {name: torch.zeros(2)}
    with pytest.raises(ModelFileError, match="names an expression"):
        model.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (torch.zeros(3), r"jawOpen is float32 of shape \(3,\); wanted \(2,\) floats, the model's expression code"),
        (torch.zeros(1, 2), r"jawOpen is float32 of shape \(1, 2\); wanted \(2,\)"),
        (torch.zeros(2, dtype=torch.int64), r"jawOpen is int64 of shape \(2,\)"),
        (torch.tensor([0.0, torch.nan]), "jawOpen has a number that is not finite"),
    ],
)
def test_a_code_that_is_none_is_refused_when_saved_and_when_opened(model, tmp_path, code, message):
    model.save(tmp_path / "file")
    altered(tmp_path / "file", **{"expressions/jawOpen": code})
    with pytest.raises(ModelFileError, match=message):
        load(tmp_path / "file")
    model.named_expressions = {"jawOpen": code}
    with pytest.raises(ModelFileError, match=message):
        model.save(tmp_path / "other")


def test_a_name_is_found_or_the_nearest_is_named_with_their_number():
    assert find_expression(CODES, "jawOpen") is CODES["jawOpen"]
    for misspelled, nearest in (("jawopen", "jawOpen"), ("smile", "mouthSmile_L"), ("JAW", "jawOpen")):
        with pytest.raises(UsageError) as told:
            find_expression(CODES, misspelled)
        assert str(told.value) == (
            f"The model has no expression {misspelled!r}; it has 2 under names. Did you mean {nearest!r}?"
        )


def test_a_model_without_names_says_so():
    with pytest.raises(UsageError, match=r"has no expression 'jawOpen'; it has none under any name. Give a scan"):
        find_expression({}, "jawOpen")
