"""Opening what LatentFace's published program saves: the same networks, and nothing in a hostile file is run."""

import io
import os
import zipfile

import pytest
import torch

from meshdisent.errors import ModelFileError
from meshdisent.latentface.diffusion import DiffusionConfig, RepresentationDiffusion
from meshdisent.latentface.networks import (
    ConfidenceNetwork,
    NetworkConfig,
    light_network,
    shape_network,
    texture_network,
    view_network,
)
from meshdisent.latentface.published import load_published_latentface

pytest.importorskip("diffusers", reason="needs the extra image")

SIZES = {"width": 16, "code_size": 8, "number_width": 4, "confidence_width": 16, "confidence_code_size": 6}
DIFFUSION = DiffusionConfig(latent_size=8, width=64, rule="published", snr_cap=None)
#: Our beginnings of names, and the published ones.
PUBLISHED = {
    "encoder.layers.": "network1.",
    "decoder.layers.": "network2.",
    "trunk.": "network.",
    "layers.": "network.",
    "pixel_head.": "out_net1.",
    "feature_head.": "out_net2.",
    "denoiser.unet.": "",
}
OLD = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


def networks_of(size=64):
    config = NetworkConfig(image_size=size, norm_groups=16, **SIZES)
    built = {
        "netEA": RepresentationDiffusion(DIFFUSION),
        "netED": RepresentationDiffusion(DIFFUSION),
        "netD": shape_network(config),
        "netA": texture_network(config),
        "netL": light_network(config),
        "netV": view_network(config),
        "netC": ConfidenceNetwork(config),
    }
    return {name: network.eval() for name, network in built.items()}


def published_name(name, old_attention=True):
    for ours, theirs in PUBLISHED.items():
        if name.startswith(ours):
            name = theirs + name.removeprefix(ours)
            break
    for ours, theirs in OLD.items() if old_attention else ():
        name = name.replace(ours, theirs)
    return name


def parts_of(networks, old_attention=True):
    """The state dicts that the published program would save."""
    return {
        net: {published_name(n, old_attention): v for n, v in network.state_dict().items() if "latent_range" not in n}
        for net, network in networks.items()
    }


@pytest.fixture(scope="module")
def networks():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return networks_of()


@pytest.fixture
def parts(networks):
    return parts_of(networks)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "diffusion_64.pth"


def complaint(path, parts=None):
    if parts is not None:
        torch.save(parts, path)
    with pytest.raises(ModelFileError) as refused:
        load_published_latentface(path)
    message = str(refused.value)
    assert path.name in message
    assert "\n" not in message
    return message


def assert_same(opened, networks):
    names = {"netD": "shape", "netA": "texture", "netL": "light", "netV": "view", "netC": "confidence"}
    names |= {"netEA": "identity_texture", "netED": "identity_shape"}
    for net, name in names.items():
        ours, theirs = getattr(opened, name).state_dict(), networks[net].state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("size", [64, 128])
def test_the_opened_networks_are_the_saved_ones(path, size):
    networks = networks_of(size)
    torch.save(parts_of(networks), path)
    opened = load_published_latentface(path)
    assert_same(opened, networks)
    assert opened.config == NetworkConfig(image_size=size, norm_groups=16, **SIZES)
    assert opened.identity_shape.config == opened.identity_texture.config == DIFFUSION


@pytest.mark.parametrize("old_attention", [True, False])
def test_old_and_new_names_of_the_attention_are_understood(path, networks, old_attention):
    parts = parts_of(networks, old_attention)
    assert ("mid_block.attentions.0.query.weight" in parts["netEA"]) == old_attention
    torch.save(parts, path)
    assert_same(load_published_latentface(path), networks)


def test_tensors_may_share_a_storage(path, parts, networks):
    whole = torch.cat([v.flatten() for state in parts.values() for v in state.values()])
    begin = 0
    for state in parts.values():
        for name, value in state.items():
            state[name] = whole[begin : begin + value.numel()].view(value.shape)
            begin += value.numel()
    torch.save(parts, path)
    assert_same(load_published_latentface(path), networks)


def test_missing_networks_are_all_named(path, parts):
    del parts["netED"], parts["netC"]
    assert "lacks netC, netED. Wanted the dict of state dicts netD, netA" in complaint(path, parts)


def test_a_foreign_network_is_named(path, parts):
    assert "holds also netX." in complaint(path, parts | {"netX": {}})


