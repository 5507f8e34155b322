"""A training as a page: the figures, the curves, and what the model makes of data that it was not trained on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.latentface.latentface import LatentFace
from meshdisent.metrics import vertex_distance
from meshdisent.morphable.contract import MorphableModel
from meshdisent.show.camera import Camera
from meshdisent.show.color_bar import color_bar
from meshdisent.show.curves import training_curves
from meshdisent.show.evaluation_pictures import Picture, is_split, limits_of, reconstructed, samples
from meshdisent.show.html import Report
from meshdisent.show.pictures import render
from meshdisent.show.sheets import sheet

SIZE, SHOWN = (220, 260), 4


def training_report(
    model: Any, data: Any, rows: Sequence[Mapping[str, Any]], title: str, summary: Sequence[str]
) -> Report:
    """The page of a run.

    Parameters
    ----------
    model, data : What was trained, on what: scans or pictures.
    rows : Of the log; none where nothing had to be trained.
    summary : Lines below the heading.
    """
    card = model.card
    told = {"recipe": card.recipe.get("description") or model.name, "data hash": card.data_hash, **card.notes}
    report = Report(title, summary=summary, reproduction=told)
    if rows:
        section = report.section(
            "How it went", "Means of each term between two validations, and the validation figures."
        )
        section.picture(training_curves(rows, title=""), alt="Curves of loss terms and validation figures over steps")
    if isinstance(model, MorphableModel) and isinstance(data, ScanDataset):
        _add_faces(report, model, data)
    if isinstance(model, LatentFace) and isinstance(data, ImageDataset):
        _add_photographs(report, model, data)
    return report


def _unseen(data: Any) -> tuple[np.ndarray, str]:
    """A few rows, evenly over the validation split, else over the training split, and what they are."""
    for split, words in (("val", "that it was not trained on"), ("train", "that it was trained on")):
        rows = data.rows(split)
        if len(rows):
            chosen = np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).round().astype(np.int64)
            return rows[chosen], words
    return np.empty(0, np.int64), ""


def _add_faces(report: Report, model: MorphableModel, scans: ScanDataset) -> None:
    rows, words = _unseen(scans)
    if len(rows):
        section = report.section("Scans and what the codes keep of them", f"{len(rows)} scans {words}.")
        section.picture(_scans(model, scans, rows), alt="Scans, their reconstructions, and the distance between them")
    if is_split(model):
        section = report.section("People who do not exist", "Codes drawn where those of the training scans are.")
        section.picture(samples(model), alt="Twelve random faces")


def _scans(model: MorphableModel, scans: ScanDataset, rows: np.ndarray) -> Picture:
    """Scan, reconstruction, and its distance to the scan, one scan a row."""
    shown = scans.vertices(rows)
    found = reconstructed(model, shown)
    errors = vertex_distance(found, shown)
    limits = limits_of([errors])
    faces, camera = scans.topology.faces, Camera.facing(shown.reshape(-1, 3), size=SIZE)
    drawn = [
        [
            render(scan, faces, size=SIZE, camera=camera),
            render(face, faces, size=SIZE, camera=camera),
            render(scan, faces, size=SIZE, camera=camera, values=error, limits=limits),
        ]
        for scan, face, error in zip(shown, found, errors, strict=True)
    ]
    labels = [f"{name}\n{error.mean():.2f} mm" for name, error in zip(scans.names(rows), errors, strict=True)]
    is_clipped = float(errors.max()) > limits[1]
    return sheet(
        drawn, labels, ["scan", "reconstruction", "distance"], bar=color_bar(limits, SIZE[1], is_clipped=is_clipped)
    )


def _add_photographs(report: Report, model: LatentFace, images: ImageDataset) -> None:
    rows, words = _unseen(images)
    if len(rows):
        section = report.section("Pictures and what it sees in them", f"{len(rows)} pictures {words}.")
        section.picture(explained(model, images, rows), alt="Pictures taken apart into skin, depth and view")


def explained(model: LatentFace, images: ImageDataset, rows: np.ndarray) -> Picture:
    """Pictures and what a model sees in them, one a row; beside its depth the true one where it is known.

    Depth is gray: near is white; black is as far as the model can say, and where nothing is.
    """
    import torch

    from meshdisent.latentface.face_views import look

    pictures = torch.from_numpy(images.images(rows)).to(model.like)
    seen = look(model, pictures)
    nearest, farthest = model.config.scene.nearest, model.config.scene.farthest

    def gray(depth: Any) -> Any:
        return ((farthest - depth) / (farthest - nearest)).clamp(0, 1)[:, None].expand(-1, 3, -1, -1)

    columns = {"picture": pictures, "rebuilt": seen.rebuilt, "skin": seen.albedo, "from the front": seen.frontal}
    if seen.identity is not None:
        columns["the person"] = seen.identity
    columns["depth, front"] = gray(seen.depth)
    if "depth" in images.truth_names:
        columns["depth, view"] = gray(seen.view_depth)
        true = torch.from_numpy(images.truth("depth", rows)).to(seen.depth)
        columns["true depth"] = gray(torch.where(true > 0, true, farthest))  # 0 where nothing is
    drawn = [[_enlarged(values[k]) for values in columns.values()] for k in range(len(rows))]
    return sheet(drawn, column_labels=list(columns))


def _enlarged(picture: Any) -> np.ndarray:
    """(3, S, S) from 0 to 1 as a picture of three times the size."""
    pixels = (255 * picture.clamp(0, 1)).round().byte().permute(1, 2, 0).cpu().numpy()
    return np.repeat(np.repeat(pixels, 3, axis=0), 3, axis=1)
