"""Batches of pictures for stage one, and of the latents of sequences for stage two.

The order never depends on the reading. What is random about a batch beside its rows, mirroring and the choice of
frames, is drawn from the seed and the number of the batch, so the sampler's state and that number are all there is to
keep.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.data.sampling import UniformSampler
from meshdisent.errors import DataError
from meshdisent.latentface.sequence_frames import draw_frames
from meshdisent.training.recipe import SamplerConfig

READ_AHEAD = 3


@dataclass(frozen=True, kw_only=True)
class ImageBatch:
    """Pictures as a step of stage one sees them.

    Attributes
    ----------
    images : (B, 3, S, S) From -1 to 1.
    rows : (B,) In the dataset.
    """

    images: Float[Tensor, "batch 3 size size"]
    rows: Int[Tensor, " batch"]

    @property
    def device(self) -> torch.device:
        """Where the pictures lie."""
        return self.images.device

    @property
    def count(self) -> int:
        """Pictures in the batch."""
        return len(self.images)

    @property
    def nbytes(self) -> int:
        """Bytes of these pictures."""
        return self.images.nbytes

    @property
    def described(self) -> str:
        """What is in the batch, in words."""
        return f"{len(self.images):,} pictures of {self.images.shape[-1]} pixels"

    def first(self, count: int) -> "ImageBatch":
        """The first few pictures alone."""
        return ImageBatch(images=self.images[:count], rows=self.rows[:count])


@dataclass(frozen=True, kw_only=True)
class LatentBatch:
    """Latents of sequences as a step of stage two sees them; what a part does not have is None.

    Attributes
    ----------
    texture, shape : (B, F, L) Latents of drawn frames; the first one is shown, the mean of all is wanted.
    """

    texture: Float[Tensor, "batch frame latent"]
    shape: Float[Tensor, "batch frame latent"]

    @property
    def device(self) -> torch.device:
        """Where the latents lie."""
        return self.texture.device

    @property
    def count(self) -> int:
        """Sequences in the batch."""
        return len(self.texture)

    @property
    def nbytes(self) -> int:
        """Bytes of these latents."""
        return self.texture.nbytes + self.shape.nbytes

    @property
    def described(self) -> str:
        """What is in the batch, in words."""
        return f"{len(self.texture):,} sequences of {self.texture.shape[1]} latents"

    def first(self, count: int) -> "LatentBatch":
        """The first few sequences alone."""
        values = {field.name: getattr(self, field.name)[:count] for field in fields(self)}
        return replace(self, **values)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What batches of a phase are.

    Attributes
    ----------
    kind : ``images``, or ``latents`` of sequences.
    mirrored : Share of images that are mirrored.
    frames : Of a sequence.
    """

    kind: Literal["images", "latents"]
    mirrored: float = 0.0
    frames: int = 16


