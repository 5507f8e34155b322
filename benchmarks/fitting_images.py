"""How near the true mesh is a face that was fitted to its picture? Unseen people of ICT-300, rendered with truth.

    python benchmarks/fitting_images.py faces.h5 fitting-images.json [--model wsdf-ict] [--images 20]

Pictures of 256 x 256 pixels and 12 degrees, as `meshdisent render` draws them: random light, pose, background, and
colors of paint that nobody else has. The colors come from the same paint as the prior of the fit, which those of a
photograph do not; "smooth" is the fit without that prior. Landmarks are nine (corners of eyes and lips, nose) with 1
pixel of noise; "51 landmarks" those of the 68 that are inside the face, which `meshdisent fit` takes where a file has
them. These heads are bald and their necks bare, so that the fit may look at all of them (`--bare head`); "bare face" is
the default of `meshdisent fit`, which does not.

vertex_mm: mean distance of the vertices of the fit from the true ones after the best similarity; mean_face_mm: of the
model's mean face. Rows are written as they come.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.known_faces import find_landmarks
from meshdisent.fitting.appearance import paint_of
from meshdisent.fitting.face_points import face_points
from meshdisent.fitting.image import ImageFitConfig, fit_images
from meshdisent.fitting.image_windows import Photo
from meshdisent.mesh.alignment import align
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.morphable.model_file import load_morphable
from meshdisent.render.camera import Camera
from meshdisent.render.faces import FaceConfig, _Take, lights
from meshdisent.render.fillings import Fillings
from meshdisent.render.heads import in_camera_frame, picture_heads
from meshdisent.render.view import View

SIZE, DEGREES, NOISE_PIXELS, PIVOT_MM = 256, 12.0, 1.0, (0.0, 10.0, 60.0)
WAYS = (
    "landmarks", "51 landmarks", "nothing", "landmarks, smooth", "landmarks, 3 images", "landmarks and mask",
    "landmarks, bare face", "51 landmarks, bare face", "nothing, bare face",
)  # fmt: skip


class Studio:
    """Takes pictures of scans of a dataset."""

    def __init__(self, data: ScanDataset, model: MorphableModel):
        self.data, self.paint, self.fillings = data, paint_of(model.topology), Fillings.of(model.topology)
        self.points = face_points(model.topology)
        known = find_landmarks(model.topology)
        self.known = {} if known is None else {k: v for k, v in known.rows.items() if not k.startswith("jaw")}

    def shoot(self, row: int, seed: int, way: str) -> tuple[Photo, np.ndarray]:
        """A picture of a scan, what is said about it, and its true vertices in mm."""
        random = np.random.default_rng([99, seed])
        take = _Take(_Nobody(), FaceConfig(people=1, sequences=1, frames=1, size=SIZE), random)
        scan = self.data.vertices(np.array([row])).astype(np.float64)
        albedo = self.paint.albedo(np.random.default_rng([123, int(self.data.subject[row])]))
        colors = torch.from_numpy(self.fillings.color(albedo, scan[0])).float()
        head = in_camera_frame(torch.from_numpy(self.fillings.fill(scan)).float(), PIVOT_MM)
        view, camera = View.of(torch.from_numpy(take.view).float()), Camera.of_field_of_view(SIZE, DEGREES)
        found = picture_heads(
            head, torch.from_numpy(self.fillings.faces), colors[None],
            lights(torch.from_numpy(take.light).float()), view, torch.from_numpy(np.array(take.background)).float(),
            camera,
        )  # fmt: skip
        places = camera.project(view.apply(head))[0].numpy()
        marks = {name: places[k] + NOISE_PIXELS * random.normal(size=2) for name, k in self.rows(way).items()}
        photo = Photo(
            pixels=(found.picture[0] * 255).round().byte().numpy(),
            landmarks=marks if "landmarks" in way else None,
            mask=found.mask[0].numpy() if "mask" in way else None,
            field_of_view=DEGREES,
        )
        return photo, scan[0]

    def rows(self, way: str) -> dict[str, int]:
        """Vertices of the landmarks."""
        return self.known if "51" in way else self.points


class _Nobody:
    """Expressions come from the scans."""

    expressions = ("neutral",)


def distance_mm(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of vertices after the best similarity."""
    moved = align(found, truth, with_scale=True).apply(found)
    return float(np.linalg.norm(moved - truth, axis=1).mean())


def measured(model: MorphableModel, studio: Studio, way: str, images: int) -> Iterator[dict[str, Any]]:
    """A row an image, or a subject where there are three images of each."""
    data = studio.data
    rows = data.rows("test")
    people = np.unique(data.subject[rows])
    prior = model.prior()
    with torch.no_grad():
        mean = model.decode(Codes(prior.identity_mean[None], prior.expression_mean[None]))[0].double().numpy()
    config = ImageFitConfig(
        albedo="smooth" if "smooth" in way else "painted", bare="face" if "bare face" in way else "head",
        same_subject="3" in way, largest_error=1, least_likeness=-1e9, least_with_landmarks=-1e9,
    )  # fmt: skip
    for k in range(images):
        own = rows[data.subject[rows] == people[k % len(people)]]
        chosen = np.random.default_rng([4, k]).permutation(own)[: 3 if "3" in way else 1]
        shots = [studio.shoot(row, 100 * k + j, way) for j, row in enumerate(chosen)]
        began = time.process_time()
        fits = fit_images(
            model, [photo for photo, _ in shots], config, landmark_rows=studio.rows(way) if "landmarks" in way else None
        )
        seconds = time.process_time() - began
        truth = shots[0][1]
        yield {
            "way": way, "k": k, "vertex_mm": round(distance_mm(fits[0].mesh.vertices, truth), 3),
            "mean_face_mm": round(distance_mm(mean, truth), 3), "likeness": round(fits[0].evidence.likeness, 3),
            "cpu_seconds": round(seconds, 2), "expression": data.expressions[data.expression[chosen[0]]],
        }  # fmt: skip


def main() -> None:
    """Measure every way and write rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="wsdf-ict")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=WAYS)
    given = parser.parse_args()
    model = load_morphable(given.model)
    studio = Studio(ScanDataset.open(given.faces), model)
    rows: list[dict[str, Any]] = []
    for way in given.ways:
        for row in measured(model, studio, way, given.images):
            rows.append(row)
            text = ",\n  ".join(json.dumps(row) for row in rows)
            given.out.write_text(
                f'{{\n "about": "benchmarks/fitting_images.py, {given.model}",\n "rows": [\n  {text}\n ]\n}}\n'
            )
        own = [row for row in rows if row["way"] == way]
        figures = {name: np.array([row[name] for row in own]) for name in ("vertex_mm", "mean_face_mm", "cpu_seconds")}
        print(way, {name: f"mean {v.mean():.2f} median {np.median(v):.2f}" for name, v in figures.items()}, flush=True)


if __name__ == "__main__":
    main()