def test_a_missing_and_a_foreign_tensor_are_named(path, parts):
    value = parts["netA"].pop("network2.7.weight")
    assert "netA lacks decoder.layers.7.weight." in complaint(path, parts)
    parts["netA"] |= {"network2.7.weight": value, "network2.99.weight": value}
    assert "netA holds also decoder.layers.99.weight." in complaint(path, parts)
    del parts["netA"]["network2.99.weight"], parts["netL"]["network.0.weight"]
    assert "is not a whole published model (KeyError: 'network.0.weight')" in complaint(path, parts)


def test_wrong_shapes_are_named(path, parts):
    good = parts["netV"]["network.10.weight"]
    parts["netV"]["network.10.weight"] = good[:5].clone()
    assert "netV: layers.10.weight has shape (5, 32, 1, 1); wanted (6, 32, 1, 1)" in complaint(path, parts)
    parts["netV"]["network.10.weight"] = good
    parts["netC"]["network.0.weight"] = torch.tensor(1.0)
    assert "is not a whole published model (IndexError" in complaint(path, parts)


def test_codes_of_two_sizes_are_refused(path, parts):
    other = RepresentationDiffusion(DiffusionConfig(latent_size=10, width=64))
    parts["netED"] = parts_of({"netED": other})["netED"]
    assert "codes of 8 entries, netEA for 8 and netED for 10; wanted equal sizes" in complaint(path, parts)


def test_a_diffusion_whose_norm_would_wipe_out_its_input_is_refused(path, parts):
    parts["netED"]["conv_in.bias"] = torch.zeros(32)
    assert "width is 32 and norm_groups 32; wanted" in complaint(path, parts)


def test_another_number_of_layers_is_refused(path, parts):
    parts["netD"] = {k: v for k, v in parts["netD"].items() if k != "network1.3.weight"}
    assert "netD encodes with 4 convolutions; wanted 5 (64 pixels) or 6 (128 pixels)" in complaint(path, parts)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_finite_number_is_refused(path, parts, bad):
    parts["netL"]["network.2.weight"] = parts["netL"]["network.2.weight"].clone()
    parts["netL"]["network.2.weight"][0, 0, 0, 0] = bad
    assert "netL.network.2.weight is not made of finite numbers" in complaint(path, parts)


def test_integers_views_and_things_that_are_no_tensors_are_refused(path, parts):
    good = dict(parts["netL"])
    parts["netL"]["network.2.weight"] = good["network.2.weight"].long()
    assert "netL.network.2.weight is not made of finite numbers" in complaint(path, parts)
    parts["netL"]["network.2.weight"] = torch.zeros(1).expand(good["network.2.weight"].shape)
    assert "netL.network.2.weight is no plain tensor" in complaint(path, parts)
    parts["netL"] = good | {"network.2.weight": 3}
    assert "netL.network.2.weight is no plain tensor" in complaint(path, parts)
    assert "is no dict of state dicts" in complaint(path, dict(parts, netL=[good]))
    assert "is no dict of state dicts" in complaint(path, [parts])


def test_a_cut_file_is_refused(path, parts):
    torch.save(parts, path)
    content = path.read_bytes()
    for share in (0.0, 0.3, 0.9, 0.999):
        path.write_bytes(content[: int(len(content) * share)])
        assert "could not be read as tensors" in complaint(path)


def test_a_file_with_cut_numbers_is_refused(path, parts):
    torch.save(parts, path)
    rewritten(path, lambda name, data: data[: len(data) // 2] if name.endswith("data/3") else data)
    assert "could not be read as tensors" in complaint(path)


def test_tensors_that_claim_more_numbers_than_the_file_has_are_refused(path, parts):
    parts["netEA"]["conv_out.bias"] = torch.zeros(77)
    torch.save(parts, path)
    size, larger = b"K\x00K\x4d\x85", b"K\x00K\xf8\x85"  # offset 0 and shape (77,) or (248,) in the pickle
    rewritten(path, lambda name, data: once(data, size, larger) if name.endswith("data.pkl") else data)
    assert "could not be read as tensors" in complaint(path)


def once(data, old, new):
    assert data.count(old) == 1
    return data.replace(old, new)


def rewritten(path, change):
    """Replace members of a file of torch.save."""
    made = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
    path.write_bytes(made.getvalue())


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_hostile_file_is_run(path, parts, tmp_path):
    trap = tmp_path / "trap"
    assert "names posix.mkdir; wanted plain tensors only" in complaint(path, parts | {"netC": Hostile(trap)})
    assert not trap.exists()


def test_a_file_that_is_too_large_or_absent_is_refused(path, parts, monkeypatch):
    assert "could not be read" in complaint(path)
    monkeypatch.setattr("meshdisent.latentface.published.MOST_BYTES", 1000)
    assert "bytes; wanted at most 1000. Refused unread." in complaint(path, parts)
