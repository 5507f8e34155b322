"""The very file that the published program wrote becomes a model file of ours."""

import io
import json
import zipfile

import pytest
import torch

from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.model_file import load
from meshdisent.morphable.published import load_published, published_config


@pytest.fixture
def path(golden_path):
    return golden_path("published_dev.zip")


@pytest.fixture
def published(golden, path):
    levels = golden("hierarchy")
    return load_published(path, Mesh(levels["L0.vertices"] * 1000), levels["L0.faces"])


def test_every_tensor_of_the_published_file_is_in_the_model_or_left_out_on_purpose(published, path):
    with zipfile.ZipFile(path) as archive:
        parts = torch.load(io.BytesIO(archive.read("param.pth")), weights_only=True)
    ours = [value.flatten() for value in published.state_dict().values()]
    absent = [
        f"{part}.{name}"
        for part, state in parts.items()
        for name, value in state.items()
        if not any(torch.equal(value.flatten(), own) for own in ours)
    ]
    assert [name for name in absent if "sampling_matrix" not in name] == ["NeuBank.data.weight"]
    assert not any(name.endswith("_col") for name in absent), "the columns of a pooling matrix are the kept vertices"


def test_its_pooling_and_spirals_are_those_of_the_published_hierarchy(golden, published):
    levels, spirals = golden("hierarchy"), golden("spirals")
    for encoder in (published.identity_encoder, published.expression_encoder):
        for level, stage in enumerate((1, 3)):
            assert encoder.trunk[stage].kept.tolist() == levels[f"D{level}.kept"].tolist()
        for level, stage in enumerate((0, 2, 4)):
            assert encoder.trunk[stage].conv.spirals.tolist() == spirals[f"L{level}.len9_dil1"].tolist()


def test_its_settings_are_those_of_the_training_program(golden, published):
    settings = json.loads(str(golden("train_steps")["config_json"]))
    assert published.config == published_config(settings)
    assert (published.config.loss.jacobian_lower, published.config.loss.jacobian_upper) == (30, 80)


def test_saved_and_loaded_it_gives_the_same_faces(golden, published, tmp_path):
    published.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    scans = torch.from_numpy(golden("forward_dev")["input_mm"])
    codes = loaded.encode(scans)
    assert torch.equal(codes.identity, published.encode(scans).identity)
    assert torch.equal(loaded.decode(codes), published.decode(codes))
