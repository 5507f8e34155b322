"""meshdisent models: what the zoo says about itself."""

import json
import sys
from pathlib import Path

import pytest
import torch

from meshdisent.cli import models as models_module
from meshdisent.cli.main import main
from meshdisent.morphable import contract, model_file
from meshdisent.morphable.trainable import ModelCard
from meshdisent.training.recipe import read_recipe
from meshdisent.zoo_index import zoo_names, zoo_variants

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
import tiny_autoencoder


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A zoo with one trained model and one bare recipe."""
    import meshdisent.zoo_index as index

    monkeypatch.setattr(contract, "MODELS", dict(contract.MODELS))
    tiny_autoencoder.register()
    for module in (index, models_module):
        monkeypatch.setattr(module, "zoo_folder", lambda: tmp_path / "zoo")
    for name in ("mean-face", "bare"):
        folder = tmp_path / "zoo" / name
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text(f"model: tiny_mean\ndescription: the {name}\n")
    model = tiny_autoencoder.TinyMean.fit(tiny_autoencoder.tiny_scans())
    model.card = ModelCard(metrics={"E_avd": {"mean": 1.25, "std": 9.0}, "E_id": {"a": 9.0, "b": 0.5}, "leak": 3.0})
    model.save(tmp_path / "zoo" / "mean-face" / "weights.safetensors")
    card = "---\ndata: ICT-300\nlicense: MIT\n---\n# The mean face\n"
    (tmp_path / "zoo" / "mean-face" / "card.md").write_text(card)
    return tmp_path / "zoo"


def test_each_model_has_its_size_data_license_and_figures(zoo, capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out.splitlines()
    size = (zoo / "mean-face" / "weights.safetensors").stat().st_size
    assert out == [
        "bare       recipe",
        "           the bare",
        f"mean-face  {size / 1e6:.1f} MB, ICT-300, MIT, E_avd 1.25, E_id 0.50 mm",
        "           the mean-face",
        "",
        "Train one: meshdisent train NAME --data faces.h5 --out run",
    ]


def test_a_model_of_pictures_has_the_figures_of_its_depth(capsys):
    """The one that comes along; its figures are those of its card."""
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("latentface-rendered")]
    assert "MAD 15.75 degrees, SIDE 0.89e-2" in line
    assert " mm" not in line


def test_json_has_the_same(zoo, capsys, tmp_path):
    assert main(["models", "--json", "-"]) == 0
    bare, mean = json.loads(capsys.readouterr().out)["models"]
    assert (bare["has_weights"], bare["bytes"], bare["figures_mm"], bare["license"]) == (False, None, {}, None)
    assert mean == {
        "name": "mean-face",
        "class": "tiny_mean",
        "what": "the mean-face",
        "data": "ICT-300",
        "license": "MIT",
        "has_weights": True,
        "bytes": (zoo / "mean-face" / "weights.safetensors").stat().st_size,
        "figures_mm": {"E_avd": 1.25, "E_id": 0.5},
        "depth": {},
        "named_expressions": 0,
        "variants": [],
    }
    assert main(["models", "--json", str(tmp_path / "zoo.json")]) == 0
    assert json.loads((tmp_path / "zoo.json").read_text())["models"] == [bare, mean]
    assert main(["models", "--json", str(tmp_path / "zoo.json")]) == 2


@pytest.mark.parametrize(("names", "said"), [(["jawOpen", "a"], "2 named expressions"), (["a"], "1 named expression")])
def test_named_expressions_are_counted_from_the_head(zoo, capsys, names, said, monkeypatch):
    model = model_file.load("mean-face")
    model.named_expressions = {name: torch.zeros(model.expression_size) for name in names}
    model.save(zoo / "mean-face" / "weights.safetensors", overwrite=True)
    monkeypatch.setattr(model_file, "load", None)
    assert main(["models"]) == 0
    assert f", MIT, E_avd 1.25, E_id 0.50 mm, {said}\n" in capsys.readouterr().out
    assert main(["models", "--json", "-"]) == 0
    bare, mean = json.loads(capsys.readouterr().out)["models"]
    assert (bare["named_expressions"], mean["named_expressions"]) == (0, len(names))


def test_damaged_weights_do_not_hide_the_rest(zoo, capsys):
    (zoo / "mean-face" / "weights.safetensors").write_bytes(b"cut")
    assert main(["models"]) == 0
    assert "mean-face  0.0 MB, ICT-300, MIT\n" in capsys.readouterr().out


def test_names_of_the_zoo_are_models_and_recipes(zoo):
    assert model_file.find_model("mean-face") == zoo / "mean-face" / "weights.safetensors"
    assert read_recipe("bare").description == "the bare"


def test_variants_are_counted_and_listed(zoo, capsys):
    (zoo / "bare" / "variants").mkdir()
    for name in ("short", "long"):
        (zoo / "bare" / "variants" / f"{name}.yaml").write_text("base: bare\n")
    (zoo / "bare" / "recipe.yaml").write_text("base: mean-face\ndescription: stands on another\n")
    assert main(["models"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["bare       recipe, 2 variants", "           stands on another"]
    assert main(["models", "--json", "-"]) == 0
    bare, mean = json.loads(capsys.readouterr().out)["models"]
    assert (bare["class"], bare["variants"], mean["variants"]) == ("tiny_mean", ["bare/long", "bare/short"], [])


@pytest.mark.parametrize("name", [found for name in zoo_names() for found in (name, *zoo_variants(name))])
def test_every_recipe_that_comes_along_can_be_read(name):
    recipe = read_recipe(name)
    assert recipe.description, "say in the recipe what it is for"
