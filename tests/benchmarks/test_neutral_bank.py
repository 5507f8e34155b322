"""Estimates of the neutral against the truth: which scans count, and that the figures are those of the arrays."""

import json
import shutil

import numpy as np
import pytest
import small_faces
import yaml

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.pseudo_neutrals import pseudo_neutrals
from meshdisent.training.checkpoint import read_checkpoint
from meshdisent.training.recipe import read_recipe
from meshdisent.training.run_folder import RunFolder


@pytest.fixture
def room(program):
    return program("neutral_bank")


@pytest.fixture(scope="module")
def people():
    return small_faces.scans()


TINY = {
    "model": "wsdf",
    "description": "tiny",
    "config": {
        "identity_size": 2,
        "expression_size": 2,
        "fused_size": 4,
        "hidden": [8],
        "encoder": {"channels": [4, 4, 4, 4, 4], "feature": 4},
        "hierarchy": {"factors": [2, 2, 2, 2]},
        "bank": {"beta": 0.5},
    },
    "training": {"steps": 3, "minutes": 5, "sampler": {"anchors": 2, "partners": 1}},
}


@pytest.fixture
def job(room, raw, zoo, people, tmp_path):
    """Run the program in a folder that has the scans already; gives its record."""
    (zoo / "wsdf-published" / "variants").mkdir(parents=True)
    (zoo / "wsdf-published" / "recipe.yaml").write_text(yaml.safe_dump(TINY))
    loss = {"loss": {"compactness": 0.0, "jacobian": 0.0, "group": 2}}
    variant = {"base": "wsdf-published", "config": loss}
    (zoo / "wsdf-published" / "variants" / "bank.yaml").write_text(yaml.safe_dump(variant))
    people.save(tmp_path / "out" / "faces.h5")

    def run(*arguments: str) -> dict:
        assert room.main([str(raw), str(tmp_path / "out"), *arguments], records=tmp_path / "records") == 0
        return json.loads((tmp_path / "records" / "neutral-bank.json").read_text())

    run.out = tmp_path / "out"
    return run


# Which scans count


def test_a_setting_thins_out_training_scans_alone(room, people):
    for setting in room.SETTINGS.values():
        rows = setting.rows(people)
        assert (np.diff(rows) > 0).all()
        assert set(people.rows("test")) <= set(rows)


def test_without_the_neutral_scans_each_subject_lacks_exactly_that_one(room, people):
    left_out = np.setdiff1d(np.arange(len(people)), room.SETTINGS["no-neutral"].rows(people))
    assert people.names(left_out) == [f"s{k:02d}/neutral" for k in range(small_faces.TRAIN)]


def test_so_many_scans_of_each_subject_are_drawn_and_always_the_same(room, people):
    setting = room.Setting(title="three", count=3)
    rows = setting.rows(people)
    train = rows[people.split[rows] == 0]
    assert np.bincount(people.subject[train])[: small_faces.TRAIN].tolist() == [3] * small_faces.TRAIN
    assert np.array_equal(rows, setting.rows(people))
    drawn = {tuple(people.expression[train[people.subject[train] == k]]) for k in range(small_faces.TRAIN)}
    assert len(drawn) > 3, "each subject has a draw of its own"
    assert any(0 in expressions for expressions in drawn), "neutral scans may be drawn"
    assert not all(0 in expressions for expressions in drawn)


def test_five_scans_are_given_the_confidence_of_the_paper(room):
    changed = {slug: setting.set for slug, setting in room.SETTINGS.items() if setting.set}
    assert changed == {"five": ("config.bank.confidence_shift=1",)}
    assert [(s.has_neutral, s.count) for s in room.SETTINGS.values()] == [
        (True, None),
        (False, None),
        (True, 10),
        (True, 5),
    ]
    recipe = read_recipe(room.RECIPE, room.SETTINGS["five"].set)
    assert (recipe.config.bank.confidence_shift, recipe.config.bank.start) == (1.0, "mean_scan")


# Figures


def test_figures_are_distances_to_the_neutrals_that_the_dataset_knows(job, people, room, capsys):
    record = job("--only", "mean", "median")
    moving = room.Truth.of(people).moving
    assert moving.sum() == round(0.3 * len(moving))
    part = ScanDataset.open(job.out / "neutral-bank" / "no-neutral.h5")
    for slug, scans in (("all", people), ("no-neutral", part)):
        for name in ("mean", "median"):
            found = pseudo_neutrals(scans, name)[: small_faces.TRAIN]
            distance = np.linalg.norm(found - small_faces.PEOPLE[: small_faces.TRAIN], axis=2)
            assert record[slug][name]["mean"] == pytest.approx(distance.mean(), abs=1e-5)
            assert record[slug][name]["moving"] == pytest.approx(distance[:, moving].mean(), abs=1e-5)
    assert record["no-neutral"]["mean"]["mean"] > record["all"]["mean"]["mean"]
    text = (job.out / "neutral-bank.md").read_text()
    entry = record["all"]["mean"]
    assert f"| all 20 expressions | {entry['mean']:.3f}\u00a0/\u00a0{entry['moving']:.3f} | " in text
    assert "EMA" not in text
    assert text in capsys.readouterr().out
    assert (job.out / "neutral-bank.png").stat().st_size > 1000
    assert str(job.out) not in json.dumps(record)


def test_the_bank_is_read_from_the_checkpoint_and_earlier_figures_stay(job, people, room, monkeypatch):
    before = job("--only", "mean")
    record = job("--only", "EMA bank")
    entry = record["five"]["EMA bank"]
    bank = read_checkpoint(RunFolder(job.out / "neutral-bank" / "five"))[0].model["bank.entries"].numpy()
    distance = np.linalg.norm(bank[: small_faces.TRAIN] - small_faces.PEOPLE[: small_faces.TRAIN], axis=2)
    assert entry["mean"] == pytest.approx(distance.mean(), abs=1e-5)
    assert (entry["steps"], entry["set"]) == (3, ["config.bank.confidence_shift=1"])
    assert record["all"]["mean"] == before["all"]["mean"]
    text = (job.out / "neutral-bank.md").read_text()
    assert "5 expressions: 3 steps in 0.0 minutes (config.bank.confidence_shift=1)." in text

    def no_training(*given):
        raise AssertionError("what is trained is not trained again")

    monkeypatch.setattr("jobs.command", no_training)
    again = job("--only", "EMA bank")
    assert again["all"]["EMA bank"]["mean"] == record["all"]["EMA bank"]["mean"]


def test_a_smoke_test_keeps_apart(job, raw, room, tmp_path):
    (job.out / "smoke").mkdir()
    shutil.copy(job.out / "faces.h5", job.out / "smoke" / "faces.h5")
    assert room.main([str(raw), str(job.out), "--minutes", "0.0001"], records=tmp_path / "records") == 0
    assert not (tmp_path / "records").exists()
    record = json.loads((job.out / "smoke" / "records" / "neutral-bank.json").read_text())
    assert all(found["EMA bank"]["is_smoke_test"] for found in record.values())
    assert " (smoke test) |" in (job.out / "smoke" / "neutral-bank.md").read_text()


def test_a_dataset_whose_neutrals_are_unknown_is_refused_in_one_line(job, raw, room, people, tmp_path, capsys):
    small_faces.scans(labels=False, truth=False).save(job.out / "faces.h5", overwrite=True)
    assert room.main([str(raw), str(job.out)], records=tmp_path / "records") == 3
    error = capsys.readouterr().err
    assert error.startswith("neutral_bank.py: error: 12 training subjects have no known neutral (first: s00)")
    assert len(error.splitlines()) == 1
