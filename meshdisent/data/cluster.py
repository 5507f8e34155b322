"""Work spread over a dask.distributed cluster, with results in the order of the tasks (extra ``cluster``).

The scheduler gives what a lost worker was doing to another one, so a worker that ends while it reads changes nothing.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from meshdisent.errors import MeshdisentError, UsageError

Task = TypeVar("Task")
Result = TypeVar("Result")

_WAITING_PER_THREAD = 3  # results are as large as scans: a few wait, not all
_ANSWERS_WITHIN = 20.0  # seconds


def map_on_cluster(function: Callable[[Task], Result], tasks: Iterable[Task], address: str) -> Iterator[Result]:
    """Yield ``function(task)`` for each task in order, computed by the workers of a scheduler.

    Parameters
    ----------
    function, tasks : Can be pickled; the workers have this package, and see the files under the same names.
    address : Of the scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    UsageError : If dask.distributed is not installed, or no scheduler with workers answers.
    MeshdisentError : If a task has taken several workers down with it.
    """
    client = _connect(address)
    try:
        from distributed.scheduler import KilledWorker

        remote = client.scatter(function, broadcast=True, hash=False)
        waiting: deque[Any] = deque()
        for task in tasks:
            # Not by content: two batches of equal names may be of different files by now.
            waiting.append(client.submit(_call, remote, task, pure=False))
            if len(waiting) >= _WAITING_PER_THREAD * max(1, sum(client.nthreads().values())):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except KilledWorker as error:
        raise MeshdisentError(
            f"Workers of the cluster at {address} died one after the other over the same scans; wanted one to finish. "
            "Their memory may have run out: give them more."
        ) from error
    finally:
        client.close(timeout=5)


def _call(function: Callable[[Task], Result], task: Task) -> Result:
    return function(task)


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "--cluster needs dask.distributed, which is not installed; wanted the extra: "
            "pip install 'meshdisent[cluster]'."
        ) from error
    try:
        client = Client(address, timeout=_ANSWERS_WITHIN, set_as_default=False)
        client.wait_for_workers(1, timeout=_ANSWERS_WITHIN)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(
            f"No cluster answers at {address} ({str(error).strip().partition(chr(10))[0]}); wanted the address of a "
            "dask.distributed scheduler with at least one worker, such as tcp://10.0.0.1:8786."
        ) from error
    return client
