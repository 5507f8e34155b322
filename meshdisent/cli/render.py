"""``meshdisent render --out images.h5``: faces of people who do not exist, with all that a photograph hides."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from meshdisent.errors import UsageError
from meshdisent.files import refuse_existing

if TYPE_CHECKING:
    from meshdisent.mesh.template_fit import LandmarkPairs
    from meshdisent.mesh.topology import Topology
    from meshdisent.render.people import People


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Render faces for training and tests: pictures with their true depth, normals, skin, light, view and labels.

    Of the built-in synthetic head, or of a model with named expressions such as wsdf-ict.

    For example: meshdisent render --out images.h5 --people 500 --sequences 4 --frames 8
    """

    out: Annotated[Path, tyro.conf.arg(metavar="IMAGES.H5")]
    """The file to write."""
    model: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """Whose people; the synthetic head's if not given."""
    landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Corresponding vertices of the synthetic head (4,000 vertices) and the model's template, as for `resample`; or
    named points on the model's template in mm. Not needed where the model's topology knows its own."""
    people: Annotated[int, tyro.conf.arg(metavar="N")] = 200
    """How many; 10 % of them for validation, 20 % for the test."""
    sequences: Annotated[int, tyro.conf.arg(metavar="N")] = 2
    """Of each person, with its own light and background."""
    frames: Annotated[int, tyro.conf.arg(metavar="N")] = 16
    """Of each sequence, with changing expression; 1 gives stills."""
    size: Annotated[int, tyro.conf.arg(metavar="PIXELS")] = 64
    """Of a side."""
    yaw: Annotated[float, tyro.conf.arg(metavar="DEGREES")] = 20.0
    """Spread of the turn about the vertical axis, cut off at twice that; the other angles are smaller."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Draws everything."""
    workers: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Processes; their number changes nothing but the time."""
    overwrite: bool = False
    """Replace the file if it exists."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent render", config=(tyro.conf.FlagCreatePairsOff,))
    refuse_existing(given.out, given.overwrite)
    if given.landmarks is not None and given.model is None:
        raise UsageError("--landmarks belong to the template of a --model; the synthetic head needs none.")
    from meshdisent.data.images.image_dataset import ImageDataset
    from meshdisent.data.workers import check_workers
    from meshdisent.render.faces import FaceConfig, write_faces

    check_workers(given.workers)
    config = FaceConfig(
        people=given.people,
        sequences=given.sequences,
        frames=given.frames,
        size=given.size,
        yaw=given.yaw,
        seed=given.seed,
    )
    write_faces(
        _people(given),
        given.out,
        config,
        workers=given.workers,
        overwrite=given.overwrite,
        progress=sys.stderr.isatty(),
    )
    found = ImageDataset.open(given.out).summary()
    splits = ", ".join(f"{count} {name}" for name, count in found["splits"].items() if count)
    print(f"{given.out}: {found['images']} pictures of {found['subjects']} people ({splits}), {given.size} pixels")
    print(f"next: meshdisent train latentface-rendered --data {shlex.quote(str(given.out))} --out run")
    return 0


def _people(given: Arguments) -> "People":
    from meshdisent.render.people import ModelPeople, SyntheticPeople

    if given.model is None:
        return SyntheticPeople()
    from meshdisent.morphable.model_file import load_morphable

    model = load_morphable(given.model)
    return ModelPeople(model, _pairs(given, model.topology))


def _pairs(given: Arguments, topology: "Topology") -> "LandmarkPairs | None":
    """Points of the synthetic head and the same on the model: from a table, a landmark file, or what is known."""
    from meshdisent.data.known_faces import find_landmarks
    from meshdisent.data.synthetic import SyntheticHead
    from meshdisent.mesh.landmark_sets import check_names, read_landmark_set
    from meshdisent.mesh.template_fit import LandmarkPairs, is_table_of_pairs, read_landmarks

    head = SyntheticHead(4000)
    if given.landmarks is not None and is_table_of_pairs(given.landmarks):
        return read_landmarks(given.landmarks, head.topology, topology)
    if given.landmarks is None:
        found = find_landmarks(topology, given.model)
    else:
        found = read_landmark_set(given.landmarks, topology)
        check_names(found.names, head.landmarks.names, str(given.landmarks))
    if found is None or found.source.startswith("synthetic head"):
        return None  # the head itself needs none, and a template that lies on it does neither
    return LandmarkPairs.named(head.landmarks.points(head.topology.template), found.points(topology.template))
