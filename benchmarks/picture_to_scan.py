"""How near the true face is the scan that is made of one picture? People whom no model here has seen.

    python ../shared/protocol/ict_faces.py TEST --subjects 40 --seed 77 --vertices 9409
    python ../shared/protocol/ict_faces.py TRAIN --subjects 100 --seed 78 --vertices 9409
    python benchmarks/picture_to_scan.py TRAIN TEST [--model latentface-rendered] [--people 24] [--json FILE]

Each person is one picture of 64 x 64 pixels: an expression, light, view and background drawn at random, skin painted as
`meshdisent render` does. The model says the depth of the frontal face, and a topology is registered to it, as `image
--topology` does. "synthetic": people like those that the model was trained on, with another seed. "ICT": people of
TEST, whose faces the model knows nothing of; template and prior are made of TRAIN.

A picture does not tell how large or how far a face is, so the result is laid onto the truth by the best rotation and
translation (rigid), or by the best similarity, before the distances of vertices are taken: in mm, over the vertices
that the camera sees, which is where the motion is looked for, too. "mean face": the template, laid on in the same way.
"as it is": registered as if the depth had been measured, with no stretch of its relief and no error. "true depth":
registered from the depth of the same pixels in the same view.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from depth_to_scan import SHOWN, Case, directions, draw, train_people

from meshdisent.data.known_faces import need_landmarks
from meshdisent.data.synthetic import SyntheticHead
from meshdisent.errors import DataError
from meshdisent.latentface.face_views import look
from meshdisent.latentface.latentface import LatentFace, load_latentface
from meshdisent.latentface.to_scan import GUESS_MM, face_ellipse, guessed_scan, to_scan
from meshdisent.mesh.alignment import align
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.plane_fit import ShapePrior
from meshdisent.mesh.resampling import resampling_map
from meshdisent.mesh.template_fit import LandmarkPairs
from meshdisent.mesh.topology import Topology
from meshdisent.render.camera import Camera
from meshdisent.render.faces import FaceConfig, shoot
from meshdisent.render.paint import FacePaint
from meshdisent.render.people import Actor, People, SyntheticPeople

WAYS = (
    "mean face",
    "predicted depth",
    "predicted depth, prior",
    "predicted depth as it is, prior",
    "true depth, prior",
)
SEED = 1009
SYNTHETIC_TRAIN, FACES_OF_EACH = 100, 10


class Seen(NamedTuple):
    """One picture, (S, S, 3) uint8, and the truth behind it."""

    picture: np.ndarray
    case: Case


class FilePeople:
    """Faces that lie in files; the person who acts is the one whose folder this is."""

    def __init__(self, folder: Path, topology: Topology, paint: FacePaint):
        self.topology, self.paint, self.expressions = topology, paint, SHOWN
        self.faces = {name: Mesh.read(folder / f"{name}.ply").vertices for name in SHOWN}

    def actor(self, random: np.random.Generator) -> Actor:
        """The person of the folder; expressions are as strong as asked for."""
        rest = self.faces["neutral"]
        return lambda amounts: rest + sum((a * (self.faces[n] - rest) for n, a in amounts.items()), np.zeros(3))


class Remembering:
    """People whose faces are kept as they are made."""

    def __init__(self, people: People):
        self.topology, self.expressions, self.paint = people.topology, people.expressions, people.paint
        self.people, self.made = people, list[np.ndarray]()

    def actor(self, random: np.random.Generator) -> Actor:
        """The same person."""
        act = self.people.actor(random)

        def remembered(amounts: Mapping[str, float]) -> np.ndarray:
            self.made.append(act(amounts))
            return self.made[-1]

        return remembered


def one_picture(people: People, number: int, size: int) -> Seen:
    """A still of a person, and what it shows."""
    remembering = Remembering(people)
    config = FaceConfig(people=1, sequences=1, frames=1, size=size, seed=SEED)
    shots = shoot(remembering, config, number)
    view, camera = shots.truth["view"][0], Camera.of_field_of_view(size)
    return Seen(shots.pixels[0], draw(remembering.made[0], people.topology.faces, view, camera))


def synthetic(count: int, size: int) -> tuple[Topology, ShapePrior, Iterator[Seen]]:
    """People of the synthetic head, and the directions of a hundred others."""
    people = SyntheticPeople()
    random = np.random.default_rng(SEED + 1)
    scans = []
    for _ in range(SYNTHETIC_TRAIN):
        act = people.actor(random)
        names = random.choice(people.expressions, FACES_OF_EACH, replace=False)
        scans += [act({name: 1.0}) if name != "neutral" else act({}) for name in names]
    return people.topology, directions(np.stack(scans)), (one_picture(people, k, size) for k in range(count))


def ict(train: Path, test: Path, count: int, size: int) -> tuple[Topology, ShapePrior, Iterator[Seen]]:
    """People of ICT-FaceKit; paint is carried over from the synthetic head through the landmarks of both."""
    topology, prior = train_people(train)
    head = SyntheticHead(4000)
    # Landmarks of the published template, whose vertices these are; the mean of people is not recognized by its shape.
    found = need_landmarks(Topology(Mesh.read(next(train.glob("*/neutral.ply"))).vertices, topology.faces))
    pairs = LandmarkPairs.named(head.landmarks.points(head.topology.template), found.points(topology.template))
    carried = resampling_map(head.topology, topology, landmarks=pairs, tolerance_mm=1000.0)
    paint = FacePaint.of_synthetic_head(4000).carried(carried.matrix)
    folders = sorted(path for path in test.iterdir() if path.is_dir())[:count]
    seen = (one_picture(FilePeople(folder, topology, paint), k, size) for k, folder in enumerate(folders))
    return topology, prior, seen


def found_vertices(
    way: str, seen: Seen, model: LatentFace, noise_mm: float, topology: Topology, prior: ShapePrior
) -> np.ndarray:
    """The face that a way finds, in any frame of mm."""
    if way == "mean face":
        return topology.template
    known: dict[str, Any] = {"prior": prior} if way.endswith("prior") else {}
    if way.startswith("true depth"):
        return to_scan(seen.case.depth, topology, Camera.of_field_of_view(len(seen.picture)), **known).vertices
    scene, size = model.config.scene, model.image_size
    image = torch.tensor(seen.picture).permute(2, 0, 1)[None].to(model.like) / 255
    depth = look(model, image).depth[0].double().cpu().numpy()
    mask = face_ellipse(size)
    if "as it is" in way:
        return to_scan(depth, topology, scene.camera(size), mask, unit_mm=scene.unit_mm, **known).vertices
    known |= {"noise_mm": noise_mm, "unit_mm": scene.unit_mm}
    return guessed_scan(depth, topology, scene.camera(size), mask, **known).registration.vertices


def distance(vertices: np.ndarray, case: Case, with_scale: bool) -> float:
    """Mean distance of the vertices that the camera sees, once they lie on the truth as well as they can."""
    visible = np.flatnonzero(case.is_visible)
    motion = align(vertices, case.truth, with_scale, stable=visible)
    return float(np.linalg.norm(motion.apply(vertices[visible]) - case.truth[visible], axis=1).mean())


def rows_of(
    who: str, model: LatentFace, noise_mm: float, made: tuple[Topology, ShapePrior, Iterator[Seen]]
) -> list[dict[str, Any]]:
    """One row a way; pictures whose registration was refused are counted and left out."""
    topology, prior, pictures = made
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    count = 0
    for count, seen in enumerate(pictures, 1):
        for way in WAYS:
            try:
                vertices = found_vertices(way, seen, model, noise_mm, topology, prior)
            except DataError as error:
                print(f"{who} {count}, {way}: {error}", file=sys.stderr)
                continue
            found[way].append((distance(vertices, seen.case, False), distance(vertices, seen.case, True)))
            print(f"{who} {count}, {way}: {found[way][-1][1]:.2f} mm", file=sys.stderr, flush=True)
    rows = []
    for way, both in found.items():
        rigid, similar = np.array(both or [(np.nan, np.nan)]).T
        figures = {"rigid_mm": rigid.mean(), "similarity_mm": similar.mean(), "worst_mm": similar.max()}
        figures = {name: round(float(value), 3) for name, value in figures.items()}
        rows.append({"people": who, "way": way, "pictures": count, "refused": count - len(both), **figures})
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, metavar="TRAIN")
    parser.add_argument("test", type=Path, metavar="TEST")
    parser.add_argument("--model", default="latentface-rendered")
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--noise", type=float, default=GUESS_MM, metavar="MM", help="error of a guessed depth")
    parser.add_argument("--only", choices=("synthetic", "ICT"))
    parser.add_argument("--json", type=Path, help="write the rows there, beside those of other people")
    chosen = parser.parse_args()
    model = load_latentface(chosen.model)
    size, rows = model.image_size, []
    if chosen.only != "ICT":
        rows += rows_of("synthetic", model, chosen.noise, synthetic(chosen.people, size))
    if chosen.only != "synthetic":
        rows += rows_of("ICT", model, chosen.noise, ict(chosen.train, chosen.test, chosen.people, size))
    print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    if chosen.json:
        here = {row["people"] for row in rows}
        kept = json.loads(chosen.json.read_text())["rows"] if chosen.json.exists() else []
        kept = [row for row in kept if row["people"] not in here]
        record = {"about": "benchmarks/picture_to_scan.py, means over pictures", "model": chosen.model}
        chosen.json.write_text(json.dumps({**record, "rows": kept + rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
