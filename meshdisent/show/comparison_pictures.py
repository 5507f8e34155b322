"""The pictures of a comparison: every model drawn alike, with one color bar for all, on scans chosen by their error."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from meshdisent.data.dataset import ScanDataset
from meshdisent.editing import neutralize
from meshdisent.evaluation.comparison import Comparison
from meshdisent.evaluation.neutral_estimates import NeutralEstimates
from meshdisent.evaluation.protocol import Evaluation
from meshdisent.metrics import vertex_distance
from meshdisent.morphable.contract import MorphableModel
from meshdisent.show import evaluation_pictures
from meshdisent.show.camera import Camera
from meshdisent.show.color_bar import color_bar, nice_ceiling
from meshdisent.show.evaluation_pictures import is_split, limits_of, reconstructed, spaced_by_error
from meshdisent.show.pictures import render
from meshdisent.show.sheets import letter_pixels, sheet

Picture = UInt8[np.ndarray, "height width 3"]
Models = Mapping[str, MorphableModel]
KINDS = ("best", "average", "worst")


def extremes(comparison: Comparison, models: Models, scans: ScanDataset) -> Picture:
    """The best, the middle and the worst reconstruction of each model (rows): the scan, and the distance on it."""
    shown, errors, rows = [], [], []
    for name, evaluation in comparison.evaluations.items():
        assert evaluation.avd is not None
        order = np.argsort(evaluation.avd, kind="stable")
        rows.append(evaluation.rows[order[[0, len(order) // 2, -1]]])
        shown.append(scans.vertices(rows[-1]))
        errors.append(vertex_distance(reconstructed(models[name], shown[-1]), shown[-1]))
    size, faces = evaluation_pictures.SIZE, scans.topology.faces
    limits = shared_limits(errors)
    camera = Camera.facing(np.concatenate(shown).reshape(-1, 3), size=size)
    drawn = [
        [
            picture
            for scan, error in zip(own, far, strict=True)
            for picture in (
                render(scan, faces, size=size, camera=camera),
                render(scan, faces, size=size, camera=camera, values=error, limits=limits),
            )
        ]
        for own, far in zip(shown, errors, strict=True)
    ]
    below = [
        [text for name, error in zip(scans.names(own), far, strict=True) for text in (name, f"{error.mean():.2f} mm")]
        for own, far in zip(rows, errors, strict=True)
    ]
    heads = [text for kind in KINDS for text in (kind, "distance")]
    return sheet(drawn, list(comparison.evaluations), heads, below=below, bar=_bar(limits, errors, len(heads)))


def mean_error_maps(comparison: Comparison, scans: ScanDataset) -> Picture:
    """The template colored by each model's mean error of each vertex: reconstructions, and neutrals where defined."""
    size = evaluation_pictures.SIZE
    template, faces = scans.topology.template, scans.topology.faces
    named = {name: (one.error_map, one.neutral_map) for name, one in comparison.evaluations.items()}
    columns = [k for k in (0, 1) if any(maps[k] is not None for maps in named.values())]
    every = [maps[k] for maps in named.values() for k in columns if maps[k] is not None]
    limits = shared_limits([error for error in every if error is not None])
    front = Camera.facing(template, size=size)
    cameras = (front, front.turned(50.0))

    def draw(error: np.ndarray | None, camera: Camera) -> Picture | None:
        return None if error is None else render(template, faces, size=size, camera=camera, values=error, limits=limits)

    rows = [[draw(maps[k], camera) for k in columns for camera in cameras] for maps in named.values()]
    below = [
        [text for k in columns for text in (_mean(maps[k]), "")] for maps in named.values()
    ]  # fmt: skip
    heads = [text for k in columns for text in (("reconstruction", "neutral")[k], "from the side")]
    bar = _bar(limits, [error for error in every if error is not None], len(heads))
    return sheet(rows, list(named), heads, below=below, bar=bar)


def neutrals(comparison: Comparison, models: Models, scans: ScanDataset, count: int = 5) -> Picture | None:
    """The same scans with the expression taken off by each model, colored by the distance to the true neutral.

    None where no neutral is known, or no model has two codes.
    """
    able = {name: one for name, one in comparison.evaluations.items() if one.neu is not None and is_split(models[name])}
    if not able:
        return None
    first: Evaluation = next(iter(able.values()))
    rows = first.rows[spaced_by_error(first, scans, count)]
    shown, truth = scans.vertices(rows), scans.neutrals()[0][scans.subject[rows]]
    found = {name: np.stack([mesh.vertices for mesh in neutralize(models[name], shown)]) for name in able}
    errors = {name: vertex_distance(own, truth) for name, own in found.items()}
    limits = shared_limits(list(errors.values()))
    size, faces = evaluation_pictures.SIZE, scans.topology.faces
    camera = Camera.facing(np.concatenate([shown, truth]).reshape(-1, 3), size=size)
    drawn = [[render(scan, faces, size=size, camera=camera) for scan in row] for row in (shown, truth)]
    labels, below = ["scan", "true neutral"], [[""] * len(rows)] * 2
    for name in able:
        drawn.append(
            [
                render(face, faces, size=size, camera=camera, values=error, limits=limits)
                for face, error in zip(found[name], errors[name], strict=True)
            ]
        )
        labels.append(name)
        below.append([_mean(error) for error in errors[name]])
    bar = _bar(limits, list(errors.values()), len(rows))
    return sheet(drawn, labels, scans.names(rows), below=below, bar=bar)


def neutral_estimate_maps(estimates: NeutralEstimates, scans: ScanDataset) -> Picture:
    """The template colored by the mean distance of each kind of estimated neutral to the truth."""
    size = evaluation_pictures.SIZE
    template, faces = scans.topology.template, scans.topology.faces
    maps = list(estimates.maps.values())
    limits = (0.0, nice_ceiling(float(np.percentile(np.concatenate(maps), 99))))
    front = Camera.facing(template, size=size)
    row = [render(template, faces, size=size, camera=front, values=error, limits=limits) for error in maps]
    below = [[_mean(error) for error in maps]]
    return sheet([row], column_labels=list(estimates.maps), below=below, bar=_bar(limits, maps, len(row)))


def shared_limits(errors: Sequence[np.ndarray]) -> tuple[float, float]:
    """Ends of a color bar for several models, mm: one that is far worse than the others must not wash them all out.

    The upper end is a round number that 99 % of all errors stay below, but at most about twice what is typical of the
    models; what is more takes the last color, and the bar says so.
    """
    typical = float(np.median([np.percentile(error, 99) for error in errors]))
    return 0.0, min(nice_ceiling(2 * typical), limits_of(list(errors))[1])


def _mean(error: np.ndarray | None) -> str:
    return "not defined" if error is None else f"mean {error.mean():.2f} mm"


def _bar(limits: tuple[float, float], errors: Sequence[np.ndarray], columns: int) -> Picture:
    width, height = evaluation_pictures.SIZE
    is_clipped = max(float(error.max()) for error in errors) > limits[1]
    return color_bar(limits, round(height * 0.8), pixels=letter_pixels(width, columns), is_clipped=is_clipped)
