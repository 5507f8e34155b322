"""The Python in README and docs runs as it stands, in a folder with a few scans and a model."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "docs/index.md",
    "docs/scans.md",
    "docs/training.md",
    "docs/evaluation.md",
    "docs/use.md",
    "docs/landmarks.md",
    "docs/file-format.md",
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """What the pages take for granted: registered scans, a dataset of them, and a run folder with its model."""
    import trimesh

    from meshdisent import LinearModel, Mesh, ScanDataset

    sphere = trimesh.creation.icosphere(subdivisions=4, radius=80.0)
    vertices, faces = np.asarray(sphere.vertices), np.asarray(sphere.faces, dtype=np.int64)
    random = np.random.default_rng(0)
    people = {name: vertices * random.uniform(0.8, 1.2, 3) for name in ("anna", "ben", "cleo", "dan")}
    expressions = {"neutral": np.zeros(3), "smile": np.array([3.0, 0, 0]), "frown": np.array([0, 3.0, 0])}
    scans = {
        f"{person}/{name}": shape + move * np.cos(shape / 20)
        for person, shape in people.items()
        for name, move in expressions.items()
    }
    made = tmp_path_factory.mktemp("made")
    for name, scan in scans.items():
        for parent, extension in (("scans", "ply"), (".", "ply"), (".", "obj")):
            Mesh(scan, faces).write(made / parent / f"{name}.{extension}")
    subjects, labels = zip(*(name.split("/") for name in scans), strict=True)
    split = ["train"] * 9 + ["test"] * 3
    dataset = ScanDataset.from_arrays(np.stack(list(scans.values())), faces, subjects, labels, split=split)
    dataset.save(made / "faces.h5")
    LinearModel.fit(dataset).save(made / "run" / "model.safetensors")
    return made


@pytest.fixture
def folder(prepared, tmp_path, monkeypatch):
    """A copy of it to work in."""
    monkeypatch.chdir(shutil.copytree(prepared, tmp_path, dirs_exist_ok=True))
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page, folder, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    if "FolderLayout" in "".join(blocks):
        (folder / "faces.h5").unlink()  # the page makes it
    names: dict = {}
    for block in blocks:
        # The deep model takes half an hour where the linear one takes a moment, behind the same functions.
        exec(compile(block.replace("WSDF", "LinearModel"), page, "exec"), names)
    written = {"README.md": "anna-with-bens-frown.ply", "docs/scans.md": "faces.h5", "docs/use.md": "walk-8.ply"}
    assert page not in written or (folder / written[page]).stat().st_size > 0