class ImageBatches:
    """An endless supply of batches of training pictures; use it in a ``with`` block, which ends the reading thread.

    Parameters
    ----------
    data : The dataset; only its training split is used, and it must not be empty.
    config : How many pictures, or sequences, make a batch; drawn evenly.
    device, dtype : Where they go, and as what.
    latents : Latents (2, N, L), of texture and of shape, of rows of the dataset; asked once when stage two begins.
    memory_limit : Bytes of training pictures that may be held in memory.
    """

    def __init__(
        self,
        data: ImageDataset,
        config: SamplerConfig,
        device: torch.device,
        dtype: torch.dtype,
        latents: Callable[[ImageDataset, Int[np.ndarray, " row"]], Float[Tensor, "2 row latent"]],
        memory_limit: float = 2e9,
    ):
        self.data, self.config, self.device, self.dtype = data, config, device, dtype
        self.train_rows = data.rows("train")
        self._latents_of = latents
        self._memory_limit = memory_limit
        self._reader: ThreadPoolExecutor | None = None
        self._sampler = UniformSampler(len(self.train_rows), batch_size=config.batch_size, seed=config.seed)
        self._wanted = Wanted(kind="images")
        self._drawn: deque[tuple[np.ndarray, int, Future[Tensor] | None]] = deque()
        self._latents: Tensor | None = None
        self._pixels: np.ndarray | None = None
        self._sequences: list[np.ndarray] = []

    def __enter__(self) -> "ImageBatches":
        return self

    def __exit__(self, *error: object) -> None:
        if self._reader is not None:
            self._reader.shutdown(wait=True, cancel_futures=True)

    @property
    def steps_per_epoch(self) -> int:
        """Batches that see every training picture, or every sequence, once."""
        return self._sampler.steps_per_epoch

    @property
    def number(self) -> int:
        """Batches of this phase that were handed out."""
        return self._sampler.epoch * self._sampler.steps_per_epoch + self._sampler.step - len(self._drawn)

    def accompany(self, companions: Wanted | None, first: int) -> None:
        """Hand out pictures or latents from now on; each kind has a sampler of its own.

        Raises
        ------
        DataError : If latents of sequences are wanted and the training split has no sequence of two frames.
        """
        wanted = Wanted(kind="images") if companions is None else companions
        if wanted.kind == "latents" and self._latents is None:
            self._load_latents()
        if wanted.kind == "images" and self._pixels is None and self._reader is None:
            self._hold_pixels()
        if wanted.kind != self._wanted.kind:
            self._drawn.clear()
            count = len(self._sequences if wanted.kind == "latents" else self.train_rows)
            self._sampler = UniformSampler(count, batch_size=self.config.batch_size, seed=self.config.seed)
        self._wanted = wanted

    def next(self) -> ImageBatch | LatentBatch:
        """The next batch."""
        while len(self._drawn) < (1 if self._reader is None else READ_AHEAD):
            self._put(self._sampler.next_batch(), self.number + len(self._drawn))
        picked, number, reading = self._drawn.popleft()
        if self._wanted.kind == "latents":
            return self._latent_batch(picked, number)
        images = self._images(self.train_rows[picked]) if reading is None else reading.result()
        if self._wanted.mirrored > 0:
            random = np.random.default_rng([self.config.seed, number])
            is_mirrored = torch.from_numpy(random.uniform(size=len(images)) < self._wanted.mirrored)
            images = torch.where(is_mirrored[:, None, None, None], images.flip(3), images)
        return ImageBatch(
            images=2 * images.to(self.device, self.dtype) - 1,
            rows=torch.from_numpy(self.train_rows[picked]).to(self.device),
        )

    def state(self) -> dict[str, Any]:
        """What decides all batches to come."""
        return {
            "kind": self._wanted.kind,
            "sampler": self._sampler.state_dict(),
            "drawn": [[number, picked] for picked, number, _ in self._drawn],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state` was taken."""
        self.accompany(replace(self._wanted, kind=state["kind"]), 0)
        self._sampler.load_state_dict(state["sampler"])
        self._drawn.clear()
        for number, picked in state["drawn"]:
            self._put(picked, number)

    def _put(self, picked: Int[np.ndarray, " row"], number: int) -> None:
        rows = self.train_rows[picked] if self._wanted.kind == "images" else picked
        reading = None if self._reader is None else self._reader.submit(self._images, rows)
        self._drawn.append((picked, number, reading))

    def _images(self, rows: Int[np.ndarray, " row"]) -> Float[Tensor, "row 3 size size"]:
        """Pictures from 0 to 1."""
        if self._pixels is None:
            return torch.from_numpy(self.data.images(rows))
        held = self._pixels[np.searchsorted(self.train_rows, rows)]
        return torch.from_numpy(held).permute(0, 3, 1, 2).float() / 255

    def _hold_pixels(self) -> None:
        size = self.data.image_size
        if 3 * size * size * len(self.train_rows) <= self._memory_limit:
            self._pixels = self.data.pixels(self.train_rows)
        else:
            self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")

    def _load_latents(self) -> None:
        where = self.data.path or "The dataset"
        sequences = self.data.sequences_of(self.train_rows)
        alone = [rows for rows in sequences if len(rows) < 2]
        if alone:
            name = self.data.sequences[self.data.sequence[alone[0][0]]]
            raise DataError(
                f"{where}: the sequence {name!r} has one training picture ({len(alone)} such sequences); wanted at "
                "least two of each, for the mean of one tells nothing of what changes. Prepare the images without it."
            )
        if not sequences:
            raise DataError(
                f"{where} has no training sequences; stage two learns from several pictures of one take. Prepare a "
                "data set of clips (voxceleb), or set stage_two.method to none."
            )
        if self._reader is not None:
            self._reader.shutdown(wait=True, cancel_futures=True)
            self._reader = None
        rows = np.sort(np.concatenate(sequences))
        self._latents = self._latents_of(self.data, rows).to(self.device, self.dtype)
        self._sequences = [np.searchsorted(rows, own) for own in sequences]
        self._pixels = None

    def _latent_batch(self, picked: Int[np.ndarray, " sequence"], number: int) -> LatentBatch:
        assert self._latents is not None
        generator = torch.Generator().manual_seed(1_000_003 * self.config.seed + number)
        drawn = []
        for sequence in picked:
            own = self._sequences[sequence]
            frames = draw_frames(len(own), self._wanted.frames, generator, str(sequence))
            drawn.append(torch.from_numpy(own)[frames])
        rows = torch.stack(drawn).to(self.device)
        texture, shape = self._latents[:, rows]
        return LatentBatch(texture=texture, shape=shape)
