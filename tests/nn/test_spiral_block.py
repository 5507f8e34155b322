"""The fused spiral block against its plain twin: values, all gradients, forward mode, batches of any size."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from meshdisent.nn import spiral_parts as module
from meshdisent.nn.spiral_block import spiral_block
from meshdisent.nn.spiral_parts import plain_block


class Case(NamedTuple):
    features: Tensor
    weight: Tensor
    bias: Tensor
    spirals: Tensor
    kept: Tensor | None
    has_activation: bool


def case(
    scans=5, vertices=11, length=4, channels=3, outputs=6, pools=True, has_activation=True, seed=0, dtype=torch.float64
):
    random = torch.Generator().manual_seed(seed)
    spirals = torch.randint(0, vertices, (vertices, length), generator=random)
    kept = torch.randperm(vertices, generator=random)[: max(vertices // 2, 1)].sort().values if pools else None
    draw = [
        torch.randn(*shape, generator=random, dtype=dtype)
        for shape in ((scans, vertices, channels), (outputs, length * channels), (outputs,))
    ]
    return Case(*draw, spirals, kept, has_activation)


def with_gradients(block, given_case, upstream):
    leaves = [value.clone().requires_grad_() for value in given_case[:3]]
    out = block(*leaves, *given_case[3:])
    out.backward(upstream)
    return out.detach(), [leaf.grad for leaf in leaves]


def assert_alike(given_case, tolerance):
    out = plain_block(*given_case)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    plain, slopes = with_gradients(plain_block, given_case, upstream)
    fused, fused_slopes = with_gradients(spiral_block, given_case, upstream)
    torch.testing.assert_close(fused, plain, rtol=tolerance, atol=tolerance)
    for slope, expected in zip(fused_slopes, slopes, strict=True):
        scale = max(float(expected.abs().max()), 1.0)
        torch.testing.assert_close(slope / scale, expected / scale, rtol=tolerance, atol=tolerance)


@given(
    scans=st.integers(1, 7),
    vertices=st.integers(2, 20),
    length=st.integers(1, 9),
    channels=st.integers(1, 5),
    outputs=st.integers(1, 6),
    pools=st.booleans(),
    has_activation=st.booleans(),
    at_once=st.integers(1, 4),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_values_and_gradients_are_those_of_the_plain_twin(at_once, **shape):
    given_case = case(**shape)
    cached = module.CACHED
    module.CACHED = at_once * shape["vertices"] * (shape["length"] * shape["channels"] + 2 * shape["outputs"])
    try:
        assert module.scans_at_once(given_case.features, given_case.weight, given_case.spirals) == at_once
        # Of few vertices the variance can be tiny, and the norm then magnifies rounding.
        assert_alike(given_case, 1e-7)
    finally:
        module.CACHED = cached


@pytest.mark.parametrize("channels", [3, 32])
def test_in_single_precision_it_agrees_with_the_plain_twin_to_1e4(channels):
    assert_alike(case(9, 300, 9, channels, 24, dtype=torch.float32), 1e-4)


@pytest.mark.parametrize("has_activation", [True, False])
def test_gradients_are_those_of_finite_differences(has_activation):
    given_case = case(2, 7, 3, 2, 3, has_activation=has_activation)
    leaves = [value.requires_grad_() for value in given_case[:3]]
    assert torch.autograd.gradcheck(lambda *x: spiral_block(*x, *given_case[3:]), leaves, check_forward_ad=True)


def test_second_derivatives_are_those_of_finite_differences():
    given_case = case(2, 6, 2, 2, 2)
    leaves = [value.requires_grad_() for value in given_case[:3]]
    assert torch.autograd.gradgradcheck(lambda *x: spiral_block(*x, *given_case[3:]), leaves)


def test_function_transforms_go_through_it():
    given_case = case()
    rest = given_case[1:]
    direction = torch.randn(given_case.features.shape, generator=torch.Generator().manual_seed(2)).double()
    fused = torch.func.jvp(lambda x: spiral_block(x, *rest), (given_case.features,), (direction,))
    plain = torch.func.jvp(lambda x: plain_block(x, *rest), (given_case.features,), (direction,))
    torch.testing.assert_close(fused, plain, rtol=1e-9, atol=1e-9)
    slope = torch.func.grad(lambda x: spiral_block(x, *rest).square().sum())(given_case.features)
    expected = torch.func.grad(lambda x: plain_block(x, *rest).square().sum())(given_case.features)
    torch.testing.assert_close(slope, expected, rtol=1e-9, atol=1e-9)
    lanes = torch.stack([given_case.features, direction], dim=1)
    mapped = torch.vmap(lambda x: spiral_block(x, *rest), in_dims=1, out_dims=1)(lanes)
    torch.testing.assert_close(mapped[:, 1], plain_block(direction, *rest), rtol=1e-9, atol=1e-9)


def test_the_gathered_features_are_not_kept_for_the_backward_pass():
    given_case = case(8, 50, 9, 16, 16, pools=False)
    stored: list[int] = []

    def note(value):
        stored.append(value.untyped_storage().nbytes())
        return value

    features = given_case.features.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        spiral_block(features, *given_case[1:])
    assert sum(stored) < features.untyped_storage().nbytes() * 5  # the plain twin's gather alone takes nine


def test_the_same_numbers_come_whatever_the_order_of_scans():
    given_case = case(6, 40, 9, 4, 8)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(
        spiral_block(given_case.features[order], *given_case[1:]),
        spiral_block(*given_case)[order],
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("pools", [True, False])
def test_under_autocast_only_the_products_are_rounded(pools):
    given_case = case(scans=6, vertices=200, length=9, channels=16, outputs=32, pools=pools, dtype=torch.float32)
    upstream = torch.randn(plain_block(*given_case).shape, generator=torch.Generator().manual_seed(1))
    exact, slopes = with_gradients(plain_block, given_case, upstream)
    with torch.autocast("cpu", torch.bfloat16):
        found, found_slopes = with_gradients(spiral_block, given_case, upstream)
    assert found.dtype == torch.float32
    for one, two in zip((found, *found_slopes), (exact, *slopes), strict=True):
        assert one.dtype == torch.float32
        error = float((one - two).norm() / max(float(two.norm()), 1e-2))
        assert error < 0.01, "two to three digits of each factor"
    assert not torch.equal(found, exact)
