"""BU-3DFE (Yin et al. 2006): 100 people, a neutral and six expressions in four intensities each, mm.

The scans as they are published differ in topology, so they have to be registered to one first. Files keep their names:
``F0001_AN01WH_F3D`` is woman 1, anger, intensity 1, of the group "White".
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from meshdisent.data.layouts.base import Listing, RawFolders, Rejection, ScanRecord, natural_key
from meshdisent.data.layouts.named_files import NamedFiles
from meshdisent.data.layouts.sequences import absences
from meshdisent.data.layouts.tree import arranged, matched, some
from meshdisent.data.published_splits import fed_bu3dfe
from meshdisent.data.splits import NamedSplit
from meshdisent.mesh.mesh import Mesh

EMOTIONS = {
    "NE": "neutral", "AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happiness", "SA": "sadness", "SU": "surprise",
}  # fmt: skip
EXPRESSIONS = ("neutral", *(f"{name}_{k}" for name in list(EMOTIONS.values())[1:] for k in range(1, 5)))
SUBJECTS = (*(f"F{k:04d}" for k in range(1, 57)), *(f"M{k:04d}" for k in range(1, 45)))
#: FED's registered files have so many vertices; of these, 13 on nose and eye corners move least.
FED_VERTEX_COUNT = 5996
FED_STABLE = (4302, 954, 227, 1700, 2186, 1128, 4303, 1597, 4501, 4827, 41, 3604, 1143)
_PATTERN = re.compile(
    r"/(?P<subject>[FM]\d{4})_(?P<emotion>[A-Z]{2})(?P<level>\d\d)(?P<group>[A-Z]{2})(?P<kind>_[^/.]+)?"
    r"\.(wrl|obj|ply)$",
    re.IGNORECASE,
)
_WANTED = "files such as F0001_AN01WH_F3D.wrl (or .obj, .ply)"


@dataclass(frozen=True, kw_only=True)
class Bu3dfeLayout(NamedFiles):
    """BU-3DFE, registered: RAW/.../F0001_AN01WH_F3D.wrl|obj|ply, millimeters."""

    name: ClassVar[str] = "bu3dfe"
    align: ClassVar[str] = "rigid"
    drop: ClassVar[float] = 0.0
    neutral: ClassVar[str] = "neutral"
    sign: ClassVar[re.Pattern[str] | None] = _PATTERN
    splits: ClassVar[Mapping[str, NamedSplit]] = {
        "fed": NamedSplit("F0001 to F0010 to the test, all others to train (FED)", fed_bu3dfe)
    }

    raw: RawFolders
    """The folder with the files, in folders of subjects or not."""

    def find(self) -> Listing:
        """List the scans; an intensity is part of the expression's name, ``anger_1`` to ``anger_4``."""
        passed_over: Counter[str] = Counter()
        records, rejected = [], []
        for match, file in matched(self.raw, _PATTERN, passed_over, _WANTED):
            kind = (match["kind"] or "").upper()
            if kind not in ("", "_F3D"):
                passed_over[f"scans of another kind ({kind[1:]})"] += 1
                continue
            expression = _expression(match["emotion"].upper(), int(match["level"]))
            if expression is None:
                reason = f"{match['emotion']}{match['level']} is no expression of BU-3DFE; wanted NE00 or AN01 to SU04"
                rejected.append(Rejection(str(file.path), reason))
                continue
            records.append(ScanRecord(match["subject"].upper(), expression, -1, str(file.path)))
        return arranged(records, rejected, passed_over, self.subjects, _order, _remarks)

    def regions(self, template: Mesh) -> dict[str, Sequence[int]]:
        """Give the 13 stable vertices of FED's topology, if it is that one."""
        return {"fed_stable": FED_STABLE} if template.vertex_count == FED_VERTEX_COUNT else {}


def _expression(emotion: str, level: int) -> str | None:
    if emotion == "NE":
        return "neutral" if level == 0 else None
    return f"{EMOTIONS[emotion]}_{level}" if emotion in EMOTIONS and 1 <= level <= 4 else None


def _order(expression: str) -> tuple:
    return (EXPRESSIONS.index(expression),) if expression in EXPRESSIONS else natural_key(expression)


def _remarks(records: Sequence[ScanRecord]) -> Iterator[str]:
    subjects = list(dict.fromkeys(record.subject for record in records))
    yield from absences("subjects", SUBJECTS, subjects)
    found = {(record.subject, record.expression) for record in records}
    absent = [
        f"{name}/{expression}" for name in subjects for expression in EXPRESSIONS if (name, expression) not in found
    ]
    if absent:
        yield f"{len(absent)} scans of subjects that are there are absent: {some(absent)}"
