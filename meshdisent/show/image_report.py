"""Figures of a model of photographs as a page: depth, what its codes tell, and some of the pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.latentface.latentface import LatentFace
from meshdisent.show.html import Column, Report, Row, Table, Tile
from meshdisent.show.pictures import write_png
from meshdisent.show.training_report import explained

_SHOWN = 8


def image_report(
    model: LatentFace, data: ImageDataset, figures: Mapping[str, Any], title: str, command: str, folder: Path
) -> Report:
    """The page; its pictures are written into the folder, too.

    Parameters
    ----------
    figures : Of :func:`~meshdisent.latentface.evaluation.evaluate_pictures`.
    """
    from meshdisent import __version__

    told = {"command": command, "trained on data": model.card.data_hash or "unknown", "data": data.data_hash}
    report = Report(
        title,
        summary=[f"{figures['pictures']:,} test pictures of {figures['subjects']:,} subjects."],
        tiles=_tiles(figures),
        reproduction={**told, "meshdisent": __version__},
    )
    rows = data.rows("test")
    rows = rows[np.linspace(0, len(rows) - 1, min(_SHOWN, len(rows))).round().astype(np.int64)]
    picture = explained(model, data, rows)
    write_png(folder / "pictures.png", picture)
    person = "The person is the face that stage two finds in it. " if model.config.stage_two.method != "none" else ""
    section = report.section(
        "Pictures and what it sees in them",
        f"{len(rows)} pictures of the test split. Skin is without light. {person}Depth is gray: white is "
        f"{model.config.scene.nearest:g} m from the camera, black {model.config.scene.farthest:g} m, or nothing.",
    )
    section.picture(picture, alt="Pictures taken apart into skin, depth and view")
    if figures["depth"] is not None:
        names = {"SIDE": "scale-invariant error x 100", "MAD": "angle between normals, degrees"}
        columns = [Column(name, better="") for name in ("mean", "std", "median")]
        found = [Row(text, [figures["depth"][name][c.name] for c in columns]) for name, text in names.items()]
        text = "Over pixels in which the truth has a face; mean, deviation and median over pictures. Less is better."
        report.section("Depth in the view of the picture", text).table(Table(columns, found))
    if figures["expression"]:
        columns = [_share("accuracy"), _share("macro F1"), _share("most frequent class", better="")]
        keys = ("accuracy", "macro_f1", "chance")
        found = [Row(name, [100 * one[key] for key in keys]) for name, one in figures["expression"].items()]
        text = (
            "What a linear probe reads from each code of people whom it was not trained on. Codes are those of texture "
            "and shape side by side; identity is what stage two says of the person, expression is what is left."
        )
        report.section("Expression", text).table(Table(columns, found))
    if figures["person"]:
        columns = [_share("found"), _share("by chance", better="")]
        found = [Row(name, [100 * one["rate"], 100 * one["chance"]]) for name, one in figures["person"].items()]
        text = "How often the nearest picture of another sequence shows the same person."
        report.section("Person", text).table(Table(columns, found))
    if figures["verification"]:
        columns = [_share("mean"), _share("std", better="")]
        found = [Row(kind, [100 * one["mean"], 100 * one["std"]]) for kind, one in figures["verification"].items()]
        report.section("Verification, ten folds").table(Table(columns, found))
    return report


def _share(name: str, better: str = "higher") -> Column:
    return Column(name, "%", better, decimals=1)


def _tiles(figures: Mapping[str, Any]) -> list[Tile]:
    if figures["depth"] is None:
        return []
    side, angle = figures["depth"]["SIDE"]["mean"], figures["depth"]["MAD"]["mean"]
    return [Tile("SIDE", f"{side:.3f}", "x 0.01"), Tile("MAD", f"{angle:.2f}", "degrees")]
