"""``meshdisent inspect faces.h5``: say what is in a dataset, and what looks wrong; or the landmarks of a topology."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.inspection import Inspection, inspect
from meshdisent.files import refuse_existing, writing


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Say what is in a dataset, and what looks wrong; of a model or a mesh, which landmarks and regions are known.

    For example: meshdisent inspect faces.h5
    """

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FACES.H5|T")]
    """The dataset; or a model or a template mesh in mm, of which landmarks and regions are listed."""
    landmarks: bool = False
    """List the landmarks: name, nearest vertex, and place on the template in mm."""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write one JSON object to this file too; with - to standard output, instead of the text."""
    overwrite: bool = False
    """Replace the JSON file if it exists."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent inspect", config=(tyro.conf.FlagCreatePairsOff,))
    if given.json not in (None, "-"):
        refuse_existing(given.json, given.overwrite)
    if given.landmarks or Path(given.data).suffix.lower() not in (".h5", ".hdf5"):
        return _list_topology(given)
    found = inspect(ScanDataset.open(given.data))
    return _say(found.to_json(), text(found), given)


def _say(numbers: dict[str, Any], words: str, given: Arguments) -> int:
    written = json.dumps(numbers, indent=2)
    if given.json == "-":
        print(written)
        return 0
    if given.json is not None:
        with writing(given.json, given.overwrite) as aside:
            aside.write_text(written + "\n", encoding="utf-8")
    print(words)
    return 0


def _list_topology(given: Arguments) -> int:
    """Hashes, landmarks and regions of a topology; every landmark where they are asked for."""
    from meshdisent.cli.resample import read_topology
    from meshdisent.data.known_faces import find_landmarks, known_regions, need_landmarks

    topology = read_topology(given.data)
    found = need_landmarks(topology, given.data) if given.landmarks else find_landmarks(topology, given.data)
    regions = {name: len(members) for name, members in known_regions(topology, given.data).items()}
    numbers: dict[str, Any] = {
        "vertices": topology.vertex_count,
        "faces": topology.face_count,
        "topology_hash": topology.topology_hash,
        "template_hash": topology.template_hash,
        "regions": regions,
        "landmarks": None,
    }
    counts = f"{topology.vertex_count} vertices, {topology.face_count} faces"
    lines = [f"{given.data}: {counts}, topology {topology.topology_hash}"]
    lines.append(f"  regions      {', '.join(f'{name} ({count})' for name, count in regions.items()) or 'none known'}")
    if found is None:
        lines.append(_UNKNOWN)
    else:
        points = found.points(topology.template)
        table = {name: {"vertex": row, "point": points[name].round(3).tolist()} for name, row in found.rows.items()}
        numbers["landmarks"] = {"source": found.source, "points": table}
        lines.append(f"  landmarks    {len(found)} ({found.source})")
        if given.landmarks:
            lines += [f"    {name:32} {entry['vertex']:6}  " + " ".join(f"{x:8.2f}" for x in entry["point"])
                      for name, entry in table.items()]  # fmt: skip
    return _say(numbers, "\n".join(lines), given)


_UNKNOWN = "  landmarks    not known on this topology; a file NAME.landmarks.json beside this one gives them"


def text(found: Inspection) -> str:
    """What a person wants to read of an inspection."""
    low, high = found.box_mm
    axes = ", ".join(f"{axis} {a:.0f}..{b:.0f}" for axis, a, b in zip("xyz", low, high, strict=True))
    lines = [
        f"{found.path or 'dataset'}  (data hash {found.data_hash})",
        f"  scans        {found.scans} of {found.subjects} subjects, {found.expressions} expressions"
        + (f", {found.frames} with frame numbers" if found.frames else ""),
        *(
            f"    {name:10} {counts['scans']} scans of {counts['subjects']} subjects"
            for name, counts in found.splits.items()
            if counts["scans"]
        ),
        *(
            f"  set          {name}: {counts['scans']} scans of {counts['subjects']} subjects "
            f"({counts['train']} train, {counts['test']} test)"
            for name, counts in found.sets.items()
        ),
        f"  expressions  {_wrapped(found.expression_names)}",
        f"  labels       {found.cells['seen']} of {found.cells['all']} subjects and expressions have a scan, "
        f"{found.unlabeled} scans have no expression",
        f"  topology     {found.vertices} vertices, {found.faces} faces, {found.components} pieces, "
        f"{found.border_vertices} border vertices, {found.isolated_vertices} without a face",
        f"  hashes       topology {found.topology_hash}, template {found.template_hash}",
        f"  box          {axes} {found.unit}; the template is {found.size_mm:.0f} mm across",
        f"  neutrals     {_neutrals(found)}",
    ]
    if found.regions:
        lines.append(f"  regions      {', '.join(f'{name} ({count})' for name, count in found.regions.items())}")
    if found.landmarks is None:
        lines.append(_UNKNOWN)
    else:
        lines.append(f"  landmarks    {len(found.landmarks['vertices'])} ({found.landmarks['source']})")
    if found.frame:
        lines.append(
            f"  frame        half of the scans lie within {found.frame['shift_mm']:.1f} mm and "
            f"{found.frame['turn_degrees']:.1f} degrees of their mean shape"
        )
    made = {name: value for name, value in found.attributes.items() if name != "unit"}
    lines += [f"  {name:12} {value}" for name, value in made.items()]
    lines += [f"note: {note}" for note in found.notes]
    lines += [f"WARNING: {warning}" for warning in found.warnings]
    lines.append(f"{len(found.warnings)} warnings" if found.warnings else "nothing looks wrong")
    return "\n".join(lines)


def _neutrals(found: Inspection) -> str:
    numbers = found.neutrals
    line = (
        f"{numbers['subjects_with_scan']} subjects have a neutral scan, {numbers['subjects_with_truth']} a true neutral"
    )
    if numbers["neutral_to_middle_mm"] is not None:
        line += (
            f"; neutrals lie {numbers['neutral_to_middle_mm']:.2f} mm from the middle of a subject's scans, "
            f"other scans {numbers['others_to_middle_mm']:.2f} mm"
        )
    return line


def _wrapped(names: tuple[str, ...], limit: int = 30) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "none") + more
