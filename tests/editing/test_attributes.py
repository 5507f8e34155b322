"""Attribute directions: found where there is one, chance where there is none, and edits that do what they say."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.editing import edit_attribute, find_attribute, read_attribute_table
from meshdisent.errors import DataError, UsageError

NAMES = small_faces.names()


@pytest.fixture(scope="module")
def scans():
    return small_faces.scans()


@pytest.fixture(scope="module")
def model(scans):
    return small_faces.linear(scans, identity_size=3)


@pytest.fixture(scope="module")
def height():
    """How high the top of each person's head is, mm."""
    top = small_faces.TEMPLATE[:, 1].argmax()
    return dict(zip(NAMES, small_faces.PEOPLE[:, top, 1].tolist(), strict=True)), top


def test_a_length_is_found_and_edited_by_what_is_asked(model, scans, height):
    table, top = height
    found = find_attribute(model, scans, table)
    assert (found.kind, found.labels, found.people) == ("number", (), 16)
    assert found.score > 0.8 > found.chance
    assert not found.is_at_chance
    assert found.text().startswith("R^2 0.")
    shown = scans.vertices(np.array([61]))
    made = [mesh.vertices for mesh in edit_attribute(model, shown, found, [-2.0, 0.0, 2.0])]
    assert made[1] == pytest.approx(shown[0], abs=1e-3)
    rise = [face[top, 1] - shown[0, top, 1] for face in made]
    assert rise == pytest.approx([-2.0, 0.0, 2.0], abs=0.6)


def test_the_direction_is_what_goes_with_the_attribute_not_the_weights(model, scans, height):
    table, _ = height
    found = find_attribute(model, scans, table)
    rows = [np.flatnonzero(scans.subject == k) for k in range(16)]
    with torch.no_grad():
        codes = np.stack([model.encode(torch.from_numpy(scans.vertices(r))).identity.numpy().mean(0) for r in rows])
    values = np.array([table[name] for name in NAMES])
    slope = np.cov(codes.T, values)[:-1, -1] / values.var(ddof=1)  # of each entry on the value
    cosine = slope @ found.direction / np.linalg.norm(slope) / np.linalg.norm(found.direction)
    assert cosine > 0.99


def test_two_labels_are_told_apart_and_crossed(model, scans, height):
    table, top = height
    middle = np.median(list(table.values()))
    labels = {name: "tall" if value > middle else "short" for name, value in table.items()}
    found = find_attribute(model, scans, labels)
    assert (found.kind, found.labels) == ("label", ("short", "tall"))
    assert found.score > 0.8
    assert "balanced accuracy of short against tall" in found.text()
    low, high = (
        mesh.vertices[top, 1] for mesh in edit_attribute(model, scans.vertices(np.array([61])), found, [-1, 1])
    )
    assert high > low + 0.1


def test_what_nobody_can_read_is_called_chance(model, scans):
    random = np.random.default_rng(3)
    found = find_attribute(model, scans, {name: float(random.normal()) for name in NAMES})
    assert found.is_at_chance
    assert found.text().startswith("WARNING: R^2")
    assert found.text().endswith("at chance, so the direction means nothing")


def test_the_same_seed_gives_the_same(model, scans, height):
    first, second = (find_attribute(model, scans, height[0], seed=4) for _ in range(2))
    assert first.score == second.score
    assert first.chance == second.chance


def test_an_expression_stays_while_a_person_changes(model, scans, height):
    found = find_attribute(model, scans, height[0])
    shown = scans.vertices(np.array([61, 62]))
    made = edit_attribute(model, shown, found, [1.5], keep_detail=False)
    with torch.no_grad():
        before = model.encode(torch.from_numpy(shown))
        after = model.encode(torch.from_numpy(np.stack([mesh.vertices for mesh in made]).astype(np.float32)))
    assert after.expression.numpy() == pytest.approx(before.expression.numpy(), abs=0.05)
    assert (after.identity - before.identity).numpy() == pytest.approx(np.tile(1.5 * found.direction, (2, 1)), abs=0.05)


def test_tables_are_read_and_checked(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("subject,value\ns00, 3.5\ns01,4\ns01,4\ns02,\n")
    assert read_attribute_table(path) == {"s00": "3.5", "s01": "4"}
    path.write_text("label,subject\ntall,s00\n")
    assert read_attribute_table(path) == {"s00": "tall"}
    for content, message in {
        "subject,age\ns00,3\n": "lacks the columns subject and value",
        "": "lacks the columns",
        "subject,value\ns00,3\ns00,4\n": "says '3' and '4' of 's00'",
    }.items():
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            read_attribute_table(path)
    with pytest.raises(DataError, match="could not be read as a table"):
        read_attribute_table(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"s00": 1.0, "nobody": 2.0}, "1 people of the dataset are in the table of 2; wanted 10 or more"),
        (dict.fromkeys(NAMES, 3.0), "all the same, or not finite"),
        (dict.fromkeys(NAMES, "tall"), r"has the labels tall \(16\); wanted two"),
        ({name: "tall" if k > 2 else "short" for k, name in enumerate(NAMES)}, r"short \(3\), tall \(13\)"),
        ({name: "abc"[k % 3] for k, name in enumerate(NAMES)}, r"a \(6\), b \(5\), c \(5\); wanted two"),
    ],
)
def test_tables_that_say_nothing_are_refused(model, scans, table, message):
    with pytest.raises(DataError, match=message):
        find_attribute(model, scans, table)


def test_amounts_and_models_that_do_not_fit_are_refused(model, scans, height):
    found = find_attribute(model, scans, height[0])
    shown = scans.vertices(np.array([61]))
    with pytest.raises(UsageError, match=r"got the amounts \[\]; wanted at least one"):
        edit_attribute(model, shown, found, [])
    with pytest.raises(UsageError, match="moves 3 entries of an identity code; this linear model has 2"):
        edit_attribute(small_faces.linear(scans), shown, found, [1.0])
