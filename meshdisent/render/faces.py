"""Rendered faces: pictures of people who do not exist, with everything that a photograph hides.

Stills or sequences of one person with changing expression; random light, pose, colors and background; the true depth,
normals, albedo, light, view, person and expression are kept. Each person is drawn from the seed and their own number,
so neither the count of people nor the number of processes changes anybody.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm

from meshdisent.data.images.image_labels import ImageLabels
from meshdisent.data.images.image_writer import ImageWriter
from meshdisent.data.workers import map_in_order
from meshdisent.errors import UsageError
from meshdisent.render.camera import Camera
from meshdisent.render.fillings import Fillings
from meshdisent.render.heads import in_camera_frame, picture_heads
from meshdisent.render.people import People
from meshdisent.render.shading import Light
from meshdisent.render.view import View

#: An expression whose amount is at least this names a picture; at most half of it everywhere is "neutral".
_NAMED = 0.6


@dataclass(frozen=True, kw_only=True)
class FaceConfig:
    """How many faces are rendered, and how.

    Attributes
    ----------
    people : How many; ``val_share`` and ``test_share`` of them are held out, the last ones.
    sequences, frames : Of each person. One frame a sequence gives stills.
    size : Pixels a side. samples : Along each side of a pixel.
    yaw, pitch, roll : Spread of the pose in degrees (standard deviation, cut off at twice that).
    sway : How far a head moves within a sequence, as a part of these.
    move : Spread of the position, meters one meter away.
    """

    people: int = 200
    sequences: int = 2
    frames: int = 16
    size: int = 64
    samples: int = 2
    yaw: float = 20.0
    pitch: float = 8.0
    roll: float = 6.0
    sway: float = 0.4
    move: float = 0.006
    val_share: float = 0.1
    test_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("people", "sequences", "frames", "samples"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; wanted at least 1.")
        if self.size < 8:
            raise UsageError(f"size is {self.size} pixels; wanted at least 8, such as 64.")
        for name in ("yaw", "pitch", "roll", "sway", "move", "val_share", "test_share", "seed"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; wanted at least 0.")
        if self.val_share + self.test_share > 1:
            raise UsageError(f"val_share {self.val_share} and test_share {self.test_share} are more than 1 together.")

    def splits(self) -> list[str]:
        """Split of each person."""
        val, test = round(self.people * self.val_share), round(self.people * self.test_share)
        return ["train"] * (self.people - val - test) + ["val"] * val + ["test"] * test


@dataclass(frozen=True, eq=False, kw_only=True)
class Shots:
    """The pictures of one person, in the arrays of an ``images.h5``; names of expressions, None where between two."""

    pixels: np.ndarray
    truth: dict[str, np.ndarray]
    expressions: list[str | None]
    sequences: list[int]
    frames: list[int]


def write_faces(
    people: People,
    out: str | os.PathLike,
    config: FaceConfig,
    *,
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Render people into an ``images.h5``; the file appears whole or not at all.

    Parameters
    ----------
    people : Who; with several workers it is copied to each process.
    workers : Processes; their number changes nothing but the time.

    Raises
    ------
    UsageError : If the file exists and ``overwrite`` is false.
    """
    truth = ("depth", "normal", "albedo", "mask", "light", "view")
    attributes = {"rendered": type(people).__name__} | {k: v for k, v in asdict(config).items() if k != "size"}
    subjects: list[str] = []
    expressions: list[str | None] = []
    sequences: list[str] = []
    frames: list[int] = []
    with ImageWriter(out, config.size, truth=truth, attributes=attributes, overwrite=overwrite) as writer:
        bar = tqdm(total=config.people, desc="render", unit=" people", disable=not progress)
        for number, shots in enumerate(_everyone(people, config, workers)):
            writer.append(shots.pixels, shots.truth)
            name = f"person{number:05d}"
            subjects += [name] * len(shots.pixels)
            expressions += shots.expressions
            sequences += [f"{name}/{sequence}" for sequence in shots.sequences]
            frames += shots.frames
            bar.update()
        bar.close()
        splits = [split for split in config.splits() for _ in range(config.sequences * config.frames)]
        labels = ImageLabels.from_names(
            subjects,
            expressions=expressions,
            sequences=sequences,
            frames=frames,
            splits=splits,
            expression_table=people.expressions,
        )
        writer.finish(labels)
    return Path(out)


def _everyone(people: People, config: FaceConfig, workers: int) -> Iterator[Shots]:
    yield from map_in_order(partial(shoot, people, config), range(config.people), workers)


def shoot(people: People, config: FaceConfig, number: int) -> Shots:
    """Render all pictures of one person."""
    random = np.random.default_rng([config.seed, number])
    actor, albedo = people.actor(random), people.paint.albedo(random)
    takes = [_Take(people, config, random) for _ in range(config.sequences)]
    amounts = [frame for take in takes for frame in take.amounts]
    fillings = Fillings.of(people.topology)
    heads_mm = fillings.fill(np.stack([actor(frame) for frame in amounts]))
    heads = in_camera_frame(torch.from_numpy(heads_mm).float())
    colors = fillings.color(albedo, actor({}))
    view = np.concatenate([take.view for take in takes])
    light = np.concatenate([take.light for take in takes])
    behind = np.concatenate([take.background for take in takes])
    found = picture_heads(
        heads,
        torch.from_numpy(fillings.faces),
        torch.from_numpy(colors).float().expand_as(heads),
        lights(torch.from_numpy(light).float()),
        View.of(torch.from_numpy(view).float()),
        torch.from_numpy(behind).float(),
        Camera.of_field_of_view(config.size),
        config.samples,
    )
    return Shots(
        pixels=_bytes(found.picture),
        truth={
            "depth": found.depth.numpy(),
            "normal": found.normals.numpy(),
            "albedo": _bytes(found.albedo),
            "mask": found.mask.numpy(),
            "light": light.astype(np.float32),
            "view": view.astype(np.float32),
        },
        expressions=[_named(frame) for frame in amounts],
        sequences=[sequence for sequence in range(config.sequences) for _ in range(config.frames)],
        frames=list(range(config.frames)) * config.sequences,
    )


