"""Raw scans of tiny people, a zoo of tiny models, and the programs in ``benchmarks`` as modules."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable import contract

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
import small_faces
import tiny_autoencoder

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Path:
    """What ict_faces.py writes, of 16 people: scans, split.json, and the true transfers beside them."""
    folder = tmp_path_factory.mktemp("raw scans") / "RAW"
    scans = small_faces.scans()
    for name, vertices in zip(scans.names(), scans.vertices(), strict=True):
        Mesh(vertices.astype("float64"), small_faces.FACES).write(folder / f"{name}.ply")
    names = small_faces.names()
    (folder / "split.json").write_text(json.dumps({"train": names[:10], "val": names[10:12], "test": names[12:]}))
    small_faces.write_pairs(folder.with_name("RAW-transfer"), [(12, 1, 13, 2), (13, 0, 14, 1), (15, 2, 12, 3)])
    return folder


@pytest.fixture
def zoo(tmp_path, monkeypatch) -> Path:
    """A zoo of a tiny trained model with a variant, and of one in closed form; also what they are made of."""
    import meshdisent.zoo_index as index

    monkeypatch.setattr(contract, "MODELS", dict(contract.MODELS))
    tiny_autoencoder.register()
    folder = tmp_path / "zoo"
    (folder / "tiny" / "variants").mkdir(parents=True)
    (folder / "closed").mkdir()
    training = "{steps: 6, minutes: 2, validate_steps: 3, sampler: {anchors: 3, partners: 1}}"
    (folder / "tiny" / "recipe.yaml").write_text(f"model: tiny\ndescription: tiny\ntraining: {training}\n")
    (folder / "tiny" / "variants" / "wide.yaml").write_text("base: tiny\nconfig: {expression_size: 4}\n")
    (folder / "closed" / "recipe.yaml").write_text("model: tiny_mean\ndescription: closed\n")
    monkeypatch.setattr(index, "zoo_folder", lambda: folder)
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny matrices on several threads take twenty times as long when other work is going on."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def program(monkeypatch):
    """Import a program of ``benchmarks`` by name, as it finds its own neighbors when it is run."""
    own = [file.stem for file in BENCHMARKS.glob("*.py")]
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in own:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in own:
        sys.modules.pop(name, None)
