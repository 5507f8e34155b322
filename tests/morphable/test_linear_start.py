"""A network with a linear start begins as the linear model, and training leaves the linear part alone."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from meshdisent.data.pseudo_neutrals import pseudo_neutrals
from meshdisent.errors import DataError
from meshdisent.mesh.local_maps import map_derivatives
from meshdisent.mesh.topology import Topology
from meshdisent.morphable import linear_start as module
from meshdisent.morphable.contract import Batch, Codes
from meshdisent.morphable.linear import LinearConfig, LinearModel
from meshdisent.morphable.linear_start import (
    LinearStart,
    LinearStartConfig,
    Shown,
    Sight,
    displacements_at_the_mean,
    see,
    show_people,
)
from meshdisent.morphable.model_file import load
from meshdisent.morphable.wsdf import WSDF
from meshdisent.morphable.wsdf_config import BankConfig, LossConfig
from meshdisent.nn.synthetic_people import SyntheticPeople
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
    start, neutrals = LinearStartConfig(neutrals="mean"), pseudo_neutrals(tiny_scans, "mean")
    with pytest.raises(DataError, match=r"span 3 identity and 2 expression directions; the recipe wants 9 and 2"):
        LinearStart.of(tiny_scans, neutrals, (9, 2), start)


def test_a_linear_start_that_is_off_cannot_be_made(tiny_scans):
    assert not LinearStartConfig().is_on
    with pytest.raises(DataError, match=r"neutrals off; wanted mode, median or mean"):
        LinearStart.of(tiny_scans, pseudo_neutrals(tiny_scans, "mean"), (2, 2), LinearStartConfig())


def test_expressions_are_not_carried_without_people(tiny_scans):
    start, neutrals = LinearStartConfig(neutrals="mean", expressions="carried"), pseudo_neutrals(tiny_scans, "mean")
    with pytest.raises(DataError, match=r"Carried expressions need synthetic people; wanted config\.people"):
        LinearStart.of(tiny_scans, neutrals, (2, 2), start)


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


@pytest.fixture(scope="module")
def crowd(tiny_scans):
    """Neutrals of the training subjects, and people who differ as they do."""
    neutrals = pseudo_neutrals(tiny_scans, "median")
    return neutrals, SyntheticPeople(neutrals[:4], tiny_scans.topology, has_tail=False)


@torch.no_grad()
def test_carried_displacements_go_through_the_local_maps_of_the_face(tiny_scans, crowd):
    config = LinearStartConfig(neutrals="median", expressions="carried")
    start = LinearStart.of(tiny_scans, crowd[0], (3, 2), config, crowd[1])
    rest, basis = start.rest.double().numpy().reshape(-1, 3), start.basis.double().numpy()
    derivatives = map_derivatives(Topology(rest, tiny_scans.topology.faces), basis[:3].reshape(3, -1, 3))
    codes = Codes(*(torch.randn(5, size, generator=torch.Generator().manual_seed(0)) for size in (3, 2)))
    maps = np.eye(3) + np.tensordot(codes.identity.double().numpy(), derivatives, axes=1)
    moved = (codes.expression.double().numpy() @ basis[3:]).reshape(5, -1, 3)
    neutral = rest + (codes.identity.double().numpy() @ basis[:3]).reshape(5, -1, 3)
    expected = neutral + np.einsum("bvxy,bvy->bvx", maps, moved)
    np.testing.assert_allclose(start.decode(codes).numpy(), expected, rtol=0, atol=1e-4)
    added = torch.randn(5, 162, 3, generator=torch.Generator().manual_seed(1))
    both = np.einsum("bvxy,bvy->bvx", maps, moved + added.double().numpy())
    np.testing.assert_allclose(start.displacement(codes, added).numpy(), both, rtol=0, atol=1e-4)


def test_the_carried_basis_holds_what_training_scans_show_at_the_mean(tiny_scans, crowd):
    neutrals, people = crowd
    config = LinearStartConfig(neutrals="median", expressions="carried")
    start = LinearStart.of(tiny_scans, neutrals, (3, 2), config, people)
    shown = displacements_at_the_mean(tiny_scans, neutrals, people).double()
    moments, directions = torch.linalg.eigh(shown.T @ shown / len(shown))
    torch.testing.assert_close(start.basis[3:].norm(dim=1), moments.flip(0)[:2].sqrt().float(), rtol=1e-4, atol=0)
    unit = torch.nn.functional.normalize(start.basis[3:].double())
    cosine = (unit * directions.flip(1)[:, :2].T).sum(dim=1)
    torch.testing.assert_close(cosine.abs(), torch.ones(2).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(start.rest, people.mean, rtol=0, atol=1e-4)


def test_displacements_at_the_mean_are_those_of_each_scan_from_its_subject(tiny_scans, crowd, monkeypatch):
    neutrals, people = crowd
    monkeypatch.setattr(module, "_BLOCK", 7)
    found = displacements_at_the_mean(tiny_scans, neutrals, people)
    assert found.shape == (20, 486)
    for row, flat in zip(tiny_scans.rows("train"), found, strict=True):
        scan, at_rest = (
            torch.from_numpy(x[None]).float() for x in (tiny_scans.vertices()[row], neutrals[tiny_scans.subject[row]])
        )
        torch.testing.assert_close(people.at_the_mean(scan, at_rest)[0].flatten(), flat, rtol=0, atol=1e-5)


def distances(one, other):
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


@torch.no_grad()
def test_synthetic_people_show_what_their_codes_decode_to(tiny_scans, crowd, monkeypatch):
    # With as many code entries as people differ in, and expressions that the basis holds, nothing is left over.
    neutrals, people = crowd
    monkeypatch.setattr(module, "_BLOCK", 64)
    monkeypatch.setattr(module, "_SHOWN", 300)
    start = LinearStart.of(
        tiny_scans, neutrals, (3, 2), LinearStartConfig(neutrals="median", expressions="carried"), people
    )
    strengths = torch.randn(9, 2, generator=torch.Generator().manual_seed(5))
    shown = show_people(start, strengths @ start.basis[3:], people)
    assert len(shown.scans) == len(shown.codes) == 300
    decoded = start.decode(Codes(*shown.codes.split([3, 2], dim=1)))
    torch.testing.assert_close(decoded.flatten(start_dim=1), shown.scans, rtol=0, atol=1e-3)
    nearest = distances(shown.codes[:, 3:], strengths).min(dim=1)
    assert nearest.values.max() < 1e-4
    assert nearest.indices.unique().tolist() == list(range(9))
    assert shown.codes[:, :3].std(dim=0).sub(1).abs().max() < 5 * 600**-0.5, "of unit variance"
    again = show_people(start, strengths @ start.basis[3:], people)
    assert torch.equal(shown.scans, again.scans)
    assert torch.equal(shown.codes, again.codes)


def test_no_more_scans_of_synthetic_people_are_shown_than_memory_allows(tiny_scans, crowd, monkeypatch):
    neutrals, people = crowd
    start = LinearStart.of(tiny_scans, neutrals, (3, 2), LinearStartConfig(neutrals="median"), people)
    monkeypatch.setattr(module, "_SHOWN_BYTES", 486 * 4 * 11 + 5)
    assert show_people(start, start.basis[3:], people).scans.shape == (11, 486)


def test_coordinates_of_what_is_seen_are_centered_uncorrelated_and_of_unit_variance():
    generator = torch.Generator().manual_seed(0)
    scans = 5 + torch.randn(40, 6, generator=generator) @ torch.randn(6, 12, generator=generator)
    sight = see(scans, 4)
    coordinates = (scans - sight.center) @ sight.directions.T
    torch.testing.assert_close(coordinates.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(coordinates.T @ coordinates / 40, torch.eye(4), rtol=0, atol=1e-4)
    assert len(see(scans, 9).directions) == 6, "no more than there are"


def test_learning_is_the_ridge_regression_on_what_is_shown(tiny_scans, crowd):
    neutrals, people = crowd
    start = LinearStart.of(tiny_scans, neutrals, (3, 2), LinearStartConfig(neutrals="median"), people)
    before = start.rest.clone(), start.basis.clone()
    generator = torch.Generator().manual_seed(0)
    scans, codes = torch.randn(60, 486, generator=generator), torch.randn(60, 5, generator=generator)
    sight = Sight(scans.mean(dim=0), torch.randn(8, 486, generator=generator) / 20)
    start.learn(Shown(scans, codes), sight, ridge_weight=0.3)
    inputs = ((scans - sight.center) @ sight.directions.T).double()
    centered = (codes - codes.mean(dim=0)).double()
    weights = torch.linalg.solve(inputs.T @ inputs / 60 + 0.3 * torch.eye(8), inputs.T @ centered / 60)
    expected = inputs @ weights + codes.mean(dim=0)
    found = start.encode(scans.unflatten(1, (-1, 3)))
    torch.testing.assert_close(torch.cat(found, dim=1).double(), expected, rtol=0, atol=1e-4)
    assert torch.equal(start.rest, before[0])
    assert torch.equal(start.basis, before[1])
