"""Files that were written when the formats were new still open, and still say the same."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from make_files import SHOWN, STEPS, recipes

from meshdisent import load
from meshdisent.cli.main import main
from meshdisent.data.dataset import ScanDataset
from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.data.synthetic import SyntheticHead
from meshdisent.latentface.face_views import look
from meshdisent.mesh.landmark_sets import read_landmark_set
from meshdisent.mesh.resampling import read_map

FILES = Path(__file__).parent / "files"
MODELS = ("wsdf", "fed", "coma", "linear", "multilinear")


@pytest.fixture(scope="module")
def expected():
    with np.load(FILES / "expected.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def scans():
    return ScanDataset.open(FILES / "faces.h5")


def test_scans_and_their_labels_are_read(scans, expected):
    assert np.array_equal(scans.vertices(), expected["vertices"])
    assert list(scans.subjects)[2:4] == ["zoë", "d e"]
    assert [len(scans.rows(split)) for split in ("train", "val", "test")] == [8, 2, 2]
    neutrals, is_known = scans.neutrals()
    assert is_known.any()
    assert np.isfinite(neutrals[is_known]).all()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_says_what_it_said(name, scans, expected):
    model = load(FILES / f"{name}.safetensors")
    shown = torch.from_numpy(scans.vertices()[:SHOWN])
    with torch.no_grad():
        codes = model.encode(shown)
        decoded = model.decode(codes)
    np.testing.assert_allclose(codes.identity.numpy(), expected[f"{name}/identity"], atol=1e-4)
    np.testing.assert_allclose(codes.expression.numpy(), expected[f"{name}/expression"], atol=1e-4)
    np.testing.assert_allclose(decoded.numpy(), expected[f"{name}/decoded"], atol=1e-3)
    assert np.ptp(decoded.numpy(), axis=0).max() > 0.01 or name == "coma", "three people are not one"


def test_pictures_and_their_model_say_what_they_said(expected):
    images = ImageDataset.open(FILES / "images.h5")
    assert np.array_equal(images.pixels(), expected["pixels"])
    seen = look(load(FILES / "latentface.safetensors"), torch.from_numpy(images.pixels()[:2]).permute(0, 3, 1, 2) / 255)
    np.testing.assert_allclose(seen.depth.numpy(), expected["latentface/depth"], atol=1e-5)
    np.testing.assert_allclose(seen.codes.texture_identity.numpy(), expected["latentface/texture"], atol=1e-4)


def test_a_run_that_was_stopped_goes_on(tmp_path, capsys):
    """Through the command line, with the recipe that lies in the folder."""
    run = tmp_path / "run"
    shutil.copytree(FILES / "run", run)
    command = ["train", str(run / "recipe.yaml"), "--data", str(FILES / "faces.h5"), "--out", str(run), "--resume"]
    assert main(command) == 0, capsys.readouterr().err
    model = load(run)
    assert model.card.notes["steps"] == STEPS
    assert recipes()["wsdf"].config.identity_size == model.identity_size


def test_maps_and_landmarks_are_read():
    head, small = SyntheticHead(2000), SyntheticHead(1200)
    found = read_map(FILES / "map.npz")
    moved = found.matrix @ head.topology.template
    assert np.linalg.norm(moved - small.topology.template, axis=1).mean() < 2.0
    landmarks = read_landmark_set(FILES / "landmarks.json", small.topology)
    assert len(landmarks) == 68
    assert landmarks.names[30] == "tip of the nose"
