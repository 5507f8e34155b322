"""The second set of people has the form of the first, and its transfers are true."""

import csv
import json

import numpy as np
import pytest

from meshdisent.data.synthetic import SyntheticHead, performer
from meshdisent.mesh.mesh import Mesh


@pytest.fixture
def program_of_people(program, monkeypatch):
    module = program("synthetic_people")
    monkeypatch.setattr(module, "PAIRS", 5)
    return module


def test_scans_split_and_transfers_are_written(program_of_people, tmp_path, capsys):
    raw = tmp_path / "heads"
    assert program_of_people.main([str(raw), "--people", "10", "--seed", "4"]) == 0
    split = json.loads((raw / "split.json").read_text())
    assert [len(split[name]) for name in ("train", "val", "test")] == [6, 1, 3]
    head = SyntheticHead(1200)
    person = performer(head, 4, 7)
    scan = Mesh.read(raw / "person_007" / "smile.ply").vertices
    assert np.abs(scan - head.face(person.identity, "smile", person.manners["smile"])).max() < 0.3  # noise of 0.05 mm
    rows = list(csv.DictReader((tmp_path / "heads-transfer" / "pairs.csv").read_text().splitlines()))
    assert len(rows) == 5
    for row in rows:
        (who, _), (whose, expression) = row["identity"].split("/"), row["expression"].split("/")
        assert {who, whose} <= set(split["test"])
        assert who != whose
        one, other = (performer(head, 4, int(name[-3:])) for name in (who, whose))
        truth = Mesh.read(tmp_path / "heads-transfer" / row["truth"]).vertices
        assert np.abs(truth - head.face(one.identity, expression, other.manners[expression])).max() < 1e-3
    assert program_of_people.main([str(raw)]) == 2
    assert "exists" in capsys.readouterr().err
