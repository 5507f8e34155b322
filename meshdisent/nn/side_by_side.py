"""Networks that look at the same scans, side by side on the cores of a CPU.

Torch spreads every single operation over its threads, and all of them wait for the last one after each. A spiral
encoder is some hundred short operations on a few scans in the cache of a core; threads that wait that often lose up to
half of the time, and more as soon as the machine does something else. Here each thread takes a whole encoder, or with
more than two threads a part of the batch through one, forward as well as backward, and they meet once.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad


def side_by_side(modules: Sequence[nn.Module], inputs: Tensor) -> list[tuple[Tensor, ...]]:
    """What each module gives for the inputs: ``[module(inputs) for module in modules]``, on all threads at once.

    On other devices than the CPU, with one thread, while a model is compiled, and under forward mode or ``torch.func``
    it is that expression itself. Gradients of weights are summed over the parts of a batch.

    Parameters
    ----------
    modules : Each treats scans independently of each other, draws no random numbers, changes none of its buffers, and
        gives a tuple of tensors with scans first, all modules equally many.
    inputs : (B, ...)

    Returns
    -------
    One tuple a module.
    """
    if torch.compiler.is_compiling():  # the number of scans stays open then
        return [module(inputs) for module in modules]
    parts = _parts(len(modules), len(inputs))
    if len(modules) * len(parts) < 2 or not _can_part(modules, inputs):
        return [module(inputs) for module in modules]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    if not torch.is_grad_enabled() or not any(value.requires_grad for value in (inputs, *parameters)):
        found = _at_once([_Task(module, inputs[part]) for module in modules for part in parts])
        return _joined(found, len(parts))
    flat = _SideBySide.apply(tuple(modules), tuple(parts), inputs, *parameters)
    each = len(flat) // len(modules)
    return [tuple(flat[start : start + each]) for start in range(0, len(flat), each)]


class _SideBySide(torch.autograd.Function):
    """One graph a task, made and followed back in the threads; the graph of the caller has this single node."""

    @staticmethod
    def forward(
        ctx: Any,
        modules: tuple[nn.Module, ...],
        parts: tuple[slice, ...],
        inputs: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        leaves = [inputs[part].detach().requires_grad_(inputs.requires_grad) for part in parts]
        tasks = [_Task(module, leaf) for module in modules for leaf in leaves]
        with torch.enable_grad():
            outputs = _at_once(tasks)
        ctx.modules, ctx.parts, ctx.tasks, ctx.outputs = modules, parts, tasks, outputs
        ctx.save_for_backward(inputs, *parameters)
        ctx.set_materialize_grads(False)
        joined = _joined([tuple(value.detach() for value in values) for values in outputs], len(parts))
        return tuple(value for values in joined for value in values)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor | None) -> tuple[Any, ...]:
        inputs, *parameters = ctx.saved_tensors
        again = torch.is_grad_enabled()  # to be differentiated once more
        if again or ctx.tasks is None:
            with torch.enable_grad():
                outputs = [value for module in ctx.modules for value in module(inputs)]
            return (None, None, *_gradients(outputs, slopes, (inputs, *parameters), create_graph=again))
        backward, each = [], len(slopes) // len(ctx.modules)
        for nth, (task, outputs) in enumerate(zip(ctx.tasks, ctx.outputs, strict=True)):
            module, part = divmod(nth, len(ctx.parts))
            of_module = slopes[module * each : (module + 1) * each]
            own = [slope if slope is None else slope[ctx.parts[part]] for slope in of_module]
            backward.append(_Backward(outputs, own, (task.inputs, *task.module.parameters())))
        ctx.tasks = ctx.outputs = None  # used up: with retain_graph, the next time goes the way above
        found = _at_once(backward)
        to_parameters: list[Tensor | None] = []
        for first in range(0, len(found), len(ctx.parts)):
            per_part = found[first : first + len(ctx.parts)]
            to_parameters += [_sum(values) for values in list(zip(*per_part, strict=True))[1:]]
        to_inputs = None
        if ctx.needs_input_grad[2]:
            to_inputs = torch.zeros_like(inputs)
            for nth, (slope, *_) in enumerate(found):
                if slope is not None:
                    to_inputs[ctx.parts[nth % len(ctx.parts)]] += slope
        return None, None, to_inputs, *to_parameters


# Setting the number of threads, as happens below, also ends MKL's own choice of fewer for small products, for good.
# Said at once, sums are rounded alike before and after the first time.
torch.set_num_threads(torch.get_num_threads())


@dataclass(frozen=True)
class _Task:
    """A module and what it looks at."""

    module: nn.Module
    inputs: Tensor

    def __call__(self) -> tuple[Tensor, ...]:
        return self.module(self.inputs)


@dataclass(frozen=True)
class _Backward:
    """What one task gave, the slopes there, and where they go."""

    outputs: Sequence[Tensor]
    slopes: Sequence[Tensor | None]
    leaves: Sequence[Tensor]

    def __call__(self) -> tuple[Tensor | None, ...]:
        return _gradients(self.outputs, self.slopes, self.leaves)


def _gradients(
    outputs: Sequence[Tensor], slopes: Sequence[Tensor | None], leaves: Sequence[Tensor], create_graph: bool = False
) -> tuple[Tensor | None, ...]:
    """Gradients of the leaves that want one; None for the others."""
    used = [(output, slope) for output, slope in zip(outputs, slopes, strict=True) if slope is not None]
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    if not used or not wanted:
        return (None,) * len(leaves)
    ends, begins = zip(*used, strict=True)
    found = iter(torch.autograd.grad(ends, wanted, begins, create_graph=create_graph, allow_unused=True))
    return tuple(next(found) if leaf.requires_grad else None for leaf in leaves)


def _sum(values: Sequence[Tensor | None]) -> Tensor | None:
    """The sum of what there is, in order."""
    there = [value for value in values if value is not None]
    return sum(there[1:], start=there[0]) if there else None


def _joined(found: Sequence[tuple[Tensor, ...]], part_count: int) -> list[tuple[Tensor, ...]]:
    """Outputs of one module after the other, each with the parts of the batch put together."""
    by_module = [found[first : first + part_count] for first in range(0, len(found), part_count)]
    if part_count == 1:
        return [parts[0] for parts in by_module]
    return [tuple(torch.cat(values) for values in zip(*parts, strict=True)) for parts in by_module]


def _parts(module_count: int, scan_count: int) -> list[slice]:
    """Which scans go together, so that there is a task for each thread; all where a task for each module will do."""
    wanted = max(1, min(-(-torch.get_num_threads() // module_count), scan_count))
    size = -(-scan_count // wanted) if scan_count else 1
    return [slice(start, min(start + size, scan_count)) for start in range(0, max(scan_count, 1), size)]


def _can_part(modules: Sequence[nn.Module], inputs: Tensor) -> bool:
    if torch.get_num_threads() == 1 or inputs.device.type != "cpu":
        return False
    if torch._C._are_functorch_transforms_active():
        return False
    values = (inputs, *(parameter for module in modules for parameter in module.parameters()))
    return all(forward_ad.unpack_dual(value).tangent is None for value in values)


# ---------------------------------------------------------------- threads


class _Pool(NamedTuple):
    process: int
    threads: int
    executor: ThreadPoolExecutor


_pool: _Pool | None = None
_lock = threading.Lock()


def _at_once(tasks: Sequence[Callable[[], tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
    """Call all tasks, each in a thread whose operations are not spread; the first is done by the caller.

    Whether gradients are recorded, and autocast, are as here. After all have ended the first exception is raised.
    """
    recorded = torch.is_grad_enabled()
    is_cast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def elsewhere(task: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        with torch.set_grad_enabled(recorded), torch.autocast("cpu", dtype=dtype, enabled=is_cast):
            return task()

    threads = torch.get_num_threads()
    executor = _executor(threads - 1)
    running = [executor.submit(elsewhere, task) for task in tasks[1:]]
    torch.set_num_threads(1)
    try:
        first = tasks[0]()
    finally:
        errors = [future.exception() for future in running]
        torch.set_num_threads(threads)
    for error in errors:
        if error is not None:
            raise error
    return [first, *(future.result() for future in running)]


def _executor(threads: int) -> ThreadPoolExecutor:
    """So many threads, or more; after a fork new ones, since a child has none."""
    global _pool
    with _lock:
        if _pool is None or _pool.process != os.getpid() or _pool.threads < threads:
            _pool = _Pool(os.getpid(), threads, _started(threads))
        return _pool.executor


def _started(threads: int) -> ThreadPoolExecutor:
    outside = torch.get_num_threads()
    executor = ThreadPoolExecutor(threads, "side-by-side", initializer=torch.set_num_threads, initargs=(1,))
    everyone = threading.Barrier(threads)
    for future in [executor.submit(everyone.wait) for _ in range(threads)]:
        future.result()
    torch.set_num_threads(outside)  # what was set last is what other new threads begin with
    return executor
