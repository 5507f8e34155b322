"""The pictures of the front page: one strip of three faces for each thing that the library does."""

import numpy as np

from meshdisent import LinearModel, load
from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.data.synthetic import synthetic_dataset
from meshdisent.editing import express, interpolate, neutralize, sample, transfer
from meshdisent.mesh.registration import register
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.metrics import vertex_distance
from meshdisent.morphable.shape_prior import shape_prior
from meshdisent.render.faces import FaceConfig, write_faces
from meshdisent.render.people import SyntheticPeople
from meshdisent.show.camera import Camera
from meshdisent.show.pictures import render, write_png
from meshdisent.show.shading import CLAY

SIZE = (230, 290)
LOWEST_MM = -112.0  # a portrait ends at the neck

model = load("wsdf-ict")
people = [mesh.vertices for mesh in sample(model, 8, seed=21, expression="neutral")]
every = np.concatenate(people)
camera = Camera.facing(every[every[:, 1] > LOWEST_MM], size=SIZE, azimuth=15.0, margin=0.02)


def draw(vertices: np.ndarray, faces: np.ndarray | None = None, **look) -> np.ndarray:
    """One face, with the camera of all."""
    return render(vertices, model.topology.faces if faces is None else faces, size=SIZE, camera=camera, **look)


def strip(name: str, pictures: list[np.ndarray]) -> None:
    """Write three pictures side by side."""
    write_png(f"{name}.png", np.concatenate(pictures, axis=1))


def edits() -> None:
    """People, neutrals, transfers, walks and named expressions of wsdf-ict."""
    strip("people", [draw(mesh.vertices) for mesh in sample(model, 3, seed=5)])
    names = ["mouthSmile_L", "jawOpen", "browInnerUp_L", "cheekPuff_L"]
    shown = {name: express(model, people[0], [name])[0].vertices for name in names if name in model.named_expressions}
    strip("named", [draw(face) for face in list(shown.values())[:3]])
    smile = express(model, people[1], ["mouthSmile_L", "mouthSmile_R"])[0].vertices
    jaw = express(model, people[1], ["jawOpen"])[0].vertices
    rest = neutralize(model, jaw)[0].vertices
    strip("neutralize", [draw(smile, color=CLAY), draw(jaw, color=CLAY), draw(rest)])
    moved = transfer(model, people[2], jaw)[0].vertices
    strip("transfer", [draw(people[2], color=CLAY), draw(jaw, color=CLAY), draw(moved)])
    walk = interpolate(model, people[3], express(model, people[4], ["jawOpen"])[0], steps=3)
    strip("walk", [draw(mesh.vertices) for mesh in walk])


def registered() -> None:
    """A noisy scan, what registration makes of it, and its distance to the truth."""
    truth = express(model, people[5], ["mouthSmile_L", "mouthSmile_R"])[0].vertices
    noisy = truth + np.random.default_rng(0).normal(0, 0.7, truth.shape)
    faces = model.topology.faces
    kept = faces[(truth[faces, 2].min(axis=1) > np.percentile(truth[:, 2], 25))]
    found = register(model.topology, TargetSurface.of_mesh(noisy, kept), prior=shape_prior(model)).vertices
    error_mm = vertex_distance(found, truth)
    strip("register", [draw(noisy, kept, color=CLAY), draw(found), draw(found, values=error_mm, limits=(0.0, 4.0))])


def measured() -> None:
    """How far the neutrals of a linear model are from the truth, three people that it has not seen."""
    scans = synthetic_dataset(subjects=30, vertex_count=1200, seed=1)
    rows = [scans.scan(f"{scans.subjects[k]}/mouth_stretch") for k in (25, 27, 29)]
    truth = scans.truth[scans.subject[rows]]
    shown = scans.vertices(np.array(rows))
    made = [mesh.vertices for mesh in neutralize(LinearModel.fit(scans), shown, keep_detail=True)]
    view = Camera.facing(truth.reshape(-1, 3), size=SIZE, azimuth=15.0)
    pictures = [
        render(
            face, scans.topology.faces, size=SIZE, camera=view, values=vertex_distance(face, rest), limits=(0.0, 3.0)
        )
        for face, rest in zip(made, truth, strict=True)
    ]
    strip("measure", pictures)


def photograph() -> None:
    """A rendered face, its true depth and its true skin."""
    write_faces(SyntheticPeople(), "images.h5", FaceConfig(people=10, sequences=1, frames=1, size=SIZE[1], yaw=10.0))
    data, row = ImageDataset.open("images.h5"), np.array([3])
    depth, mask = data.truth("depth", row)[0], data.truth("mask", row)[0]
    low, high = depth[mask].min(), depth[mask].max()
    relief = np.where(mask, 255 * (high - depth) / (high - low), 255).astype(np.uint8)
    skin = np.where(mask[..., None], data.truth("albedo", row)[0], 255).astype(np.uint8)
    side = (SIZE[1] - SIZE[0]) // 2
    pictures = [data.pixels(row)[0], np.repeat(relief[..., None], 3, axis=2), skin]
    strip("photograph", [picture[:, side : side + SIZE[0]] for picture in pictures])
