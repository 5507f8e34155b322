"""Opening what FED's published program saves: the same model, and nothing in a hostile file is run."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from meshdisent.errors import ModelFileError, TopologyError
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable import published_fed
from meshdisent.morphable.fed import FED
from meshdisent.morphable.model_file import load
from meshdisent.morphable.published_fed import load_published_fed

HEADS = {"identity_mean": "fc_id_mu", "identity_log_variance": "fc_id_sigma"}
HEADS |= {"expression_mean": "fc_exp_mu", "expression_log_variance": "fc_exp_sigma"}


@pytest.fixture
def model(tiny_scans, tiny_config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FED.for_training(tiny_config["fed"], tiny_scans).eval()


@pytest.fixture
def template(tiny_scans):
    return Mesh(tiny_scans.topology.template, tiny_scans.topology.faces)


def published_state(model):
    """The state dict that the published program would save for this model."""
    state = OrderedDict()
    for name, value in model.encoder.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if layer in HEADS:
            state[f"{HEADS[layer]}.{kind}"] = value
        else:
            _, group, number = layer.split(".")
            theirs = f"{'conv' if group == 'linears' else 'bn'}{int(number) + 1}"
            state[f"{theirs}.{kind}"] = value[..., None] if (group, kind) == ("linears", "weight") else value
    for branch, short in ((model.decoder.identity_branch, "id"), (model.decoder.expression_branch, "exp")):
        for kind in ("weight", "bias"):
            state[f"fc1_{short}.{kind}"] = getattr(branch.net[0], kind).detach()
            last = getattr(branch.net[2], kind).detach()
            state[f"fc2_{short}.{kind}"] = torch.cat([last[axis::3] for axis in range(3)])
    return state


def saved(path, content):
    torch.save(content, path)
    return path


def opened(path, model, template, **replaced):
    given = {"mean_face": model.mean.numpy(), "scale_mm": float(model.coordinates.scale)} | replaced
    return load_published_fed(path, template, **given)


def complaint(path, model, template, **replaced):
    with pytest.raises(ModelFileError) as refused:
        opened(path, model, template, **replaced)
    message = str(refused.value)
    assert path.name in message
    assert "\n" not in message
    return message


def test_the_opened_model_is_the_saved_one(model, template, tiny_scans, tmp_path):
    path = saved(tmp_path / "VAE-ID_DIS_model_300.pt", published_state(model))
    # The published unit is about the origin.
    model.coordinates.origin.zero_()
    found = opened(path, model, template, mean_face=model.mean.numpy()[None])
    shown = torch.from_numpy(tiny_scans.vertices())
    codes, again = model.encode(shown), found.encode(shown)
    assert torch.equal(codes.identity, again.identity)
    assert torch.equal(codes.expression, again.expression)
    assert torch.equal(model.decode(codes), found.decode(codes))
    assert torch.equal(model.neutral(codes.identity), found.neutral(codes.identity))
    assert not found.training
    assert found.discriminator is None
    assert (found.config.encoder, found.config.hidden) == (model.config.encoder, model.config.hidden)


def test_it_is_saved_as_a_normal_model_file(model, template, tiny_scans, tmp_path):
    found = opened(saved(tmp_path / "fed.pt", published_state(model)), model, template)
    found.calibrate(tiny_scans)
    found.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert loaded.moving.any()
    shown = torch.from_numpy(tiny_scans.vertices())
    assert torch.equal(loaded.encode(shown).identity, found.encode(shown).identity)


class Program:
    """What a hostile file would run."""

    def __reduce__(self):
        return os.system, ("touch /tmp/must-not-exist",)


def test_nothing_in_a_file_is_run(model, template, tmp_path, monkeypatch):
    path, ran = saved(tmp_path / "hostile.pt", {"conv1.weight": Program()}), []
    monkeypatch.setattr(os, "system", lambda command: ran.append(command) or 0)
    message = complaint(path, model, template)
    assert "wanted plain tensors only" in message
    assert "refused unread" in message
    assert ran == []


def test_other_objects_than_named_tensors_are_refused(model, template, tmp_path):
    state = published_state(model)
    for number, content in enumerate((state | {"epoch": 3}, state | {4: torch.ones(2)}, torch.ones(3), [1, 2])):
        message = complaint(saved(tmp_path / f"{number}.pt", content), model, template)
        assert "Wanted the state dict of a VAE that FED's published program saves." in message
    view = state | {"conv1.weight": torch.ones(1).expand(8, 3, 1)}
    assert "conv1.weight is no plain tensor" in complaint(saved(tmp_path / "view.pt", view), model, template)


def test_damage_and_missing_tensors_are_told(model, template, tmp_path):
    path = saved(tmp_path / "whole.pt", published_state(model))
    content = path.read_bytes()
    for number, cut in enumerate((b"", content[:500], content[:-100], pickle.dumps({"a": 1}))):
        (tmp_path / f"cut{number}.pt").write_bytes(cut)
        assert "could not be read" in complaint(tmp_path / f"cut{number}.pt", model, template)
    assert "could not be read" in complaint(tmp_path / "absent.pt", model, template)
    for name in ("conv2.weight", "bn1.running_var", "fc_id_mu.weight", "fc2_exp.bias"):
        state = published_state(model)
        del state[name]
        assert "is not a whole published model" in complaint(saved(tmp_path / "less.pt", state), model, template)
    wrong = published_state(model) | {"conv2.weight": torch.ones(16, 9, 1)}
    assert "is not a whole published model" in complaint(saved(tmp_path / "wrong.pt", wrong), model, template)


def test_a_discriminator_is_not_a_model(model, template, tmp_path):
    state = {"feature_network.conv1.weight": torch.ones(4, 6, 1)}
    assert "is not a whole published model" in complaint(saved(tmp_path / "judge.pt", state), model, template)


def test_a_file_that_is_too_large_is_refused_unread(model, template, tmp_path, monkeypatch):
    path = saved(tmp_path / "large.pt", published_state(model))
    monkeypatch.setattr(published_fed, "MOST_BYTES", 100)
    assert "wanted at most 100. Refused unread." in complaint(path, model, template)


def test_more_than_one_pickle_is_refused(model, template, tmp_path):
    path = saved(tmp_path / "two.pt", published_state(model))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", pickle.dumps(1))
    assert "holds 2 pickles" in complaint(path, model, template)


def test_another_template_or_mean_face_is_refused(model, template, shapes, tmp_path):
    path = saved(tmp_path / "fed.pt", published_state(model))
    small = Mesh(80 * shapes.sphere(1)[0], shapes.sphere(1)[1])
    with pytest.raises(TopologyError, match=r"template has 42 vertices.*trained on 162"):
        opened(path, model, small)
    with pytest.raises(TopologyError, match=r"mean face has 42 vertices.*trained on 162"):
        opened(path, model, template, mean_face=np.zeros((42, 3)))
    with pytest.raises(TopologyError, match=r"Give the template in mm"):
        opened(path, model, Mesh(template.vertices / 1000, template.faces))
    buffer = io.BytesIO()
    np.save(buffer, model.mean.numpy())
    buffer.seek(0)
    assert opened(path, model, template, mean_face=np.load(buffer, allow_pickle=False)).topology.vertex_count == 162
