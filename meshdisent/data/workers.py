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
_AHEAD_PER_WORKER = 2  # tasks that a process has: one at work, one to go on with


def map_in_order(function: Callable[[Task], Result], tasks: Iterable[Task], worker_count: int) -> Iterator[Result]:
    """Yield ``function(task)`` for each task in order.

    This process is one of the workers: until the others have started, which takes seconds, it works alone.

    Parameters
    ----------
    function : Can be pickled, as a function at the top of a module or a ``functools.partial`` of one.
    tasks : Can be pickled.
    worker_count : How many processes, with this one.

    Raises
    ------
    MeshdisentError : If a process is killed from outside, as by a machine that has run out of memory.
    """
    if worker_count <= 1:
        yield from map(function, tasks)
        return
    # New interpreters ("spawn"): forking a process that has threads, as torch and BLAS have, may hang.
    others = worker_count - 1
    pool = ProcessPoolExecutor(others, multiprocessing.get_context("spawn"))
    waiting: deque[Future[Result]] = deque()
    remaining = iter(tasks)
    try:
        with _ctrl_c_kept_from_children():
            started = pool.submit(_is_started, function)
        while True:
            while waiting and (waiting[0].done() or len(waiting) > _WAITING_PER_WORKER * worker_count):
                yield waiting.popleft().result()
            if started.done():
                started.result()
                running = sum(not future.done() for future in waiting)
                for task in itertools.islice(remaining, _AHEAD_PER_WORKER * others - running):
                    waiting.append(pool.submit(function, task))
            own = list(itertools.islice(remaining, 1))
            if not own:
                break
            waiting.append(_done_here(function, own[0]))
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise MeshdisentError(
            f"One of {worker_count} worker processes was killed; wanted it to finish. The memory may have run out: "
            "give fewer --workers."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _is_started(function: Callable) -> bool:
    """What a new process is asked first: by now it has loaded what the function needs."""
    return callable(function)


def _done_here(function: Callable[[Task], Result], task: Task) -> Future[Result]:
    """The result, or the error for its turn."""
    future: Future[Result] = Future()
    try:
        future.set_result(function(task))
    except Exception as error:
        future.set_exception(error)
    return future


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
