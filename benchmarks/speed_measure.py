"""Times of several methods side by side, the machine's own rates between them, and the memory of each."""

import resource
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from speed_cases import Case

#: A row goes round its methods at least so often, and goes on for so many seconds.
ROUNDS, SECONDS = 3, 8.0
#: Seconds after which peak memory has been seen.
ENOUGH = 8.0
MATRIX = 2048
COPIED = 2**25


@dataclass(kw_only=True)
class Problem:
    """What a row measures.

    Attributes
    ----------
    methods : Ours first. Calling one does the work once; None says that it is not at hand, see ``left_out``.
    flops, bytes : Work that cannot be avoided; 0 where there is no such number.
    left_out : Why a method is None.
    """

    methods: dict[str, Callable[[], Any] | None]
    flops: float = 0.0
    bytes: float = 0.0
    left_out: dict[str, str] = field(default_factory=dict)


def measure(case: "Case", problem: Problem, device: str) -> dict[str, Any]:
    """Times, ratios to ours, and the limit of a row."""
    calls = {name: call for name, call in problem.methods.items() if call is not None}
    times: dict[str, list[float]] = {name: [] for name in calls}
    rates: list[float] = []
    bandwidths: list[float] = []
    for call in calls.values():
        call()  # caches, first touches
    begun = perf_counter()
    while len(rates) < ROUNDS or perf_counter() - begun < SECONDS:
        rates.append(matrix_rate(device))
        bandwidths.append(copy_rate(device))
        for name, call in calls.items():
            if times[name] and case.once_is_enough and sum(times[name]) > SECONDS / 2:
                continue
            times[name].append(seconds_of(call, device))
    ours = times[next(iter(calls))]
    limit = max(problem.flops / max(rates), problem.bytes / max(bandwidths))
    methods: dict[str, Any] = {}
    for name, call in problem.methods.items():
        if call is None:
            methods[name] = {"left_out": problem.left_out[name]}
            continue
        pairs = [other / own for other, own in zip(times[name], ours, strict=False)]
        ratio = None if times[name] is ours else statistics.median(pairs)
        methods[name] = {"seconds": statistics.median(times[name]), "fastest": min(times[name]), "ratio": ratio}
        methods[name]["runs"] = len(times[name])
    return {
        "methods": methods,
        "limit_seconds": limit,
        "matrix_gflops": max(rates) / 1e9,
        "copy_gigabytes": max(bandwidths) / 1e9,
    }


def seconds_of(call: Callable[[], Any], device: str) -> float:
    """Wall time of one call, on an accelerator until its work is done."""
    _wait(device)
    begun = perf_counter()
    call()
    _wait(device)
    return perf_counter() - begun


def matrix_rate(device: str) -> float:
    """Floating-point operations a second in a product of large float32 matrices."""
    one = torch.ones(MATRIX, MATRIX, device=device)
    return 2 * MATRIX**3 / min(seconds_of(lambda: one @ one, device) for _ in range(2))


def copy_rate(device: str) -> float:
    """Bytes a second that a copy reads and writes together."""
    source, target = torch.zeros(COPIED, device=device), torch.zeros(COPIED, device=device)
    return 8 * COPIED / min(seconds_of(lambda: target.copy_(source), device) for _ in range(2))


def peak_memory(problem: Problem, method: str) -> dict[str, Any]:
    """Largest resident memory of this process after three runs of one method, fewer of a slow one."""
    call = problem.methods[method]
    assert call is not None
    begun = perf_counter()
    for _ in range(3):
        call()
        if perf_counter() - begun > ENOUGH:
            break
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
