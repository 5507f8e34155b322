"""Batches in the order of a sampler, read ahead by one thread where the scans do not fit into memory.

The order never depends on the reading: rows are drawn by the sampler one batch at a time, and what was drawn but not
yet trained on is part of a checkpoint. Where several processes train together, each draws the same rows and reads its
own part of every batch alone.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.resting import scans_at_rest
from meshdisent.data.sampling import IdentityAwareSampler, SetShares, UniformSampler
from meshdisent.morphable.contract import Batch, Companions
from meshdisent.nn import processes
from meshdisent.training.partners import Partners
from meshdisent.training.recipe import SamplerConfig

#: Batches that are read while the model computes.
READ_AHEAD = 3


class _Pending(NamedTuple):
    """Rows that are drawn but not yet handed out; with ``partner`` those of their partners, or None."""

    #: Of the whole batch; all else is of this process's part.
    drawn: Int[np.ndarray, " row"]
    rows: Int[np.ndarray, " row"]
    partner: Int[np.ndarray, " row"] | None
    is_same: Bool[np.ndarray, " row"] | None
    #: What is being read: the scans, then the partners.
    reading: "Future[Tensor] | None"


class Batches:
    """An endless supply of training batches; use it in a ``with`` block, which ends the reading thread.

    They carry scans and labels alone until :meth:`accompany` says what else.

    Parameters
    ----------
    scans : The dataset; only its training split is used, and it must not be empty.
    config : Which sampler, and how many scans.
    device, dtype : Where vertices go, and as what.
    memory_limit : Bytes of training scans that may be held in memory, on the device; 0 reads all of them as they come.
    """

    def __init__(
        self,
        scans: ScanDataset,
        config: SamplerConfig,
        device: torch.device,
        dtype: torch.dtype,
        memory_limit: float = 2e9,
    ):
        self.scans, self.device, self.dtype = scans, device, dtype
        self.train_rows = scans.rows("train")
        self.sampler = make_sampler(scans.subject[self.train_rows], config, scans.set_of_scan[self.train_rows])
        self.companions, self._first = Companions(), 0
        self._partners = Partners(scans.subject[self.train_rows], config.seed)
        self._neutrals: Tensor | None = None
        self._at_rest: Tensor | None = None
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

    @property
    def steps_per_epoch(self) -> int:
        """Batches that see every training scan once."""
        return self.sampler.steps_per_epoch

    @property
    def number(self) -> int:
        """Batches that were handed out since training began."""
        return self.sampler.epoch * self.sampler.steps_per_epoch + self.sampler.step - len(self._drawn)

    def accompany(self, companions: Companions | None, first: int) -> None:
        """Let batches carry companions, or none, from now on.

        Batch ``first`` is the first of the phase, whose epochs count.

        Raises
        ------
        DataError : If the dataset cannot say what is asked for.
        """
        companions = Companions() if companions is None else companions
        self.companions, self._first = companions, first
        self._neutrals = torch.from_numpy(self.scans.neutrals()[0]) if companions.neutral else None
        self._at_rest = torch.from_numpy(scans_at_rest(self.scans)) if companions.at_rest else None
        pending, self._drawn = [waiting.drawn for waiting in self._drawn], deque()
        first_waiting = self.number - len(pending)
        for nth, rows in enumerate(pending):
            self._put(rows, first_waiting + nth)

    def next(self) -> Batch:
        """The next batch."""
        epoch = (self.number - self._first) // self.sampler.steps_per_epoch
        while len(self._drawn) < (1 if self._reader is None else READ_AHEAD):
            number = self.number + len(self._drawn)
            self._put(self.train_rows[self.sampler.next_batch()], number)
        _, rows, partner, is_same, reading = self._drawn.popleft()
        both = rows if partner is None else np.concatenate([rows, partner])
        vertices = self._pick(both) if reading is None else reading.result()
        vertices = vertices.to(self.device, self.dtype, non_blocking=True)
        return Batch(
            vertices=vertices[: len(rows)],
            subject=torch.from_numpy(self.scans.subject[rows]).to(self.device),
            expression=torch.from_numpy(self.scans.expression[rows]).to(self.device),
            rows=torch.from_numpy(rows).to(self.device),
            epoch=epoch,
            partner=None if partner is None else vertices[len(rows) :],
            is_same=None if is_same is None else torch.from_numpy(is_same).to(self.device),
            neutral=self._of_neutrals(rows),
            at_rest=None if self._at_rest is None else self._at_rest[torch.from_numpy(rows)].to(self.device),
        )

    def state(self) -> dict[str, Any]:
        """What decides all batches to come: the sampler's state and the rows that are drawn already."""
        return {"sampler": self.sampler.state_dict(), "drawn": [pending.drawn for pending in self._drawn]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state` was taken."""
        self.sampler.load_state_dict(state["sampler"])
        self._drawn.clear()
        first_waiting = self.number - len(state["drawn"])
        for nth, rows in enumerate(state["drawn"]):
            self._put(rows, first_waiting + nth)

    def _put(self, drawn: Int[np.ndarray, " row"], number: int) -> None:
        """Queue the rows of batch ``number`` with their partners, and begin to read them."""
        rows, partner, is_same = processes.part(drawn), None, None
        kind = self.companions.partner
        if kind != "none":
            positions, is_same = self._partners.draw(np.searchsorted(self.train_rows, drawn), number, kind)
            partner, is_same = self.train_rows[processes.part(positions)], processes.part(is_same)
        both = rows if partner is None else np.concatenate([rows, partner])
        read: Callable[[], Tensor] = lambda: torch.from_numpy(self.scans.vertices(both))  # noqa: E731
        reading = None if self._reader is None else self._reader.submit(read)
        self._drawn.append(_Pending(drawn, rows, partner, is_same, reading))

    def _of_neutrals(self, rows: Int[np.ndarray, " row"]) -> Tensor | None:
        """The subjects of some rows at rest, in mm. They stay on the host: a copy a subject may be large."""
        if self._neutrals is None:
            return None
        return self._neutrals[torch.from_numpy(self.scans.subject[rows])].to(self.device, self.dtype)

    def _pick(self, rows: Int[np.ndarray, " row"]) -> Tensor:
        assert self._held is not None
        return self._held[torch.from_numpy(np.searchsorted(self.train_rows, rows)).to(self.device)]


def make_sampler(
    subject_of_scan: Int[np.ndarray, " scan"], config: SamplerConfig, set_of_scan: Int[np.ndarray, " scan"]
) -> IdentityAwareSampler | UniformSampler:
    """The sampler that a recipe asks for, over the scans of the training split."""
    has_sets = len(np.unique(set_of_scan)) > 1
    shares = SetShares(set_of_scan, config.balance) if config.balance > 0 and has_sets else None
    if config.kind == "identity_aware":
        return IdentityAwareSampler(
            subject_of_scan,
            anchors=config.anchors,
            partners=config.partners,
            seed=config.seed,
            shares=shares,
            multiple=processes.count(),
        )
    return UniformSampler(
        len(subject_of_scan),
        batch_size=config.batch_size,
        seed=config.seed,
        shares=shares,
        multiple=processes.count(),
    )
