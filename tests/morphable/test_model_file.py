"""Opening model files: what is wrong with one is said in a line that a stranger can act on."""

import json

import pytest
import torch
from safetensors.torch import save_file

from meshdisent.errors import ModelFileError
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.linear import LinearModel
from meshdisent.morphable.model_file import find_model, load
from meshdisent.morphable.tensor_file import (
    read_tensors,
    topology_from_tensors,
    topology_tensors,
    write_tensors,
)
from meshdisent.morphable.wsdf import WSDF


@pytest.fixture(scope="module")
def model(tiny_scans, tiny_config):
    return LinearModel.fit(tiny_scans, tiny_config["linear"])


@pytest.fixture
def path(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def rewritten(path, head=None, tensors=None):
    """Write the file again with some texts and tensors changed; None takes one out."""
    found, texts = read_tensors(path)
    changed = {k: v for k, v in ({**found, **(tensors or {})}).items() if v is not None}
    texts = {k: v for k, v in ({**texts, **(head or {})}).items() if v is not None}
    write_tensors(path, changed, texts, overwrite=True)
    return path


def complaint(path):
    with pytest.raises(ModelFileError) as refused:
        load(path)
    assert "\n" not in str(refused.value)
    assert str(path.name) in str(refused.value)
    return str(refused.value)


def test_a_run_folder_and_the_file_in_it_are_the_same_model(path, model):
    assert find_model(path.parent) == find_model(path) == find_model(str(path)) == path
    assert torch.equal(load(path.parent).encoder, model.encoder)


def test_a_name_that_is_nothing_says_what_there_is(tmp_path):
    with pytest.raises(ModelFileError, match=r"nowhere is neither a file, a run folder nor a zoo model.*zoo: "):
        load("nowhere")
    with pytest.raises(ModelFileError, match=r"a folder without a model\.safetensors"):
        load(tmp_path)


def test_a_truncated_file_is_said_to_be_damaged(path):
    path.write_bytes(path.read_bytes()[:-100])
    assert "could not be read as safetensors" in (message := complaint(path))
    assert "damaged" in message
    assert "copy it again" in message


def test_an_empty_file_is_said_to_be_damaged(path):
    path.write_bytes(b"")
    assert "could not be read as safetensors" in complaint(path)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.95])
def test_a_flipped_bit_anywhere_in_the_numbers_is_noticed(path, place):
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[start + int(place * (len(content) - start))] ^= 4
    path.write_bytes(bytes(content))
    assert "does not have the digest in its head" in complaint(path)


def test_a_changed_text_in_the_head_is_noticed(path):
    content = path.read_bytes()
    assert content.count(b'\\"ridge_weight\\": 0.0001') == 1
    path.write_bytes(content.replace(b'\\"ridge_weight\\": 0.0001', b'\\"ridge_weight\\": 0.0002'))
    assert "does not have the digest in its head" in complaint(path)


def test_a_foreign_safetensors_file_is_said_to_be_foreign(path):
    save_file({"weight": torch.zeros(3)}, path)
    assert "nothing that we know" in (message := complaint(path))
    assert "wanted a meshdisent model file" in message
    assert "meshdisent models" in message


def test_a_picture_is_no_model(path):
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    assert "no model file" in complaint(path)


def test_a_published_zip_is_told_how_to_be_opened(path):
    path.write_bytes(b"PK\x03\x04" + bytes(1000))
    assert "load_published" in complaint(path)


def test_a_checkpoint_is_no_model_file(path):
    rewritten(path, {"format": "meshdisent.checkpoint"})
    assert "says it is 'meshdisent.checkpoint'; wanted a meshdisent model file" in complaint(path)


def test_a_newer_version_asks_for_a_newer_program(path):
    rewritten(path, {"format_version": "2"})
    assert "format version 2; this program reads version 1. Install a newer meshdisent" in complaint(path)
    rewritten(path, {"format_version": None})
    assert "format version unknown" in complaint(path)


def test_a_class_that_is_not_known_is_named_beside_those_that_are(path):
    rewritten(path, {"class": "hologram"})
    assert "class 'hologram'; known are linear, wsdf" in complaint(path)


@pytest.mark.parametrize(
    ("head", "tensors"),
    [
        ({}, {"state/encoder": None}),
        ({}, {"state/encoder": torch.zeros(3, 3)}),
        ({}, {"state/surplus": torch.zeros(3)}),
        ({}, {"topology/faces": None}),
        ({}, {"topology/faces": torch.full((5, 3), 4000)}),
        ({}, {"topology/template": torch.zeros(162)}),
        ({"config": "{"}, {}),
        ({"config": "[]"}, {}),
        ({"config": json.dumps({"identity_size": 3, "surplus": 1})}, {}),
        ({"config": json.dumps({"identity_size": 0})}, {}),
        ({"config": None}, {}),
        ({"card": json.dumps({"surplus": 1})}, {}),
    ],
)
def test_a_file_that_is_not_whole_is_said_to_be_so(path, head, tensors):
    rewritten(path, head, tensors)
    message = complaint(path)
    assert "is not a whole LinearModel model" in message
    assert "Copy the file again" in message


@pytest.mark.parametrize("missing", ["normalization.mean", "identity_encoder.trunk.1.kept", "decoder.recoupler.weight"])
def test_a_network_that_is_not_whole_is_said_to_be_so(tiny_scans, tiny_config, tmp_path, missing):
    WSDF.for_training(tiny_config["wsdf"], tiny_scans).save(tmp_path / "net.safetensors")
    message = complaint(rewritten(tmp_path / "net.safetensors", tensors={f"state/{missing}": None}))
    assert "is not a whole WSDF model" in message
    assert missing in message


def test_a_template_that_was_altered_is_noticed(path):
    template = read_tensors(path)[0]["topology/template"]
    rewritten(path, tensors={"topology/template": template + 1})
    assert "holds a template with hash" in (message := complaint(path))
    assert "altered or damaged" in message


def test_a_file_without_a_card_opens(path):
    rewritten(path, {"card": None})
    assert load(path).card.recipe == {}


def test_a_topology_comes_back_with_its_regions(shapes, tmp_path):
    vertices, faces = shapes.sphere(1)
    topology = Topology(vertices, faces, {"nose": faces[0], "chin": faces[5]})
    write_tensors(tmp_path / "file", topology_tensors(topology), {"what": "a topology"}, overwrite=False)
    tensors, texts = read_tensors(tmp_path / "file")
    back = topology_from_tensors(tensors)
    assert texts == {"what": "a topology"}
    assert back.template_hash == topology.template_hash
    assert {name: rows.tolist() for name, rows in back.regions.items()} == {
        "nose": faces[0].tolist(),
        "chin": faces[5].tolist(),
    }


def test_a_full_disk_is_an_error_of_the_disk(model, tmp_path, monkeypatch):
    import safetensors.torch
    from safetensors import SafetensorError

    from meshdisent.errors import MeshdisentError

    def full(*arguments, **options):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(MeshdisentError, match=r"model\.safetensors could not be written.*disk is full"):
        model.save(tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []
