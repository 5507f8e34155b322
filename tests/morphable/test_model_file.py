"""Opening model files: what is wrong with one is said in a line that a stranger can act on."""

import copy
import json

import pytest
import torch
from safetensors.torch import save_file

from meshdisent.errors import ModelFileError
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.linear import LinearConfig, LinearModel, LinearParts
from meshdisent.morphable.model_file import find_model, known_models, load
from meshdisent.morphable.tensor_file import (
    halved,
    read_tensors,
    topology_from_tensors,
    topology_tensors,
    whole,
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
    known = ", ".join(sorted(known_models()))
    assert f"class 'hologram'; known are {known}. Install" in complaint(path)


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


# Half precision


@pytest.fixture(scope="module")
def large_model(shapes):
    """A linear model whose bases are most of its file: 642 vertices, 100 codes, displacements of about 1 mm."""
    vertices, faces = shapes.sphere(3)
    random = torch.Generator().manual_seed(0)
    count, sizes = 3 * len(vertices), (60, 40)
    bases = [torch.randn(size, count, generator=random) / size**0.5 for size in sizes]
    rest = 90 * torch.from_numpy(vertices).flatten()
    encoder = torch.linalg.pinv(torch.cat(bases))
    config = LinearConfig(identity_size=60, expression_size=40)
    return LinearModel(
        config, Topology(90 * vertices, faces), LinearParts(rest, *bases, rest.clone(), encoder, torch.zeros(100))
    )


def test_half_precision_makes_about_half_the_file_and_the_same_faces(large_model, tmp_path):
    large_model.save(tmp_path / "whole")
    large_model.save(tmp_path / "half", half=True)
    sizes = [(tmp_path / name).stat().st_size for name in ("whole", "half")]
    assert 0.5 < sizes[1] / sizes[0] < 0.55
    found = load(tmp_path / "half")
    assert {v.dtype for v in found.state_dict().values()} == {torch.float32, torch.bool}
    assert found.topology.template_hash == large_model.topology.template_hash
    codes = large_model.prior().sample(50, torch.Generator().manual_seed(1))
    faces = large_model.decode(codes)
    assert (found.decode(codes) - faces).norm(dim=2).max() < 0.01
    assert (found.neutral(codes.identity) - large_model.neutral(codes.identity)).norm(dim=2).max() < 0.01
    assert (found.decode(found.encode(faces)) - faces).norm(dim=2).max() < 0.01


def test_a_model_is_built_from_whole_numbers_even_if_it_keeps_what_it_is_given(large_model, tmp_path, monkeypatch):
    large_model.save(tmp_path / "half", half=True)
    given, build = {}, LinearModel.from_parts

    def spy(config, topology, state):
        given.update(state)
        return build(config, topology, state)

    monkeypatch.setattr(LinearModel, "from_parts", spy)
    load(tmp_path / "half")
    assert {value.dtype for value in given.values()} == {torch.float32, torch.bool}


def test_half_precision_is_said_in_the_head_and_spares_what_is_no_larger_than_a_scan(large_model, tmp_path):
    large_model.save(tmp_path / "whole")
    large_model.save(tmp_path / "half", half=True)
    (full, texts), (half, half_texts) = (read_tensors(tmp_path / name) for name in ("whole", "half"))
    assert "precision" not in texts
    assert half_texts == texts | {"precision": "float16"}
    assert half_texts["format_version"] == "1"
    assert full.keys() == half.keys()
    changed = {name for name in half if half[name].dtype != full[name].dtype}
    assert changed == {f"state/{name}" for name in ("identity_basis", "expression_basis", "encoder", "identity_factor")}
    assert all(half[name].dtype == torch.float16 for name in changed)
    assert half["topology/template"].dtype == torch.float64


def test_integers_and_truth_values_stay_as_they_are_in_half_precision():
    tensors = {"spirals": torch.arange(9), "moving": torch.ones(9, dtype=torch.bool), "weight": torch.ones(9).double()}
    kept = halved(tensors, 0, "it")
    assert {name: value.dtype for name, value in kept.items()} == {
        "spirals": torch.int64,
        "moving": torch.bool,
        "weight": torch.float16,
    }
    assert whole(kept)["weight"].dtype == torch.float32


def test_a_network_in_half_precision_opens_with_its_integers(tiny_scans, tiny_config, tmp_path):
    network = WSDF.for_training(tiny_config["wsdf"], tiny_scans).eval()
    network.save(tmp_path / "half", half=True)
    found = load(tmp_path / "half")
    kinds = {name: value.dtype for name, value in network.state_dict().items()}
    assert {name: value.dtype for name, value in found.state_dict().items()}.items() <= kinds.items()
    shown = torch.from_numpy(tiny_scans.vertices())
    with torch.no_grad():
        assert (found.decode(found.encode(shown)) - network.decode(network.encode(shown))).abs().max() < 0.01


@pytest.mark.parametrize("value", [7e4, -7e4, float("inf")])
def test_a_number_too_large_for_half_precision_is_refused(large_model, tmp_path, value):
    model = copy.deepcopy(large_model)
    model.expression_basis[3, 5] = value
    with pytest.raises(ModelFileError) as refused:
        model.save(tmp_path / "half", half=True)
    assert str(refused.value) == (
        f"{tmp_path / 'half'}: state/expression_basis has the number {abs(value):.4g}; half precision holds at most "
        "65504. Save the model without half."
    )
    assert not (tmp_path / "half").exists()


def test_weights_of_the_zoo_with_a_flipped_bit_are_refused_by_their_name(path, tmp_path, monkeypatch):
    import meshdisent.zoo_index as index

    monkeypatch.setattr(index, "zoo_folder", lambda: tmp_path / "zoo")
    weights = tmp_path / "zoo" / "mean-face" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    content = bytearray(path.read_bytes())
    weights.write_bytes(content)
    assert load("mean-face").name == "linear"
    content[-500] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelFileError) as refused:
        load("mean-face")
    assert str(refused.value) == (
        f"{weights} is damaged: its content does not have the digest in its head. Copy it again, or make it again."
    )


def test_examples_of_expressions_come_back_as_they_were(model, path):
    assert torch.equal(load(path).expression_examples, model.expression_examples)


def test_examples_of_another_size_are_refused(path):
    rewritten(path, tensors={"prior/expression_examples": torch.zeros(5, 99)})
    assert "has expression examples of shape (5, 99); wanted (N, " in complaint(path)


def test_a_file_without_examples_draws_from_the_gaussian(path):
    rewritten(path, tensors={"prior/expression_examples": None})
    assert load(path).prior().expression_examples is None


def test_a_number_that_is_spread_without_stride_is_written_and_read(tmp_path):
    """As a broadcast array gives it: it counts as contiguous, and has no bytes of its own."""
    spread = torch.tensor([2.5]).as_strided((1,), (0,))
    write_tensors(tmp_path / "a.safetensors", {"x": spread}, {}, overwrite=False)
    write_tensors(tmp_path / "b.safetensors", {"x": torch.tensor([2.5])}, {}, overwrite=False)
    assert read_tensors(tmp_path / "a.safetensors")[0]["x"].tolist() == [2.5]
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
