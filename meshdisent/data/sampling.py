"""The order in which training sees the scans: by identity (WSDF, section III.A) or uniformly.

A sampler hands out positions 0 to N - 1 among the training scans, endlessly; iterating over it gives the rest of one
epoch. Its state is a few plain arrays and integers, so that training resumes exactly where it stopped.

Where the scans come from several datasets, a balance draws more evenly from them (:class:`SetShares`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from meshdisent.errors import DataError

State = dict[str, np.ndarray | int]


class SetShares:
    r"""How much of an epoch each set of scans gets, and which of its scans are next.

    Of N scans in sets of :math:`n_k`, an epoch of N draws takes about

    .. math:: N \frac{n_k^{1-b}}{\sum_j n_j^{1-b}}

    from set k: by scans for balance :math:`b = 0`, every set equally often for 1, in between as the power says. A set
    is gone through in shuffled passes that run on from epoch to epoch, so its own scans stay equally frequent.

    Parameters
    ----------
    set_of_scan : (N,) Set of each training scan.
    balance : Above 0, at most 1.

    Examples
    --------
    >>> SetShares(np.array([0, 0, 0, 0, 0, 0, 0, 0, 5, 5]), balance=1.0).counts.tolist()
    [5, 5]
    """

    def __init__(self, set_of_scan: Int[np.ndarray, " scan"], balance: float):
        _, sizes = np.unique(set_of_scan, return_counts=True)
        self._ends = np.cumsum(sizes)
        self._queue = np.argsort(set_of_scan, kind="stable")  # a pass through each set, the sets one after another
        self._passed = sizes.copy()  # as if every pass were over, so that the first draw begins one
        wanted = len(set_of_scan) * sizes ** (1.0 - balance) / (sizes ** (1.0 - balance)).sum()
        self.counts: Int[np.ndarray, " set"] = _whole_shares(wanted)

    def take(self, random: np.random.RandomState) -> Int[np.ndarray, " scan"]:
        """Positions of one epoch, set by set."""
        return np.concatenate([self._of_set(k, int(count), random) for k, count in enumerate(self.counts)])

    def _of_set(self, number: int, count: int, random: np.random.RandomState) -> Int[np.ndarray, " scan"]:
        own = self._queue[self._ends[number - 1] if number else 0 : self._ends[number]]  # a view: shuffled in place
        taken: list[np.ndarray] = []
        while count:
            if self._passed[number] == len(own):
                random.shuffle(own)
                self._passed[number] = 0
            start = self._passed[number]
            taken.append(own[start : start + count].copy())
            self._passed[number] += len(taken[-1])
            count -= len(taken[-1])
        return np.concatenate(taken)

    def state_dict(self) -> State:
        """Where the passes stand."""
        return {"set_queue": self._queue.copy(), "set_passed": self._passed.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where other shares of the same scans stood."""
        self._queue = np.array(state["set_queue"], dtype=np.int64)
        self._passed = np.array(state["set_passed"], dtype=np.int64)


def _whole_shares(wanted: Float[np.ndarray, " set"]) -> Int[np.ndarray, " set"]:
    """Whole numbers of the same sum, none below 1: rounded down, and what is left goes to the largest remainders."""
    counts = np.maximum(np.floor(wanted + 1e-9), 1).astype(np.int64)
    left = round(float(wanted.sum())) - int(counts.sum())
    order = np.argsort(-(wanted - counts), kind="stable")
    counts[order[: max(left, 0)]] += 1
    while counts.sum() > round(float(wanted.sum())):  # sets that were raised to 1: the largest gives
        counts[counts.argmax()] -= 1
    return counts


class UniformSampler:
    """Every scan once an epoch, shuffled, in nearly equal batches.

    Parameters
    ----------
    scan_count : Number of training scans, N.
    batch_size : Most scans in a batch. An epoch is cut into ``ceil(N / batch_size)`` parts, equal to within one.
    seed : Of the shuffle.
    drop_last : Cut exactly ``batch_size`` scans a step instead, and leave the rest of the epoch out.
    shares : Draw the sets of scans by these shares; an epoch is still ``scan_count`` scans, some of them several times.
    multiple : Batches are multiples of this, so that so many processes have equal parts; an epoch leaves out the few
        scans beyond the last multiple, others each time.

    Raises
    ------
    DataError : If there is not a single batch.

    Examples
    --------
    >>> sampler = UniformSampler(5, batch_size=2, seed=0)
    >>> sampler.steps_per_epoch, sorted(np.concatenate(list(sampler)).tolist())
    (3, [0, 1, 2, 3, 4])
    """

    def __init__(
        self,
        scan_count: int,
        batch_size: int = 32,
        seed: int = 110,
        drop_last: bool = False,
        shares: SetShares | None = None,
        multiple: int = 1,
    ):
        if batch_size % multiple:
            raise DataError(
                f"A batch has {batch_size} anchors; wanted a multiple of {multiple}, the number of processes. Set "
                "training.sampler.anchors."
            )
        self.scan_count = scan_count
        self.batch_size = batch_size
        usable, self._multiple = scan_count // multiple * multiple, multiple
        self.steps_per_epoch = usable // batch_size if drop_last else -(-usable // batch_size)
        if self.steps_per_epoch < 1:
            raise DataError(
                f"There are {scan_count} training scans; wanted at least {batch_size if drop_last else 1} for a batch. "
                "Prepare more scans for training, or set a smaller batch."
            )
        self.epoch = 0
        self.step = 0  # batches of this epoch that were handed out
        self._drop_last, self._shares = drop_last, shares
        self._random = np.random.RandomState(seed)  # the published order needs this old generator
        self._order = self._shuffled()

    def _shuffled(self) -> Int[np.ndarray, " scan"]:
        # Anew each epoch, as published: not the last epoch's order shuffled again.
        order = np.arange(self.scan_count) if self._shares is None else self._shares.take(self._random)
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
        least, longer = divmod(self.scan_count // self._multiple, self.steps_per_epoch)
        return (step * least + min(step, longer)) * self._multiple

    def __iter__(self) -> Iterator[Int[np.ndarray, " batch"]]:
        """Batches until the epoch ends."""
        for _ in range(self.steps_per_epoch - self.step % self.steps_per_epoch):
            yield self.next_batch()

    def state_dict(self) -> State:
        """Where the sampler stands, as plain arrays and integers."""
        shares = {} if self._shares is None else self._shares.state_dict()
        order = self._order.copy()
        return {"epoch": self.epoch, "step": self.step, "order": order, **shares, **_random_state(self._random)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another sampler of the same settings stood.

        Raises
        ------
        DataError : If that sampler had another number of scans, or balanced its sets and this one does not.
        """
        if len(state["order"]) != self.scan_count:
            raise DataError(
                f"The saved sampler had {len(state['order'])} training scans; the dataset has {self.scan_count}. "
                "Resume with the dataset that the training began with."
            )
        if ("set_queue" in state) != (self._shares is not None):
            raise DataError(
                f"The saved sampler {'balanced' if self._shares is None else 'did not balance'} its sets of scans, and "
                "this one is to do otherwise. Resume with the recipe that the training began with."
            )
        if self._shares is not None:
            self._shares.load_state_dict(state)
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
    drop_last, shares, multiple : See :class:`UniformSampler`, of the anchors.

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
        shares: SetShares | None = None,
        multiple: int = 1,
    ):
        self.partners = partners
        self._anchors = UniformSampler(len(subject_of_scan), anchors, seed, drop_last, shares, multiple)
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
