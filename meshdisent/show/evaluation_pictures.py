"""The pictures of an evaluation: error maps in mm, neutrals, transfers, a walk between faces, samples.

Scans are chosen by their error, not by hand, so the pictures are as good and as bad as the model.
"""

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from meshdisent.data.dataset import ScanDataset
from meshdisent.editing import interpolate, neutralize, sample, transfer
from meshdisent.evaluation.protocol import Evaluation
from meshdisent.metrics import vertex_distance
from meshdisent.morphable.contract import MorphableModel
from meshdisent.show.camera import Camera
from meshdisent.show.color_bar import color_bar, nice_ceiling
from meshdisent.show.pictures import render
from meshdisent.show.sheets import letter_pixels, sheet

SIZE = (280, 340)
Picture = UInt8[np.ndarray, "height width 3"]


def error_maps(evaluation: Evaluation, scans: ScanDataset) -> Picture | None:
    """The template colored by the mean error of each vertex, from the front and the side; None without any error."""
    named = {"reconstruction": evaluation.error_map, "neutral": evaluation.neutral_map}
    maps = {name: error for name, error in named.items() if error is not None}
    if not maps:
        return None
    template, faces = scans.topology.template, scans.topology.faces
    limits = (0.0, nice_ceiling(max(float(error.max()) for error in maps.values())))
    front = Camera.facing(template, size=SIZE)
    rows = [
        [
            render(template, faces, size=SIZE, camera=front.turned(angle), values=error, limits=limits)
            for error in maps.values()
            for angle in (0.0, 50.0)
        ]
    ]
    labels = [
        label for name, error in maps.items() for label in (f"{name}, mean {error.mean():.2f} mm", "from the side")
    ]
    return sheet(rows, column_labels=labels, bar=_bar(limits, list(maps.values()), len(rows[0])))


def reconstructions(evaluation: Evaluation, model: MorphableModel, scans: ScanDataset) -> Picture:
    """The best, the middle and the worst reconstruction: scan, reconstruction, distance."""
    assert evaluation.avd is not None
    order = np.argsort(evaluation.avd, kind="stable")
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    rows = evaluation.rows[list(chosen.values())]
    shown = scans.vertices(rows)
    decoded = reconstructed(model, shown)
    errors = vertex_distance(decoded, shown)
    limits = limits_of([errors])
    camera = Camera.facing(shown.reshape(-1, 3), size=SIZE)
    faces = scans.topology.faces
    drawn = [
        [
            render(scan, faces, size=SIZE, camera=camera),
            render(found, faces, size=SIZE, camera=camera),
            render(scan, faces, size=SIZE, camera=camera, values=error, limits=limits),
        ]
        for scan, found, error in zip(shown, decoded, errors, strict=True)
    ]
    labels = [
        f"{kind}\n{name}\n{error.mean():.2f} mm"
        for kind, name, error in zip(chosen, scans.names(rows), errors, strict=True)
    ]
    return sheet(drawn, labels, ["scan", "reconstruction", "distance"], bar=_bar(limits, [errors], 3))


def neutrals(evaluation: Evaluation, model: MorphableModel, scans: ScanDataset, count: int = 6) -> Picture | None:
    """Scans of different people, from the best neutral to the worst; None where neutrals are unknown."""
    if evaluation.neu is None or not is_split(model):
        return None
    rows = evaluation.rows[spaced_by_error(evaluation, scans, count)]
    truth = scans.neutrals()[0][scans.subject[rows]]
    shown = scans.vertices(rows)
    found = np.stack([mesh.vertices for mesh in neutralize(model, shown)])
    errors = vertex_distance(found, truth)
    limits = limits_of([errors])
    camera = Camera.facing(np.concatenate([shown, truth]).reshape(-1, 3), size=SIZE)
    faces = scans.topology.faces
    drawn = [[render(scan, faces, size=SIZE, camera=camera) for scan in row] for row in (shown, found, truth)]
    drawn.append(
        [
            render(scan, faces, size=SIZE, camera=camera, values=error, limits=limits)
            for scan, error in zip(truth, errors, strict=True)
        ]
    )
    return sheet(
        drawn,
        ["scan", "the model's neutral", "true neutral", "distance"],
        scans.names(rows),
        below=[*[[""] * len(rows)] * 3, [f"mean {error.mean():.2f} mm" for error in errors]],
        bar=_bar(limits, [errors], len(rows)),
    )


def transfers(
    evaluation: Evaluation, model: MorphableModel, scans: ScanDataset, people: int = 4, expressions: int = 5
) -> Picture | None:
    """People (rows) with the expressions of others (columns); None with fewer than two people or one code."""
    chosen = _cast(evaluation, scans, people, expressions) if is_split(model) else None
    if chosen is None:
        return None
    who, what = chosen
    subjects, shown = scans.vertices(who), scans.vertices(what)
    made = [[mesh.vertices for mesh in transfer(model, subject, shown)] for subject in subjects]
    camera = Camera.facing(np.concatenate([subjects, shown]).reshape(-1, 3), size=SIZE)
    faces = scans.topology.faces
    rows = [[None, *(render(scan, faces, size=SIZE, camera=camera, color=GIVEN) for scan in shown)]]
    for subject, row in zip(subjects, made, strict=True):
        rows.append(
            [
                render(subject, faces, size=SIZE, camera=camera, color=GIVEN),
                *(render(scan, faces, size=SIZE, camera=camera) for scan in row),
            ]
        )
    return sheet(rows, column_labels=["", *scans.names(what)], row_labels=["", *scans.names(who)])


#: Color of scans that were given, beside faces that were made.
GIVEN = (0.76, 0.80, 0.84)


