"""The whole published encoder from its state dict."""

import json

import torch

from meshdisent.nn.spiral import SpiralEncoder, SpiralEncoderConfig, published_encoder, published_encoder_state


def test_both_branches_give_the_published_codes(golden):
    arrays = golden("encoder")
    state = {name: torch.from_numpy(value) for name, value in arrays.under("state.").items()}
    scans = torch.from_numpy(arrays["in"])
    ours = {}
    for branch, short in (("identity", "id"), ("expression", "exp")):
        encoder = published_encoder(state, branch)
        ours[f"out_{short}_f32"] = torch.cat(encoder(scans), dim=1)
        ours[f"out_{short}_f64"] = torch.cat(encoder.double()(scans.double()), dim=1)
    ours |= _trace(published_encoder(state, "identity").double(), scans.double())
    arrays.check(
        ours,
        tolerance=1e-12,
        loose={"*_f32": 2e-6},
        exempt={"config_json": "settings as text; the next test builds the encoder from them"},
    )


def test_the_published_settings_build_an_encoder_that_takes_the_published_state(golden):
    arrays = golden("encoder")
    settings = json.loads(str(arrays["config_json"]))
    *channels, feature = settings["model"]["Encoder"]["channels"]
    state = {name: torch.from_numpy(value) for name, value in arrays.under("state.").items()}
    published = published_encoder(state, "expression")
    spirals = tuple(published.trunk[stage].conv.spirals for stage in (0, 2, 4))
    assert [len(order) for order in spirals] == settings["levels"]
    assert {order.shape[1] for order in spirals} == {settings["spiral_length"]}
    encoder = SpiralEncoder(
        SpiralEncoderConfig(channels=tuple(channels), feature=feature),
        settings["model"]["num_exp"],
        spirals,
        (published.trunk[1].kept, published.trunk[3].kept),
    )
    encoder.load_state_dict(published_encoder_state(state, "expression"))
    scans = torch.from_numpy(arrays["in"])
    assert torch.equal(encoder(scans)[1], published(scans)[1])


def _trace(encoder, features):
    """Output of each of the nine stages."""
    stages = {}
    for number, stage in enumerate(encoder.trunk):
        features = stage(features)
        stages[f"trace_id.{number:02d}"] = features
    return stages
