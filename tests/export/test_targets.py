"""Which expressions a rig has."""

import numpy as np
import pytest
import torch

from meshdisent.editing import encode_scans
from meshdisent.errors import DataError, UsageError
from meshdisent.export.targets import apple_codes, dataset_codes, direction_codes, named_codes, scanned_codes
from meshdisent.morphable.arkit_names import ARKIT_NAMES, arkit_codes, ict_names
from meshdisent.morphable.contract import Codes


def test_names_are_all_those_of_the_model_or_the_chosen_ones(bent):
    assert list(named_codes(bent)) == ["first", "second", "both"]
    assert list(named_codes(bent, ["both"])) == ["both"]
    with pytest.raises(UsageError, match="Did you mean 'second'"):
        named_codes(bent, ["sekond"])
    bent.named_expressions = {}
    with pytest.raises(UsageError, match=r"no expression under a name.*--expressions faces.h5.*--targets directions"):
        named_codes(bent)


def test_expressions_of_a_dataset_are_mean_codes_without_the_neutral(linear, scans):
    found = dataset_codes(linear, scans)
    assert list(found) == ["smile", "frown", "pout"]
    rows = np.flatnonzero(scans.expression == scans.expressions.index("frown"))
    wanted = encode_scans(linear, scans.vertices(rows)).expression.mean(dim=0)
    torch.testing.assert_close(found["frown"], wanted)
    one = scanned_codes(linear, {"that": scans.vertices(rows[:1])[0]})
    torch.testing.assert_close(one["that"], encode_scans(linear, scans.vertices(rows[:1])).expression[0])


def test_a_dataset_without_expressions_is_refused(linear, scans, ball):
    from meshdisent.data.dataset import ScanDataset

    bare = ScanDataset.from_arrays(scans.vertices()[:2], ball[1], ["anna", "ben"])
    with pytest.raises(UsageError, match="has no scan with the name of an expression"):
        dataset_codes(linear, bare)


def test_directions_are_ordered_by_what_they_move_and_have_two_ends(linear):
    person = linear.prior().identity_mean
    found = direction_codes(linear, person, count=3)
    assert list(found)[:2] == ["direction-1-plus", "direction-1-minus"]
    assert len(found) == 6
    torch.testing.assert_close(found["direction-2-plus"], -found["direction-2-minus"])
    rest = linear.neutral(person[None])
    moved = [
        float((linear.decode(Codes(person[None], found[f"direction-{k}-plus"][None])) - rest).norm()) for k in (1, 2, 3)
    ]
    assert moved == sorted(moved, reverse=True)
    # The root mean square of a direction over the training scans is a deviation: half of what a target does.
    factor = linear.prior().expression_factor
    whole = (linear.expression_basis.T @ factor).norm().item()
    every = direction_codes(linear, person, count=linear.expression_size)
    total = sum(
        float((linear.decode(Codes(person[None], code[None])) - rest).norm()) ** 2
        for name, code in every.items()
        if name.endswith("plus")
    )
    assert total**0.5 == pytest.approx(2 * whole, rel=1e-3)
    with pytest.raises(UsageError, match="A rig of 0 directions was asked for"):
        direction_codes(linear, person, count=0)


def test_apples_names_are_52_and_sides_become_letters():
    assert len(set(ARKIT_NAMES)) == 52
    assert ict_names("mouthLowerDownLeft") == ("mouthLowerDown_L",)
    assert ict_names("mouthRight") == ("mouthRight",)
    parts = {part for name in ARKIT_NAMES for part in ict_names(name)}
    assert len(parts) == 54


def test_the_model_that_comes_along_has_all_shapes_of_arkit_but_the_tongue():
    from meshdisent.morphable.model_file import load_morphable

    model = load_morphable("wsdf-ict")
    found = apple_codes(model)
    assert set(ARKIT_NAMES) - set(found) == {"tongueOut"}
    assert list(found) == [name for name in ARKIT_NAMES if name != "tongueOut"]
    used = {part for name in found for part in ict_names(name)}
    assert used == set(model.named_expressions)


def test_both_sides_of_one_name_add_up():
    codes = arkit_codes({"browInnerUp_L": torch.tensor([1.0, 0.0]), "browInnerUp_R": torch.tensor([0.0, 2.0])})
    assert {name: code.tolist() for name, code in codes.items()} == {"browInnerUp": [1.0, 2.0]}


def test_a_model_that_does_not_know_arkit_says_what_would_help(bent, tmp_path):
    with pytest.raises(UsageError, match=r"does not know the shapes of ARKit.*--facekit FOLDER.*--targets directions"):
        apple_codes(bent)
    with pytest.raises(DataError, match="wanted a clone of ICT-FaceKit"):
        apple_codes(bent, tmp_path)
