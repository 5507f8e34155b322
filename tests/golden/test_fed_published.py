"""The very files that FED's published program wrote become a model file of ours, and a discriminator."""

import numpy as np
import pytest
import torch

from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.model_file import load
from meshdisent.morphable.published_fed import load_published_fed, read_state
from meshdisent.nn.discriminator import DiscriminatorNetworkConfig, IdentityDiscriminator, published_discriminator_state

SCALE = 260.0


@pytest.fixture
def arrays(golden_fed):
    return golden_fed("forward_dev")


@pytest.fixture
def published(arrays, golden_fed_path):
    mean = arrays["mean_face"]
    template = Mesh(mean[0] * SCALE, arrays["faces"])
    return load_published_fed(golden_fed_path("published_dev.pth"), template, mean, SCALE)


def test_codes_and_faces_are_the_published_ones(arrays, published):
    published.double()  # published in single precision
    scans = torch.from_numpy(arrays["x"]).double() * SCALE
    assert published.config.encoder.channels == (64, 64, 64, 128, 1024)
    assert published.config.hidden == (256,)
    with torch.no_grad():
        codes = published.encode(scans)
        (identity, id_spread), (expression, exp_spread) = published.encoder(published.coordinates(scans))
        ours = {
            "z_id": codes.identity,
            "z_exp": codes.expression,
            "logvar_id": id_spread,
            "logvar_exp": exp_spread,
            "feature": published.encoder.features(torch.from_numpy(arrays["x"]).double()),
            "face_full": published.decode(codes) / SCALE,
            "face_identity": published.neutral(codes.identity) / SCALE,
            "face_expression": published.expression_only(codes.expression) / SCALE,
            "out_id": published.decoder.neutral(codes.identity),
            "out_exp": published.decoder.expression_only(codes.expression),
            "out_sum": published.decoder(*codes),
        }
    assert torch.equal(identity, codes.identity)
    assert torch.equal(expression, codes.expression)
    arrays.check(ours, tolerance=2e-6, loose={"out_*": 3e-6})


def test_every_tensor_of_the_published_file_is_in_the_model(published, golden_fed_path):
    ours = [torch.sort(value.flatten()).values for value in published.state_dict().values()]
    absent = [
        name
        for name, value in read_state(golden_fed_path("published_dev.pth")).items()
        if not any(torch.equal(torch.sort(value.flatten()).values, own) for own in ours)
    ]
    assert absent == []


def test_saved_and_loaded_it_gives_the_same_faces(arrays, published, tmp_path):
    published.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    scans = torch.from_numpy(arrays["x"]) * SCALE
    codes = loaded.encode(scans)
    assert torch.equal(codes.identity, published.encode(scans).identity)
    assert torch.equal(loaded.decode(codes), published.decode(codes))
    assert torch.equal(loaded.neutral(codes.identity), published.neutral(codes.identity))


def test_the_published_discriminator_opens_too(golden_fed, golden_fed_path):
    state = read_state(golden_fed_path("published_dev_discriminator.pth"))
    stored = golden_fed("disc_state")
    assert sorted(state) == sorted(stored)
    assert all(np.array_equal(value, stored[name]) for name, value in state.items())
    discriminator = IdentityDiscriminator(DiscriminatorNetworkConfig(channels=(16, 24, 48), hidden=(40, 32)))
    discriminator.load_state_dict(published_discriminator_state(state))
