"""Where training computes: the device, and with how many threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from meshdisent.errors import UsageError


def device_of(name: str) -> torch.device:
    """The device of that name, or :class:`UsageError` if this machine has none."""
    kind = name.partition(":")[0]
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise UsageError(f"The device is {name!r}; this machine has cpu{', cuda' * torch.cuda.is_available()}.")
    return torch.device(name)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads while the block runs."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
