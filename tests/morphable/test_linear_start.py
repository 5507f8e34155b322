"""A network with a linear start begins as the linear model, and training leaves the linear part alone."""

import copy
import dataclasses

import pytest
import torch

from meshdisent.errors import DataError
from meshdisent.morphable.contract import Batch
from meshdisent.morphable.linear import LinearConfig, LinearModel
from meshdisent.morphable.linear_start import LinearStart, LinearStartConfig
from meshdisent.morphable.model_file import load
from meshdisent.morphable.wsdf import WSDF
from meshdisent.morphable.wsdf_config import BankConfig, LossConfig
from meshdisent.training.recipe import TrainingConfig
from meshdisent.training.step import Stepper

STARTS = {"mode": False, "median": True}


@pytest.fixture(scope="module", params=STARTS)
def pair(request, tiny_scans, tiny_config):
    """A network with a linear start, and the linear model it starts from."""
    mirrored = STARTS[request.param]
    start = LinearStartConfig(neutrals=request.param, mirrored=mirrored, log_variance=-3.0)
    network = WSDF.for_training(dataclasses.replace(tiny_config["wsdf"], linear_start=start), tiny_scans)
    linear = LinearConfig(identity_size=3, expression_size=2, neutrals=request.param, mirrored=mirrored)
    return network, LinearModel.fit(tiny_scans, linear)


@pytest.fixture
def shown(tiny_scans):
    return torch.from_numpy(tiny_scans.vertices())


@torch.no_grad()
def test_an_untrained_network_is_the_linear_model(pair, shown):
    network, linear = pair
    codes, linear_codes = network.encode(shown), linear.encode(shown)
    assert torch.equal(codes.identity, linear_codes.identity)
    assert torch.equal(codes.expression, linear_codes.expression)
    torch.testing.assert_close(network.decode(codes), linear.decode(codes), rtol=0, atol=5e-5)
    torch.testing.assert_close(network.neutral(codes.identity), linear.neutral(codes.identity), rtol=0, atol=5e-5)
    expression_only = network.expression_only(codes.expression), linear.expression_only(codes.expression)
    torch.testing.assert_close(*expression_only, rtol=0, atol=5e-5)


@torch.no_grad()
def test_the_untrained_posteriors_are_as_narrow_as_asked_for(pair, shown):
    posterior = pair[0].posterior(shown)
    assert (posterior.identity[1] == -3.0).all()
    assert (posterior.expression[1] == -3.0).all()


def test_training_moves_the_network_and_not_the_linear_part(pair, tiny_scans, shown, tmp_path):
    network, linear = copy.deepcopy(pair[0]), pair[1]
    before = {name: value.clone() for name, value in network.linear_start.state_dict().items()}
    assert before.keys() == {"center", "encoder", "offset", "rest", "basis"}
    assert list(network.linear_start.parameters()) == []
    rows = tiny_scans.rows("train")
    batch = Batch(
        vertices=shown[rows],
        subject=torch.from_numpy(tiny_scans.subject[rows]),
        expression=torch.from_numpy(tiny_scans.expression[rows]),
        rows=torch.from_numpy(rows),
    )
    stepper = Stepper(network, TrainingConfig(steps=2, learning_rate=1e-3))
    for _ in range(2):
        stepper.take([batch], torch.Generator().manual_seed(0), 1e-3)
    assert all(torch.equal(value, network.linear_start.state_dict()[name]) for name, value in before.items())
    codes = network.encode(shown)
    assert (codes.identity != linear.encode(shown).identity).any()
    network.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert torch.equal(loaded.encode(shown).identity, codes.identity)
    assert torch.equal(loaded.decode(codes), network.decode(codes))


def test_more_code_entries_than_the_scans_span_are_refused(tiny_scans):
    start = LinearStartConfig(neutrals="mean")
    with pytest.raises(DataError, match=r"span 3 identity and 2 expression directions; the recipe wants 9 and 2"):
        LinearStart.of(tiny_scans, 9, 2, start)


def test_a_linear_start_that_is_off_cannot_be_made(tiny_scans):
    assert not LinearStartConfig().is_on
    with pytest.raises(DataError, match=r"neutrals off; wanted mode, median or mean"):
        LinearStart.of(tiny_scans, 2, 2, LinearStartConfig())


def test_networks_that_change_the_expression_leave_people_and_neutrals_linear(tiny_scans, tiny_config, shown):
    start = LinearStartConfig(neutrals="mode", networks_change="expression")
    loss = LossConfig(space="millimeters", reconstruction=0.0, displacement=1.0, neutral=0.0, kl=1e-4)
    config = dataclasses.replace(
        tiny_config["wsdf"], linear_start=start, loss=loss, mixing=0.5, bank=BankConfig(start="mode", beta=1.0)
    )
    torch.manual_seed(0)
    network = WSDF.for_training(config, tiny_scans)
    linear = LinearModel.fit(tiny_scans, LinearConfig(identity_size=3, expression_size=2))
    rows = torch.from_numpy(tiny_scans.rows("train"))
    batch = Batch(
        vertices=shown[rows], subject=torch.from_numpy(tiny_scans.subject)[rows], expression=rows * 0, rows=rows
    )
    stepper = Stepper(network, TrainingConfig(steps=1, learning_rate=1e-3))
    generator = torch.Generator().manual_seed(0)
    before = stepper.take([batch], generator, 1e-3).terms["displacement"]
    for _ in range(60):
        after = stepper.take([batch], generator, 1e-3).terms["displacement"]
    assert after < 0.9 * before
    with torch.no_grad():
        codes, linear_codes = network.encode(shown), linear.encode(shown)
        assert torch.equal(codes.identity, linear_codes.identity)
        neutral = linear.neutral(linear_codes.identity)
        torch.testing.assert_close(network.neutral(codes.identity), neutral, rtol=0, atol=5e-5)
        assert (network.decode(codes) - linear.decode(linear_codes)).abs().max() > 0.01
