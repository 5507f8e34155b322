"""A few damaged files of each kind; ``make fuzz`` reads twenty thousand."""

import random

import pytest
from fuzzed_files import KINDS
from harness import attempt, variant
from mutations import mutated

FILES = 24


@pytest.mark.filterwarnings("ignore:Duplicate name")  # of zipfile, while a file is damaged
@pytest.mark.parametrize("kind", list(KINDS))
def test_damaged_files_are_read_or_refused_and_nothing_else(kind, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    originals = KINDS[kind].make(whole)
    if not originals:
        pytest.skip("the published file lies in ../shared, which is not here")
    for original in originals:
        KINDS[kind].read(original)
    outcomes = set()
    for number in range(FILES):
        path = variant(kind, originals, number, seed=1, folder=tmp_path)
        outcomes.add(attempt(kind, path))
        path.unlink()
    assert "refused" in outcomes


def test_the_same_seed_damages_a_file_alike():
    content = bytes(range(256)) * 8
    made = [mutated(content, random.Random(f"a/{number}")) for number in range(50)]
    assert made == [mutated(content, random.Random(f"a/{number}")) for number in range(50)]
    assert len(set(made)) > 40