def lights(numbers: Float[torch.Tensor, "batch 4"]) -> Light:
    """Light of (ambient, diffuse, dx, dy): strengths, and a direction (dx, dy, 1) in the frame of the frontal head."""
    direction = torch.cat([numbers[:, 2:], torch.ones_like(numbers[:, :1])], 1)
    return Light(
        ambient=numbers[:, 0], diffuse=numbers[:, 1], direction=torch.nn.functional.normalize(direction, dim=1)
    )


class _Take:
    """One sequence: what happens in it, drawn from a generator.

    Attributes
    ----------
    amounts : Of expressions in each frame.
    view, light, background : (F, 6) radians and meters, (F, 4), (F, S, S, 3). Light and background do not change.
    """

    def __init__(self, people: People, config: FaceConfig, random: np.random.Generator):
        count = config.frames
        self.amounts = _performance(people.expressions, count, random)
        spread = np.concatenate([np.deg2rad([config.pitch, config.yaw, config.roll]), [config.move] * 2, [0.0]])
        middle = np.clip(random.standard_normal(6), -2, 2)
        sway = config.sway * _smooth_walk(count, 6, random)
        self.view = np.clip(middle + sway, -2, 2) * spread
        light = [random.uniform(0.25, 0.6), random.uniform(0.3, 0.7), *random.uniform(-0.9, 0.9, 2)]
        self.light = np.tile(light, (count, 1))
        self.background = np.broadcast_to(_background(config.size, random), (count, config.size, config.size, 3))


def _performance(expressions: tuple[str, ...], count: int, random: np.random.Generator) -> list[dict[str, float]]:
    """Amounts in each frame: expressions one after the other, each rising and falling; a still shows one of them."""
    if count == 1:
        name = expressions[random.integers(len(expressions))]
        return [{} if name == expressions[0] else {name: random.uniform(0.75, 1.1)}]
    lasts = 8  # frames from one expression to the next
    stops = [random.integers(len(expressions)) for _ in range(count // lasts + 3)]
    strengths = random.uniform(0.75, 1.1, len(stops))
    start = random.uniform(0, lasts)
    frames = []
    for at in (start + np.arange(count)) / lasts:
        before, along = int(at), at - int(at)
        share = np.clip(2 * along - 0.5, 0, 1)  # it holds, then changes
        share = share * share * (3 - 2 * share)
        amounts: dict[str, float] = {}
        for stop, part in ((before, 1 - share), (before + 1, share)):
            name = expressions[stops[stop]]
            if name != expressions[0] and part > 0:
                amounts[name] = amounts.get(name, 0.0) + float(part * strengths[stop])
        frames.append(amounts)
    return frames


def _named(amounts: dict[str, float]) -> str | None:
    """The expression that a picture shows; None where it shows none clearly."""
    largest = max(amounts.values(), default=0.0)
    if largest >= _NAMED:
        return max(amounts, key=lambda name: amounts[name])
    return "neutral" if largest <= _NAMED / 2 else None


def _smooth_walk(count: int, size: int, random: np.random.Generator) -> Float[np.ndarray, "frame size"]:
    """Slow oscillations of about unit size."""
    time = np.arange(count)[:, None]
    waves = [np.sin(time / random.uniform(3, 8, size) + random.uniform(0, 2 * np.pi, size)) for _ in range(2)]
    return waves[0] + waves[1]


def _background(size: int, random: np.random.Generator) -> Float[np.ndarray, "size size 3"]:
    """A blurred room: a gradient and some soft blobs of color."""
    down, across = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    corners = random.uniform(0.0, 0.9, (2, 3))
    angle = random.uniform(0, 2 * np.pi)
    along = np.clip(0.5 + (across - 0.5) * np.cos(angle) + (down - 0.5) * np.sin(angle), 0, 1)
    room = corners[0] + along[..., None] * (corners[1] - corners[0])
    for _ in range(random.integers(0, 7)):
        x, y, width, height = random.uniform([0, 0, 0.05, 0.05], [1, 1, 0.5, 0.5])
        share = 1 / (1 + np.exp(12 * (np.maximum(np.abs(across - x) / width, np.abs(down - y) / height) - 1)))
        room = room + share[..., None] * random.uniform(0.2, 0.9) * (random.uniform(0, 1, 3) - room)
    gray = room.mean(-1, keepdims=True)
    return np.clip(gray + random.uniform(0.2, 0.8) * (room - gray), 0, 1)  # rooms are seldom of pure colors


def _bytes(colors: torch.Tensor) -> np.ndarray:
    return (colors * 255).round().clamp(0, 255).byte().numpy()