def interpolation(evaluation: Evaluation, model: MorphableModel, scans: ScanDataset, steps: int = 13) -> list[Picture]:
    """Frames of a walk between two people: both codes, only the identity, only the expression side by side."""
    chosen = _cast(evaluation, scans, 2, 2) if is_split(model) else None
    if chosen is None:
        return []
    first, second = (
        scans.vertices(chosen[1][:2]) if len(chosen[1]) > 1 else scans.vertices(np.array([chosen[0][0], chosen[1][0]]))
    )
    walks = [interpolate(model, first, second, steps, only) for only in ("both", "identity", "expression")]
    every = np.concatenate([mesh.vertices for walk in walks for mesh in walk])
    camera = Camera.facing(every, size=SIZE)
    faces = scans.topology.faces
    return [
        sheet(
            [[render(walk[k].vertices, faces, size=SIZE, camera=camera) for walk in walks]],
            column_labels=["both", "identity only", "expression only"],
        )
        for k in range(steps)
    ]


def samples(model: MorphableModel, rows: int = 2, columns: int = 6) -> Picture:
    """Faces drawn at random."""
    made = [mesh.vertices for mesh in sample(model, rows * columns, seed=0)]
    camera = Camera.facing(np.concatenate(made), size=SIZE)
    drawn = [render(scan, model.topology.faces, size=SIZE, camera=camera) for scan in made]
    return sheet([drawn[k * columns : (k + 1) * columns] for k in range(rows)])


def is_split(model: MorphableModel) -> bool:
    """Whether the model has two codes."""
    return model.identity_size > 0 and model.expression_size > 0


@torch.no_grad()
def reconstructed(
    model: MorphableModel, scans: Float[np.ndarray, "scan vertex 3"]
) -> Float[np.ndarray, "scan vertex 3"]:
    """What the codes keep of scans, mm."""
    shown = torch.from_numpy(scans).to(model.identity_mean)
    return model.decode(model.encode(shown)).float().cpu().numpy()


def limits_of(errors: list[np.ndarray]) -> tuple[float, float]:
    """Ends of a color bar: 0 and a round number that 99 % of all errors stay below, mm."""
    every = np.concatenate([np.ravel(error) for error in errors])
    return 0.0, nice_ceiling(float(np.percentile(every, 99)))


def _bar(limits: tuple[float, float], errors: list[np.ndarray], columns: int) -> Picture:
    is_clipped = max(float(error.max()) for error in errors) > limits[1]
    return color_bar(limits, round(SIZE[1] * 0.8), pixels=letter_pixels(SIZE[0], columns), is_clipped=is_clipped)


def spaced_by_error(evaluation: Evaluation, scans: ScanDataset, count: int) -> Int[np.ndarray, " chosen"]:
    """Places in ``evaluation.rows`` from the least E_neu to the largest, each of another subject where possible."""
    assert evaluation.neu is not None
    neutral_rows = scans.neutral_row[scans.subject[evaluation.rows]]
    usable = np.flatnonzero(np.isfinite(evaluation.neu) & (evaluation.rows != neutral_rows))
    if len(usable) == 0:
        usable = np.flatnonzero(np.isfinite(evaluation.neu))
    order = usable[np.argsort(evaluation.neu[usable], kind="stable")]
    wanted = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(np.int64)
    chosen: list[int] = []
    taken: set[int] = set()
    for place in wanted:
        near = sorted(range(len(order)), key=lambda k: abs(k - place))
        fresh = [k for k in near if int(scans.subject[evaluation.rows[order[k]]]) not in taken]
        pick = order[(fresh or near)[0]]
        taken.add(int(scans.subject[evaluation.rows[pick]]))
        chosen.append(int(pick))
    return np.array(chosen)


def _cast(
    evaluation: Evaluation, scans: ScanDataset, people: int, expressions: int
) -> tuple[Int[np.ndarray, " person"], Int[np.ndarray, " other"]] | None:
    """Rows that give people and rows that give expressions, of different subjects; None if there are not two."""
    rows = evaluation.rows
    subjects = np.unique(scans.subject[rows])
    if len(subjects) < 2:
        return None
    spaced = subjects[
        np.linspace(0, len(subjects) - 1, min(people + expressions, len(subjects))).round().astype(np.int64)
    ]
    split = min(people, len(spaced) - 1)
    own, others = spaced[:split], spaced[split:][:expressions]
    who = [
        int(scans.neutral_row[s]) if scans.neutral_row[s] in rows else int(rows[scans.subject[rows] == s][0])
        for s in own
    ]
    return np.array(who), np.array(_expressive(evaluation, scans, others, expressions))


def _expressive(evaluation: Evaluation, scans: ScanDataset, subjects: np.ndarray, count: int) -> list[int]:
    """Rows with different expressions, those that move a face most first; taken from the subjects in turn."""
    found: list[int] = []
    used: set[int] = set()
    template = scans.topology.template
    for turn in range(count):
        subject = subjects[turn % len(subjects)]
        own = evaluation.rows[scans.subject[evaluation.rows] == subject]
        own = np.array(
            [
                row
                for row in own
                if int(scans.expression[row]) not in used and row not in found and row != scans.neutral_row[subject]
            ]
        )
        if len(own) == 0:
            continue
        shown = scans.vertices(own)
        rest = scans.vertices(np.array([scans.neutral_row[subject]])) if scans.neutral_row[subject] >= 0 else template
        moved = vertex_distance(shown, np.broadcast_to(rest, shown.shape)).mean(axis=1)
        pick = int(own[moved.argmax()])
        found.append(pick)
        if scans.expression[pick] >= 0:
            used.add(int(scans.expression[pick]))
    return found or [int(evaluation.rows[scans.subject[evaluation.rows] == subjects[0]][0])]
