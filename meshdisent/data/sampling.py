"""The order in which training sees the scans: by identity (WSDF, section III.A) or uniformly.

A sampler hands out positions 0 to N - 1 among the training scans, endlessly; iterating over it gives the rest of one
epoch. Its state is a few plain arrays and integers, so that training resumes exactly where it stopped.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from meshdisent.errors import DataError

State = dict[str, np.ndarray | int]


class UniformSampler:
    """Every scan once an epoch, shuffled, in nearly equal batches.

    Parameters
    ----------
    scan_count : Number of training scans, N.
    batch_size : Most scans in a batch. An epoch is cut into ``ceil(N / batch_size)`` parts, equal to within one.
    seed : Of the shuffle.
    drop_last : Cut exactly ``batch_size`` scans a step instead, and leave the rest of the epoch out.

    Raises
    ------
    DataError : If there is not a single batch.

    Examples
    --------
    >>> sampler = UniformSampler(5, batch_size=2, seed=0)
    >>> sampler.steps_per_epoch, sorted(np.concatenate(list(sampler)).tolist())
    (3, [0, 1, 2, 3, 4])
    """

    def __init__(self, scan_count: int, batch_size: int = 32, seed: int = 110, drop_last: bool = False):
        self.scan_count = scan_count
        self.batch_size = batch_size
        self.steps_per_epoch = scan_count // batch_size if drop_last else -(-scan_count // batch_size)
        if self.steps_per_epoch < 1:
            raise DataError(
                f"There are {scan_count} training scans; wanted at least {batch_size if drop_last else 1} for a batch. "
                "Prepare more scans for training, or set a smaller batch."
            )
        self.epoch = 0
        self.step = 0  # batches of this epoch that were handed out
        self._drop_last = drop_last
        self._random = np.random.RandomState(seed)  # the published order needs this old generator
        self._order = self._shuffled()

    def _shuffled(self) -> Int[np.ndarray, " scan"]:
        order = np.arange(self.scan_count)  # anew each epoch, as published: not the last epoch's order shuffled again
        self._random.shuffle(order)
        return order

    def next_batch(self) -> Int[np.ndarray, " batch"]:
        """Positions of the next batch; a new epoch begins by itself."""
        if self.step == self.steps_per_epoch:
            self.epoch, self.step, self._order = self.epoch + 1, 0, self._shuffled()
        start, stop = (self._cut(self.step + k) for k in (0, 1))
        self.step += 1
        return self._order[start:stop]

    def _cut(self, step: int) -> int:
        """Where a step begins: the first ``N mod steps`` parts are one scan longer."""
        if self._drop_last:
            return step * self.batch_size
        least, longer = divmod(self.scan_count, self.steps_per_epoch)
        return step * least + min(step, longer)

    def __iter__(self) -> Iterator[Int[np.ndarray, " batch"]]:
        """Batches until the epoch ends."""
        for _ in range(self.steps_per_epoch - self.step % self.steps_per_epoch):
            yield self.next_batch()

    def state_dict(self) -> State:
        """Where the sampler stands, as plain arrays and integers."""
        return {"epoch": self.epoch, "step": self.step, "order": self._order.copy(), **_random_state(self._random)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another sampler of the same settings stood.

        Raises
        ------
        DataError : If that sampler had another number of scans.
        """
        if len(state["order"]) != self.scan_count:
            raise DataError(
                f"The saved sampler had {len(state['order'])} training scans; the dataset has {self.scan_count}. "
                "Resume with the dataset that the training began with."
            )
        self.epoch, self.step = int(state["epoch"]), int(state["step"])
        self._order = np.array(state["order"], dtype=np.int64)
        _restore(self._random, state)


class IdentityAwareSampler:
    """Anchors, and for each anchor further scans of the same subject (WSDF, section III.A), in the published order.

    An epoch takes every scan once as an anchor. A batch is all its anchors, then the partners of the first anchor, of
    the second, and so on. Partners are drawn without replacement from the subject's other scans; with replacement where
    they are too few; an anchor that is alone is its own partner. Anchors are scans, so a batch may repeat a subject.

    Parameters
    ----------
    subject_of_scan : (N,) Subject of each training scan.
    anchors, partners : Anchors of a batch, at most, and partners of each.
    seed : Of the shuffle and of the draw, which are two generators.
    drop_last : See :class:`UniformSampler`.

    Examples
    --------
    >>> sampler = IdentityAwareSampler(np.array([0, 0, 0, 1, 1]), anchors=2, partners=1)
    >>> sampler.steps_per_epoch, sampler.next_batch().shape
    (3, (4,))
    """

    def __init__(
        self,
        subject_of_scan: Int[np.ndarray, " scan"],
        anchors: int = 8,
        partners: int = 3,
        seed: int = 110,
        drop_last: bool = False,
    ):
        self.partners = partners
        self._anchors = UniformSampler(len(subject_of_scan), anchors, seed, drop_last)
        self._draw = np.random.RandomState(seed)  # the published order needs this old generator
        by_subject = np.argsort(subject_of_scan, kind="stable")
        _, self._subject, counts = np.unique(subject_of_scan, return_inverse=True, return_counts=True)
        self._scans_of_subject = np.split(by_subject, np.cumsum(counts)[:-1])

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self._anchors.steps_per_epoch

    @property
    def epoch(self) -> int:
        """Epoch of the last batch, from 0."""
        return self._anchors.epoch

    @property
    def step(self) -> int:
        """Batches of this epoch that were handed out."""
        return self._anchors.step

    def next_batch(self) -> Int[np.ndarray, " batch"]:
        """Positions of the next batch: the anchors, then each anchor's partners."""
        anchors = self._anchors.next_batch()
        return np.concatenate([anchors, *(self._partners_of(int(anchor)) for anchor in anchors)])

    def _partners_of(self, anchor: int) -> Int[np.ndarray, " partner"]:
        own = self._scans_of_subject[self._subject[anchor]]
        others = own[own != anchor]
        if len(others) == 0:
            return np.full(self.partners, anchor)
        return self._draw.choice(others, self.partners, replace=len(others) < self.partners)

    def __iter__(self) -> Iterator[Int[np.ndarray, " batch"]]:
        """Batches until the epoch ends."""
        for _ in range(self.steps_per_epoch - self.step % self.steps_per_epoch):
            yield self.next_batch()

    def state_dict(self) -> State:
        """Where the sampler stands, as plain arrays and integers."""
        return {**self._anchors.state_dict(), **_random_state(self._draw, "draw_")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another sampler of the same settings stood; see :meth:`UniformSampler.load_state_dict`."""
        self._anchors.load_state_dict(state)
        _restore(self._draw, state, "draw_")


def _random_state(random: np.random.RandomState, prefix: str = "") -> State:
    """Key and place of a Mersenne twister. Its spare normal number is not kept, for none is ever drawn here."""
    _, key, position, *_ = random.get_state()
    return {f"{prefix}random_key": np.asarray(key, dtype=np.int64), f"{prefix}random_position": int(position)}


def _restore(random: np.random.RandomState, state: Mapping[str, Any], prefix: str = "") -> None:
    key = np.asarray(state[f"{prefix}random_key"]).astype(np.uint32)
    random.set_state(("MT19937", key, int(state[f"{prefix}random_position"]), 0, 0.0))
