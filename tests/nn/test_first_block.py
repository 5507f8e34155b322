"""The pooled block of scans as they are, against its plain twin; and what is remembered of spirals."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meshdisent.nn import first_block, spiral_parts
from meshdisent.nn.first_block import _FirstBlock
from meshdisent.nn.spiral_block import spiral_block
from meshdisent.nn.spiral_parts import plain_block


def case(scans=5, vertices=12, length=4, channels=3, outputs=6, seed=0, dtype=torch.float64, shift=0.0):
    random = torch.Generator().manual_seed(seed)
    spirals = torch.randint(0, vertices, (vertices, length), generator=random)
    kept = torch.randperm(vertices, generator=random)[: max(vertices // 3, 1)].sort().values
    shapes = ((scans, vertices, channels), (outputs, length * channels), (outputs,))
    features, weight, bias = (torch.randn(*shape, generator=random, dtype=dtype) for shape in shapes)
    return features + shift, weight.requires_grad_(), bias.requires_grad_(), spirals, kept


def slopes(block, parts, has_activation=True):
    out = block(*parts, has_activation)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return out.detach(), *torch.autograd.grad(out, parts[1:3], upstream.to(out.dtype))


@given(
    scans=st.integers(1, 7),
    vertices=st.integers(3, 20),
    length=st.integers(1, 9),
    channels=st.integers(1, 9),
    outputs=st.integers(1, 6),
    has_activation=st.booleans(),
    at_once=st.integers(1, 4),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_values_and_slopes_are_those_of_the_plain_twin(has_activation, at_once, **shape):
    parts = case(**shape)
    before = spiral_parts.CACHED
    spiral_parts.CACHED = at_once * shape["vertices"] * (shape["length"] * shape["channels"] + 2 * shape["outputs"])
    try:
        found = slopes(spiral_block, parts, has_activation)
    finally:
        spiral_parts.CACHED = before
    for one, two in zip(found, slopes(plain_block, parts, has_activation), strict=True):
        scale = max(float(two.abs().max()), 1.0)
        torch.testing.assert_close(one / scale, two / scale, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("channels", "shift"), [(3, 0.0), (3, 5.0), (4, 0.0), (7, 1.0)])
def test_in_single_precision_it_agrees_to_1e4(channels, shift):
    parts = case(9, 300, 9, channels, 24, dtype=torch.float32, shift=shift)
    rounded = [value.double() for value in parts[:3]]
    exact = slopes(plain_block, (rounded[0], *(v.detach().requires_grad_() for v in rounded[1:]), *parts[3:]))
    for one, two in zip(slopes(spiral_block, parts), exact, strict=True):
        scale = max(float(two.abs().max()), 1.0)
        torch.testing.assert_close(one.double() / scale, two / scale, rtol=1e-4, atol=1e-4)


def test_scans_take_this_way_and_features_that_learn_do_not(monkeypatch):
    taken = []
    monkeypatch.setattr(_FirstBlock, "apply", lambda *parts: taken.append(parts[-1]) or plain_block(*parts[:-1]))
    features, *rest = case()
    spiral_block(features, *rest)
    with torch.no_grad():
        spiral_block(features, *rest)
    assert taken == [True, False], "it is told whether it will be followed back"
    spiral_block(features.clone().requires_grad_(), *rest)
    spiral_block(features, *rest[:3], None)
    torch.func.jvp(lambda x: spiral_block(x, *rest), (features,), (features,))
    torch.vmap(lambda x: spiral_block(x, *rest))(features[None])
    with torch.autograd.forward_ad.dual_level():
        spiral_block(torch.autograd.forward_ad.make_dual(features, features), *rest)
    assert len(taken) == 2


def test_second_derivatives_are_those_of_finite_differences():
    features, weight, bias, spirals, kept = case(2, 6, 2, 2, 2)
    assert torch.autograd.gradgradcheck(lambda w, b: spiral_block(features, w, b, spirals, kept), (weight, bias))


def test_autocast_does_not_round_its_narrow_products():
    parts = case(4, 60, 9, 3, 8, dtype=torch.float32)
    exact = slopes(spiral_block, parts)
    with torch.autocast("cpu", torch.bfloat16):
        found = slopes(spiral_block, parts)
    for one, two in zip(found, exact, strict=True):
        assert torch.equal(one, two)


def test_it_keeps_nothing_of_the_vertices_that_are_left_out():
    features, *rest = case(8, 90, 9, 3, 16, dtype=torch.float32)
    stored: list[int] = []

    def note(value):
        stored.append(value.untyped_storage().nbytes())
        return value

    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        spiral_block(features, *rest)
    all_vertices = 4 * 8 * 90 * 16
    assert max(stored) < all_vertices


@pytest.mark.parametrize("pools", [True, False])
def test_spirals_that_are_overwritten_are_looked_at_again(pools):
    features, weight, bias, spirals, kept = case(dtype=torch.float32)
    features.requires_grad_(not pools)
    for _ in range(2):
        found = spiral_block(features, weight, bias, spirals, kept if pools else None)
        expected = plain_block(features, weight, bias, spirals, kept if pools else None)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        wanted = [features, weight] if features.requires_grad else [weight]
        for one, two in zip(
            torch.autograd.grad(found.square().sum(), wanted),
            torch.autograd.grad(expected.square().sum(), wanted),
            strict=True,
        ):
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)
        spirals.copy_(spirals.roll(1, 0))


def test_places_are_found_once_for_spirals_and_forgotten_with_them():
    spirals = case()[3]
    assert spiral_parts.places_of(spirals, 2) is spiral_parts.places_of(spirals, 2)
    assert spiral_parts.places_of(spirals, 3) is not spiral_parts.places_of(spirals, 2)
    known = len(spiral_parts._known)
    del spirals
    assert len(spiral_parts._known) == known - 1
    with torch.inference_mode():
        untracked = case()[3].clone()
    assert spiral_parts.places_of(untracked, 2).places.shape == (2 * untracked.numel(),)
    assert first_block.TOGETHER * torch.float32.itemsize == torch.complex128.itemsize
