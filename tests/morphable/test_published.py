"""Opening what WSDF's published program saves: the same model, and nothing in a hostile file is run."""

import io
import os
import pickle
import zipfile

import pytest
import torch
import yaml

from meshdisent.errors import ModelFileError, TopologyError
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable import published
from meshdisent.morphable.model_file import load
from meshdisent.morphable.published import load_published, published_config
from meshdisent.morphable.wsdf import WSDF

SETTINGS = {
    "model": {
        "num_ind": 3,
        "num_exp": 2,
        "num_vec": 8,
        "Encoder": {"channels": [4, 6, 8, 8, 8, 12]},
        "Decoder": {"channels": [12]},
        "NeuBank": {"beta": 0.99},
    },
    "loss": {"weight": {"rec": 1, "kl": 1, "neu": 10, "mi": 0, "jac": 10}, "gamma": [0, 500]},
    "train": {"belief_min_count": 5},
}


@pytest.fixture(scope="module")
def model(tiny_scans, tiny_config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WSDF.for_training(tiny_config["wsdf"], tiny_scans).eval()


@pytest.fixture
def template(tiny_scans):
    return Mesh(tiny_scans.topology.template, tiny_scans.topology.faces)


def published_parts(model):
    """The state dicts that the published program would save for this model."""
    encoder = {}
    for branch, short in ((model.identity_encoder, "ind"), (model.expression_encoder, "exp")):
        for name, value in branch.state_dict().items():
            part, _, rest = name.partition(".")
            if part == "head":
                encoder[f"head_{short}.1.{rest}"] = value
            elif rest.endswith("kept"):
                prefix = f"backbone_{short}.{rest.removesuffix('kept')}sampling_matrix_"
                matrix = {"crow": torch.arange(len(value) + 1), "col": value, "val": torch.ones(len(value))}
                encoder |= {prefix + part: entries for part, entries in matrix.items()}
            else:
                is_residual = rest[0] in "56"
                rest = rest.replace("linear", "layer").replace("spirals", "indices")
                rest = (
                    rest.replace(".block.", ".block_0.")
                    if ".block." in rest or not is_residual
                    else (rest.replace(".conv.", ".block_1.conv."))
                )
                encoder[f"backbone_{short}.{rest}"] = value
    decoder = {k.replace("generator.", "gen_model."): v for k, v in model.decoder.state_dict().items()}
    norm = {"mean": model.normalization.mean[None], "std": model.normalization.deviation[None]}
    bank = {"data.weight": model.bank.entries.flatten(1)}
    return {"Encoder": encoder, "VAEHead": {}, "Decoder": decoder, "NeuBank": bank, "Norm": norm}


def saved(path, parts=None, settings=SETTINGS, **members):
    """Write a ZIP like the published one; ``members`` replace or, if None, leave out files by their first name."""
    weights = io.BytesIO()
    torch.save(parts, weights)
    content = {"param": ("param.pth", weights.getvalue()), "config": ("config.yaml", yaml.safe_dump(settings).encode())}
    with zipfile.ZipFile(path, "w") as archive:
        for short, (name, value) in content.items():
            value = members.get(short, value)
            if value is not None:
                archive.writestr(name, value)
    return path


def with_pickle(content):
    """A file of torch.save whose pickle is something else."""
    proper, changed = io.BytesIO(), io.BytesIO()
    torch.save({"Norm": {}}, proper)
    with zipfile.ZipFile(proper) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            target.writestr(name, content if name.endswith("data.pkl") else source.read(name))
    return changed.getvalue()


def complaint(path, template):
    with pytest.raises(ModelFileError) as refused:
        load_published(path, template)
    message = str(refused.value)
    assert path.name in message
    assert "\n" not in message
    return message


def test_the_opened_model_is_the_saved_one(model, template, tiny_scans, tmp_path):
    path = saved(tmp_path / "99-1200.zip", published_parts(model))
    opened = load_published(path, template)
    shown = torch.from_numpy(tiny_scans.vertices())
    codes, again = model.encode(shown), opened.encode(shown)
    assert torch.equal(codes.identity, again.identity)
    assert torch.equal(codes.expression, again.expression)
    assert torch.equal(model.decode(codes), opened.decode(codes))
    assert not opened.training
    assert opened.bank is None
    assert opened.topology.template_hash == model.topology.template_hash


def test_it_is_saved_as_a_normal_model_file(model, template, tiny_scans, tmp_path):
    opened = load_published(saved(tmp_path / "99.zip", published_parts(model)), template)
    opened.calibrate(tiny_scans)
    opened.save(tmp_path / "model.safetensors")
    back = load(tmp_path / "model.safetensors")
    shown = torch.from_numpy(tiny_scans.vertices())
    assert torch.equal(back.encode(shown).identity, model.encode(shown).identity)
    assert back.config == opened.config
    assert back.moving.sum() == 49


def test_without_training_scans_the_prior_is_standard_normal(model, template, tmp_path):
    opened = load_published(saved(tmp_path / "99.zip", published_parts(model)), template)
    assert torch.equal(opened.prior().identity_factor, torch.eye(3))
    assert not opened.moving.any()


def test_template_and_faces_may_come_from_files(model, template, tmp_path):
    path = saved(tmp_path / "99.zip", published_parts(model))
    template.write(tmp_path / "template.ply")
    assert load_published(path, tmp_path / "template.ply").topology.topology_hash == model.topology.topology_hash
    bare = Mesh(template.vertices)
    assert load_published(path, bare, template.faces).topology.topology_hash == model.topology.topology_hash
    with pytest.raises(TopologyError, match=r"has no faces; wanted triangles. Give them as `faces`"):
        load_published(path, bare)


def test_a_template_of_other_size_or_unit_is_refused(model, template, shapes, tmp_path):
    path = saved(tmp_path / "99.zip", published_parts(model))
    with pytest.raises(TopologyError, match=r"template has 42 vertices; .*99\.zip was trained on 162"):
        load_published(path, Mesh(*shapes.sphere(1)))
    with pytest.raises(TopologyError, match=r"template is 0\.1\d* wide.*mm\. Give the template in mm"):
        load_published(path, template.with_vertices(template.vertices / 1000))


def test_settings_become_a_configuration():
    config = published_config(SETTINGS)
    assert (config.identity_size, config.expression_size, config.fused_size, config.hidden) == (3, 2, 8, (12,))
    assert config.encoder.channels == (4, 6, 8, 8, 8)
    assert config.encoder.feature == 12
    assert (config.bank.beta, config.bank.confidence_shift) == (0.99, 5.0)
    loss = config.loss
    assert (loss.reconstruction, loss.kl, loss.neutral, loss.compactness, loss.jacobian) == (1, 1, 10, 0, 10)
    assert (loss.jacobian_lower, loss.jacobian_upper) == (0, 500)
    assert (loss.pairing, loss.space) == ("published", "standardized")
    assert config.hierarchy.method == "published"


def test_settings_that_are_left_out_have_the_published_defaults():
    bare = {"model": {k: v for k, v in SETTINGS["model"].items() if k not in ("num_vec", "NeuBank")}}
    config = published_config(bare | {"loss": {"weight": SETTINGS["loss"]["weight"]}})
    assert config.fused_size == 64
    assert config.bank.beta == 0.9
    assert (config.loss.jacobian_lower, config.loss.jacobian_upper) == (0, 5000)


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_hostile_file_is_run(template, tmp_path):
    trap = tmp_path / "trap"
    message = complaint(saved(tmp_path / "evil.zip", {"Norm": Hostile(trap)}), template)
    assert "names posix.mkdir; wanted plain tensors only" in message
    assert "refused unread" in message
    assert not trap.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_no_pickle_of_any_protocol_is_run(template, tmp_path, protocol):
    trap = tmp_path / "trap"
    weights = with_pickle(pickle.dumps(Hostile(trap), protocol=protocol))
    assert "wanted plain tensors only" in complaint(saved(tmp_path / "evil.zip", param=weights), template)
    assert not trap.exists()


def test_torch_alone_would_not_run_it_either(template, tmp_path, monkeypatch):
    monkeypatch.setattr(published, "_refuse_code", lambda archive, where: None)
    trap = tmp_path / "trap"
    assert "could not be read as tensors" in complaint(saved(tmp_path / "evil.zip", {"Norm": Hostile(trap)}), template)
    assert not trap.exists()


def test_a_bare_pickle_is_refused(template, tmp_path):
    trap = tmp_path / "trap"
    path = saved(tmp_path / "evil.zip", param=pickle.dumps(Hostile(trap)))
    assert "could not be read as tensors" in complaint(path, template)
    path.write_bytes(pickle.dumps(Hostile(trap)))
    assert "could not be read as a ZIP" in complaint(path, template)
    assert not trap.exists()


def test_harmless_objects_that_are_no_tensors_are_refused_too(template, tmp_path):
    parts = {"Norm": {"mean": torch.device("cpu")}}
    assert "torch.device" in complaint(saved(tmp_path / "odd.zip", parts), template)
    assert "Norm.mean is no plain tensor" in complaint(saved(tmp_path / "odd.zip", {"Norm": {"mean": 3}}), template)
    assert "no dict of named tensors" in complaint(saved(tmp_path / "odd.zip", [1, 2]), template)


def test_a_view_that_claims_more_than_it_holds_is_refused(template, tmp_path):
    parts = {"Norm": {"mean": torch.zeros(1).expand(10**12)}}
    assert "Norm.mean is no plain tensor" in complaint(saved(tmp_path / "bomb.zip", parts), template)


def test_a_file_that_says_it_is_too_large_is_refused_unread(model, template, tmp_path, monkeypatch):
    path = saved(tmp_path / "bomb.zip", published_parts(model))
    monkeypatch.setitem(published.MOST_BYTES, "config.yaml", 10)
    assert "config.yaml says it has" in (message := complaint(path, template))
    assert "wanted at most 10. Refused unread" in message
    monkeypatch.setitem(published.MOST_BYTES, "param.pth", 100)
    assert "param.pth says it has" in complaint(path, template)


def test_a_compressed_bomb_inside_is_refused_unread(template, tmp_path, monkeypatch):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(3_000_000))
    monkeypatch.setitem(published.MOST_BYTES, "param.pth", 1_000_000)
    path = saved(tmp_path / "bomb.zip", param=inner.getvalue())
    assert "says it unpacks to 3000000 bytes; wanted at most 1000000" in complaint(path, template)


