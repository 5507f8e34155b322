"""Several processes that train one model together, each with a part of every batch.

``torchrun`` starts them; torch.distributed carries what they tell each other. The parts of a batch are equal: of n rows
each, process k has rows k n to (k + 1) n of the whole. Noise is drawn for the whole batch and cut, and what only makes
sense on the whole batch is gathered, so that the mean of an objective over the processes is the objective of one
process with the whole batch. With one process everything here gives back what it is given.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # not in the list of names that it exports

from meshdisent.errors import MeshdisentError, UsageError

Rows = TypeVar("Rows", Tensor, np.ndarray)

#: How long a process waits for the others, the measurement of validation scans included.
PATIENCE = timedelta(hours=1)


class ProcessLost(MeshdisentError):
    """Another process of this training has ended."""


def count() -> int:
    """Processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def number() -> int:
    """Which of them this one is; 0 is the one that writes and speaks."""
    return dist.get_rank() if count() > 1 else 0


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Be one of the processes that torchrun has started, if it has; else alone.

    Raises
    ------
    UsageError : If torch cannot talk to the others.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not dist.is_available() or dist.is_initialized():
        yield
        return
    try:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError, OSError) as error:
        raise UsageError(f"The other processes of this training were not found: {_first_line(error)}") from error
    try:
        yield
    finally:
        dist.destroy_process_group()


def own_device(name: str) -> str:
    """The device of this process: with several and "cuda", the GPU of its number on this machine."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" and count() > 1 else name


def speaks_first() -> bool:
    """Whether this process is the first that has to say why it ends; the others then stay silent.

    Asked through torchrun's own store, which is there even when processes are not.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return True
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=5))
        return store.add(f"meshdisent/said/{attempt}", 1) == 1
    except (KeyError, ValueError, RuntimeError):
        return os.environ.get("RANK", "0") == "0"


def part(whole: Rows) -> Rows:
    """The rows of a whole batch, a tensor or an array, that are this process's."""
    if count() == 1:
        return whole
    size = len(whole) // count()
    return whole[number() * size : (number() + 1) * size]


def whole(part: Shaped[Tensor, "part *rest"]) -> Shaped[Tensor, "row *rest"]:
    """The rows of all processes; a gradient that comes back to them from any process is added up."""
    return part if count() == 1 else _Whole.apply(part)


def mean(tensors: Sequence[Float[Tensor, "..."]]) -> None:
    """Replace tensors by their means over the processes, in one message."""
    if count() == 1 or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    _ask(lambda: dist.all_reduce(flat))
    flat /= count()
    for tensor, found in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(found.view_as(tensor))


def largest(*values: float) -> tuple[float, ...]:
    """The largest of each number over the processes."""
    if count() == 1:
        return values
    told = torch.tensor(values, dtype=torch.float64, device=_device())
    _ask(lambda: dist.all_reduce(told, dist.ReduceOp.MAX))
    return tuple(told.tolist())


def as_first(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by those of the first process."""
    if count() == 1:
        return

    def tell() -> None:
        for tensor in tensors:
            dist.broadcast(tensor, 0)

    _ask(tell)


def first_says(make: Callable[[], Any]) -> Any:
    """What the first process makes, for all of them; plain values. The others wait for it."""
    if count() == 1:
        return make()
    text = json.dumps(make()).encode() if number() == 0 else b""
    length = torch.tensor([len(text)], device=_device())
    _ask(lambda: dist.broadcast(length, 0))
    content = torch.zeros(int(length), dtype=torch.uint8)
    if number() == 0:
        content = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    content = content.to(_device())
    _ask(lambda: dist.broadcast(content, 0))
    return json.loads(bytes(content.tolist()).decode())


def wait() -> None:
    """Go on when all processes are here."""
    largest(0.0)


class _Whole(torch.autograd.Function):
    """See :func:`whole`."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own) for _ in range(count())]
        _ask(lambda: dist.all_gather(parts, own.contiguous()))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        _ask(lambda: dist.all_reduce(total))
        return part(total)


def _device() -> torch.device:
    """Where messages lie."""
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _ask(talk: Callable[[], Any]) -> None:
    try:
        talk()
    except RuntimeError as error:
        raise ProcessLost(
            f"One of the {count()} processes of this training has ended, or does not answer any more "
            f"({_first_line(error)})."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
