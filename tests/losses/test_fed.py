"""The loss terms of FED against slow twins; the published numbers are in tests/golden."""

import math

import numpy as np
import pytest
import torch

from meshdisent.losses import fed, shared
from meshdisent.mesh.laplacian import uniform_laplacian
from meshdisent.mesh.topology import Topology


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def test_the_sampled_divergence_is_the_closed_one_on_average():
    mean, log_variance = random(1, 3).detach(), random(1, 3, seed=1).detach()
    noise = random(400_000, 3, seed=2).detach()
    code = mean + torch.exp(log_variance / 2) * noise
    sampled = fed.sampled_divergence(log_variance.expand(len(noise), 3), noise, code)
    assert sampled.mean().item() == pytest.approx(fed.divergence(mean, log_variance).item(), rel=0.01)
    normal = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    prior = torch.distributions.Normal(torch.zeros(3).double(), torch.ones(3).double())
    direct = (normal.log_prob(code) - prior.log_prob(code)).sum(dim=1)
    torch.testing.assert_close(sampled, direct)


def test_the_closed_divergence_is_the_shared_one():
    mean, log_variance = random(5, 3), random(5, 3, seed=1)
    torch.testing.assert_close(fed.divergence(mean, log_variance).mean(), shared.kl_divergence(mean, log_variance))


def test_information_is_what_a_code_says_about_its_scan():
    """Codes that are alike say nothing about which of B * M scans they are of; codes far apart say all."""
    noise = random(4, 2).detach()
    alike = fed.information(torch.zeros(4, 2).double(), torch.zeros(4, 2).double(), noise, scan_count=10)
    torch.testing.assert_close(alike, torch.full((4,), math.log(10)).double())
    apart = torch.arange(4.0).double()[:, None].expand(4, 2) * 100
    said = fed.information(apart, torch.zeros(4, 2).double(), noise, scan_count=10)
    torch.testing.assert_close(said, torch.full((4,), math.log(40)).double())


def test_scans_at_rest_do_not_pay_for_what_they_say():
    mean, log_variance, noise = random(4, 2), random(4, 2, seed=1), random(4, 2, seed=2).detach()
    at_rest = torch.tensor([True, False, True, False])
    found = fed.bottleneck(mean, log_variance, noise, at_rest, beta=3.0, scan_count=7)
    free = fed.divergence(mean, log_variance)
    paid = free + 3 * fed.information(mean, log_variance, noise, 7)
    torch.testing.assert_close(found, torch.where(at_rest, free, paid))


def test_both_codes_of_the_latent_term_get_gradients():
    again, first = random(3, 2), random(3, 2, seed=1)
    fed.latent_consistency(again, first).backward()
    torch.testing.assert_close(again.grad, -first.grad)
    torch.testing.assert_close(again.grad.abs(), torch.full((3, 2), 1 / 6).double())


def test_entropy_and_accuracy_count_right_answers():
    logits = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
    is_same = torch.tensor([False, True, True])
    expected = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(-3)), math.log(1 + math.exp(1))]
    assert fed.pair_entropy(logits, is_same).item() == pytest.approx(sum(expected) / 3)
    assert fed.pair_accuracy(logits, is_same).item() == pytest.approx(2 / 3)


def test_roughness_is_the_dense_form_and_does_not_see_where_a_face_is(shapes):
    vertices, faces = shapes.sphere(1)
    laplacian = uniform_laplacian(Topology(vertices, faces)).toarray()
    sparse = torch.from_numpy(laplacian).to_sparse()
    shown = torch.from_numpy(vertices + 0.1 * np.random.default_rng(0).normal(size=(3, *vertices.shape)))
    expected = sum(np.linalg.norm(laplacian @ face) ** 2 for face in shown.numpy()) / (3 * len(vertices))
    assert fed.roughness(shown, sparse).item() == pytest.approx(expected)
    moved = shown + torch.tensor([5.0, -3.0, 2.0]).double()
    assert fed.roughness(moved, sparse).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda x: fed.roughness(x, sparse), shown[:1].requires_grad_())


@pytest.mark.parametrize("term", ["sampled", "closed", "bottleneck"])
def test_gradients_of_the_divergences_are_those_of_finite_differences(term):
    noise, at_rest = random(3, 2, seed=5).detach(), torch.tensor([True, False, False])

    def value(mean, log_variance):
        if term == "sampled":
            return fed.sampled_divergence(log_variance, noise, mean + torch.exp(log_variance / 2) * noise)
        if term == "closed":
            return fed.divergence(mean, log_variance)
        return fed.bottleneck(mean, log_variance, noise, at_rest, beta=2.0, scan_count=9)

    assert torch.autograd.gradcheck(value, (random(3, 2), random(3, 2, seed=1)))
