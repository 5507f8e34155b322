"""Work spread over processes, with results in the order of the tasks: their number changes nothing but the time."""

import itertools
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from meshdisent.errors import MeshdisentError, UsageError

Task = TypeVar("Task")
Result = TypeVar("Result")
_WAITING_PER_WORKER = 3  # results are as large as scans: a few wait, not all


def map_in_order(function: Callable[[Task], Result], tasks: Iterable[Task], worker_count: int) -> Iterator[Result]:
    """Yield ``function(task)`` for each task in order; with one worker in this process, else in new ones.

    Parameters
    ----------
    function : Can be pickled, as a function at the top of a module or a ``functools.partial`` of one.
    tasks : Can be pickled.
    worker_count : How many processes.

    Raises
    ------
    MeshdisentError : If a process is killed from outside, as by a machine that has run out of memory.
    """
    if worker_count <= 1:
        yield from map(function, tasks)
        return
    # New interpreters ("spawn"): forking a process that has threads, as torch and BLAS have, may hang.
    pool = ProcessPoolExecutor(
        worker_count,
        multiprocessing.get_context("spawn"),
    )
    waiting: deque[Future[Result]] = deque()
    remaining = iter(tasks)
    try:
        with _ctrl_c_kept_from_children():
            for task in itertools.islice(remaining, worker_count * _WAITING_PER_WORKER):
                waiting.append(pool.submit(function, task))
        while waiting:
            yield waiting.popleft().result()
            for task in itertools.islice(remaining, 1):
                waiting.append(pool.submit(function, task))
    except BrokenProcessPool as error:
        raise MeshdisentError(
            f"One of {worker_count} worker processes was killed; wanted it to finish. The memory may have run out: "
            "give fewer --workers."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_workers(workers: int | None) -> None:
    """Raise :class:`UsageError` for a number of processes that makes no sense; None is one a core."""
    if workers is not None and workers < 1:
        raise UsageError(f"--workers is {workers}; wanted at least 1.")
    if workers is not None and workers > core_count():
        raise UsageError(
            f"--workers is {workers}, and {core_count()} cores are at hand: more would only take turns, and memory. "
            "Give at most one a core, or leave it out for that."
        )


@contextmanager
def _ctrl_c_kept_from_children() -> Iterator[None]:
    """Hold Ctrl-C back while processes start: they inherit that, and leave it to this one, which gets it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