@pytest.mark.parametrize("missing", ["param", "config"])
def test_a_missing_member_is_named(model, template, tmp_path, missing):
    path = saved(tmp_path / "half.zip", published_parts(model), **{missing: None})
    assert f"holds 0 files named {missing}." in complaint(path, template)


def test_a_damaged_zip_is_refused(model, template, tmp_path):
    path = saved(tmp_path / "damaged.zip", published_parts(model))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert "could not be read as a ZIP (Bad CRC-32" in complaint(path, template)
    path.write_bytes(bytes(content)[:5000])
    assert "could not be read as a ZIP" in complaint(path, template)
    path.unlink()
    assert "No such file" in complaint(path, template)


@pytest.mark.parametrize(
    ("part", "name", "value", "said"),
    [
        ("Encoder", "backbone_ind.0.conv.layer.weight", None, "identity_encoder.trunk.0.conv.linear.weight"),
        ("Encoder", "head_exp.1.bias", torch.zeros(3), "size mismatch"),
        ("Encoder", "backbone_exp.1.sampling_matrix_val", torch.full((41,), 0.5), "does not select one vertex a row"),
        ("Encoder", "backbone_exp.6.block_0.conv.indices", torch.full((11, 9), 99), "point outside their level"),
        ("Encoder", "backbone_ind.0.conv.indices", torch.full((162, 9), -1), "point outside their level"),
        ("Norm", "mean", None, "KeyError"),
        ("Decoder", "recoupler.weight", torch.zeros(8, 2, 3), "size mismatch"),
    ],
)
def test_what_is_missing_or_of_other_size_is_named(model, template, tmp_path, part, name, value, said):
    parts = published_parts(model)
    assert name in parts[part]
    if value is None:
        del parts[part][name]
    else:
        parts[part][name] = value
    assert said in complaint(saved(tmp_path / "half.zip", parts), template)


@pytest.mark.parametrize(
    "settings", ["", "[]", "a: [", "model: 3", "model: {num_ind: many}", "!!python/object/apply:os.mkdir [trap]"]
)
def test_settings_that_are_none_are_refused(model, template, tmp_path, settings):
    path = saved(tmp_path / "odd.zip", published_parts(model), config=settings.encode())
    assert "is not a whole published model" in complaint(path, template)
    assert not os.path.exists("trap")


def test_settings_that_contradict_the_tensors_are_refused(model, template, tmp_path):
    wrong = SETTINGS | {"model": SETTINGS["model"] | {"num_ind": 4}}
    assert "size mismatch" in complaint(saved(tmp_path / "odd.zip", published_parts(model), wrong), template)
