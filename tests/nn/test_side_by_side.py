"""Encoders side by side: the same values and gradients as one after the other, whatever the number of threads."""

import os
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from meshdisent.nn import side_by_side as module
from meshdisent.nn.side_by_side import side_by_side


class Net(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        self.layer, self.head = nn.Linear(4, width), nn.Linear(width, 6)
        self.unused = nn.Parameter(torch.zeros(2))
        self.seen = []

    def forward(self, inputs):
        self.seen.append((threading.get_ident(), torch.get_num_threads(), len(inputs)))
        mean, spread = self.head(torch.nn.functional.elu(self.layer(inputs))).chunk(2, dim=1)
        return mean, spread


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def nets(count=2):
    torch.manual_seed(0)
    return [Net(width).double() for width in range(3, 3 + count)]


def plainly(modules, inputs):
    return [net(inputs) for net in modules]


def with_gradients(way, modules, inputs, used):
    leaf = inputs.clone().requires_grad_()
    for net in modules:
        net.zero_grad()
    found = way(modules, leaf)
    outputs = [value for values in found for value in values]
    sum((nth + 1) * outputs[nth].square().sum() for nth in used).backward()
    return [o.detach() for o in outputs], [leaf.grad, *(p.grad for net in modules for p in net.parameters())]


@settings(max_examples=25, deadline=None)
@given(
    thread_count=st.integers(1, 7),
    scans=st.integers(1, 9),
    count=st.integers(1, 3),
    used=st.sets(st.integers(0, 1), min_size=1),
)
def test_values_and_gradients_are_those_of_one_after_the_other(thread_count, scans, count, used):
    before = torch.get_num_threads()
    torch.set_num_threads(thread_count)
    try:
        modules = nets(count)
        inputs = torch.randn(scans, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        plain = with_gradients(plainly, modules, inputs, used)
        apart = with_gradients(side_by_side, modules, inputs, used)
        for one, two in zip(plain[0] + plain[1], apart[0] + apart[1], strict=True):
            assert (one is None) == (two is None)
            if one is not None:
                torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)
        assert torch.get_num_threads() == thread_count
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("thread_count", "parts"), [(2, [8]), (3, [4, 4]), (4, [4, 4]), (6, [3, 3, 2])])
def test_each_thread_has_a_task_of_its_own(threads, thread_count, parts):
    modules = nets()
    threads(thread_count)
    with torch.no_grad():
        side_by_side(modules, torch.zeros(8, 4, dtype=torch.float64))
    for net in modules:
        assert sorted(scans for _, _, scans in net.seen) == sorted(parts)
        assert {count for _, count, _ in net.seen} == {1}
    if thread_count == 2:
        assert modules[0].seen[0][0] == threading.get_ident() != modules[1].seen[0][0]


def test_a_second_derivative_goes_through(threads):
    inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    found = []
    for way, count in ((plainly, 1), (side_by_side, 2)):
        threads(count)
        modules = nets()
        total = sum(value.pow(3).sum() for values in way(modules, inputs) for value in values)
        (slope,) = torch.autograd.grad(total, inputs, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), modules[0].layer.weight)[0])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


def test_a_graph_that_is_kept_gives_its_gradient_again(threads):
    threads(2)
    modules = nets()
    inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    total = sum(value.square().sum() for values in side_by_side(modules, inputs) for value in values)
    leaves = [inputs, modules[1].layer.weight]
    once, twice = (torch.autograd.grad(total, leaves, retain_graph=True) for _ in range(2))
    for one, two in zip(once, twice, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_transforms_and_forward_mode_go_through(threads):
    threads(2)
    modules = nets()
    inputs = torch.randn(3, 4, dtype=torch.float64)
    plain = lambda x: plainly(modules, x)[1][0]  # noqa: E731
    apart = lambda x: side_by_side(modules, x)[1][0]  # noqa: E731
    torch.testing.assert_close(torch.func.jacrev(apart)(inputs), torch.func.jacrev(plain)(inputs))
    torch.testing.assert_close(torch.func.jvp(apart, (inputs,), (inputs,)), torch.func.jvp(plain, (inputs,), (inputs,)))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(inputs, torch.ones_like(inputs))
        tangent = torch.autograd.forward_ad.unpack_dual(apart(dual)).tangent
    torch.testing.assert_close(tangent, torch.func.jvp(plain, (inputs,), (torch.ones_like(inputs),))[1])


def test_autocast_holds_in_the_threads(threads):
    threads(2)
    modules = [net.float() for net in nets()]
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found = side_by_side(modules, torch.zeros(3, 4))
    assert {value.dtype for values in found for value in values} == {torch.bfloat16}


@pytest.mark.parametrize("wrong", [0, 1])
def test_an_error_comes_out_when_all_have_ended(threads, wrong):
    threads(2)
    modules = nets()
    modules[wrong].head = nn.Linear(7, 6).double()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        side_by_side(modules, torch.zeros(3, 4, dtype=torch.float64))
    assert torch.get_num_threads() == 2
    assert len(side_by_side(nets(), torch.zeros(3, 4, dtype=torch.float64))) == 2


def test_threads_that_start_later_have_the_number_of_this_one(threads):
    threads(2)
    module._pool = None
    side_by_side(nets(), torch.zeros(3, 4, dtype=torch.float64))
    seen = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_starts_threads_of_its_own(threads):
    threads(2)
    side_by_side(nets(), torch.zeros(3, 4, dtype=torch.float64))
    child = os.fork()
    if child == 0:
        with torch.no_grad():
            os._exit(len(side_by_side(nets(), torch.zeros(3, 4, dtype=torch.float64))))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
