"""Batches in the order of a sampler, read ahead by one thread where the scans do not fit into memory.

The order never depends on the reading: rows are drawn by the sampler one batch at a time, and what was drawn but not
yet trained on is part of a checkpoint.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.sampling import IdentityAwareSampler, UniformSampler
from meshdisent.morphable.contract import Batch
from meshdisent.training.recipe import SamplerConfig

#: Training scans that take less than this many bytes are kept in memory, on the device of the model.
MEMORY_LIMIT = 2 * 1024**3
#: Batches that are read while the model computes.
READ_AHEAD = 3


class _Pending(NamedTuple):
    rows: Int[np.ndarray, " row"]
    vertices: "Future[Tensor] | None"


class Batches:
    """An endless supply of training batches; use it in a ``with`` block, which ends the reading thread.

    Parameters
    ----------
    scans : The dataset; only its training split is used, and it must not be empty.
    config : Which sampler, and how many scans.
    device, dtype : Where vertices go, and as what.
    memory_limit : Bytes of training scans that may be held in memory.
    """

    def __init__(
        self,
        scans: ScanDataset,
        config: SamplerConfig,
        device: torch.device,
        dtype: torch.dtype,
        memory_limit: int = MEMORY_LIMIT,
    ):
        self.scans, self.device, self.dtype = scans, device, dtype
        self.train_rows = scans.rows("train")
        self.sampler = make_sampler(scans.subject[self.train_rows], config)
        self._drawn: deque[_Pending] = deque()
        self._reader: ThreadPoolExecutor | None = None
        self._held: Tensor | None = None
        if 12 * len(self.train_rows) * scans.topology.vertex_count <= memory_limit:
            self._held = torch.from_numpy(scans.vertices(self.train_rows)).to(device, dtype)
        else:
            self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scans")

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *error: object) -> None:
        if self._reader is not None:
            self._reader.shutdown(wait=True, cancel_futures=True)

    def next(self) -> Batch:
        """The next batch."""
        while len(self._drawn) < (1 if self._reader is None else READ_AHEAD):
            self._draw(self.sampler.next_batch())
        rows, reading = self._drawn.popleft()
        vertices = self._pick(rows) if reading is None else reading.result()
        return Batch(
            vertices=vertices.to(self.device, self.dtype, non_blocking=True),
            subject=torch.from_numpy(self.scans.subject[rows]).to(self.device),
            expression=torch.from_numpy(self.scans.expression[rows]).to(self.device),
            rows=torch.from_numpy(rows).to(self.device),
        )

    def state(self) -> dict[str, Any]:
        """What decides all batches to come: the sampler's state and the rows that are drawn already."""
        return {"sampler": self.sampler.state_dict(), "drawn": [pending.rows for pending in self._drawn]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state` was taken."""
        self.sampler.load_state_dict(state["sampler"])
        self._drawn.clear()
        for rows in state["drawn"]:
            self._put(rows)

    def _draw(self, positions: Int[np.ndarray, " row"]) -> None:
        """Queue what the sampler drew: positions within the training split."""
        self._put(self.train_rows[positions])

    def _put(self, rows: Int[np.ndarray, " row"]) -> None:
        read: Callable[[], Tensor] = lambda: torch.from_numpy(self.scans.vertices(rows))  # noqa: E731
        self._drawn.append(_Pending(rows, None if self._reader is None else self._reader.submit(read)))

    def _pick(self, rows: Int[np.ndarray, " row"]) -> Tensor:
        assert self._held is not None
        return self._held[torch.from_numpy(np.searchsorted(self.train_rows, rows)).to(self.device)]


def make_sampler(
    subject_of_scan: Int[np.ndarray, " scan"], config: SamplerConfig
) -> IdentityAwareSampler | UniformSampler:
    """The sampler that a recipe asks for, over the scans of the training split."""
    if config.kind == "identity_aware":
        return IdentityAwareSampler(subject_of_scan, anchors=config.anchors, partners=config.partners, seed=config.seed)
    return UniformSampler(len(subject_of_scan), batch_size=config.batch_size, seed=config.seed)
