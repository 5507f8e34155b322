"""LatentFace on rendered faces, in small: every kind of row is made, measured, recorded, and not made twice."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "latentface"))
from tiny_faces import tiny_config, tiny_images, tiny_recipe

pytest.importorskip("diffusers", reason="needs the extra image (diffusers)")


@pytest.fixture
def photographs(program, tmp_path, monkeypatch):
    """The program with two small recipes, and an experiment of ten people at 32 pixels."""
    module = program("photographs")
    recipes = {
        "LatentFace": tiny_config(),
        "encoder instead": tiny_config("encoder", stage_one_steps=None, start="run"),
    }
    files = {}
    for name, config in recipes.items():
        files[name] = str(tmp_path / f"{module.slug(name)}.yaml")
        Path(files[name]).write_text(yaml.safe_dump(tiny_recipe(config).plain()))
    monkeypatch.setattr(module, "TRAINED", files)
    monkeypatch.setattr(module, "ALL", ("constant depth", "mean true depth", *files, "pixels"))
    places = {"records": tmp_path / "records", "table": tmp_path / "table.md"}
    module.experiment = module.Experiment(out=tmp_path / "out", people=10, size=32, **places)
    return module


def test_rows_are_made_measured_and_recorded_without_folders(photographs, tmp_path):
    experiment = photographs.experiment
    for name in photographs.ALL:
        assert experiment.record(name) is None
        photographs.jobs.write_json(
            experiment.records / f"{photographs.slug(name)}.json", photographs.make(experiment, name, {"commit": "c"})
        )
        assert experiment.record(name) is not None
    photographs.write_table(experiment)
    table = experiment.table.read_text()
    assert "Not measured yet" not in table
    assert table.count("| LatentFace |") == 1 + len(experiment.record("LatentFace")["codes"])
    everything = "".join(file.read_text() for file in experiment.records.iterdir())
    assert str(tmp_path) not in everything
    # The mean of the true depths is nearer than any constant one.
    depths = {name: experiment.record(name)["depth"]["SIDE"]["mean"] for name in ("constant depth", "mean true depth")}
    assert depths["mean true depth"] < depths["constant depth"]


def test_a_record_of_another_recipe_holds_no_more(photographs, tmp_path):
    experiment = photographs.experiment
    record = photographs.make(experiment, "LatentFace", {"commit": "c"})
    photographs.jobs.write_json(experiment.records / "latentface.json", record)
    assert experiment.record("LatentFace") is not None
    Path(photographs.TRAINED["LatentFace"]).write_text(yaml.safe_dump(tiny_recipe(steps=9).plain()))
    assert experiment.record("LatentFace") is None
    photographs.write_table(experiment)
    assert "Not measured yet: constant depth; mean true depth; LatentFace" in experiment.table.read_text()


def test_a_supervised_network_learns_the_depth(photographs, monkeypatch):
    """With the truth given, sixty steps are enough to beat what it begins with."""
    experiment = photographs.experiment
    recipe = tiny_recipe()
    monkeypatch.setattr(photographs, "read_recipe", lambda name: recipe)
    results = []
    for steps in (1, 60):
        monkeypatch.setattr(photographs, "SUPERVISED_STEPS", steps)
        results.append(photographs.supervised(experiment)["depth"]["SIDE"]["mean"])
    assert results[1] < results[0]


def test_pixels_are_means_of_squares(photographs):
    images = torch.from_numpy(tiny_images().images(np.arange(2)))
    means = photographs.image_means(images)
    assert means.shape == (2, 3 * 16 * 16)
    assert torch.allclose(means[1, 0], images[1, 0, :2, :2].mean())


def test_unknown_rows_are_told(photographs, tmp_path, capsys):
    assert photographs.main([str(tmp_path / "x"), "--only", "magic"]) == 2
    assert "no row 'magic'" in capsys.readouterr().err
