"""FaceScape (Yang et al. 2020), topologically uniform models: 847 people x 20 expressions, 26,317 vertices, mm."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from meshdisent.data.layouts.base import Listing, RawFolders, Rejection, ScanRecord, natural_key
from meshdisent.data.layouts.named_files import NamedFiles
from meshdisent.data.layouts.tree import arranged, matched, some
from meshdisent.data.published_splits import fed_facescape, fed_facescape_rows, wsdf_facescape
from meshdisent.data.splits import NamedSplit

EXPRESSIONS = (
    "neutral", "smile", "mouth_stretch", "anger", "jaw_left", "jaw_right", "jaw_forward", "mouth_left", "mouth_right",
    "dimpler", "chin_raiser", "lip_puckerer", "lip_funneler", "sadness", "lip_roll", "grin", "cheek_blowing",
    "eye_closed", "brow_raiser", "brow_lower",
)  # fmt: skip
SUBJECT_COUNT = 847
_PATTERN = re.compile(
    r"/(?P<subject>\d{1,6})/models_reg/(?P<number>\d{1,6})_(?P<expression>[^/]+)\.obj$", re.IGNORECASE
)
_WANTED = "ID/models_reg/1_neutral.obj with the IDs 1 to 847"


@dataclass(frozen=True, kw_only=True)
class FacescapeLayout(NamedFiles):
    """FaceScape, TU models: RAW/ID/models_reg/K_EXPRESSION.obj, millimeters, size normalized by the eyes."""

    name: ClassVar[str] = "facescape"
    align: ClassVar[str] = "none"
    drop: ClassVar[float] = 0.0
    neutral: ClassVar[str] = "neutral"
    sign: ClassVar[re.Pattern[str] | None] = _PATTERN
    splits: ClassVar[Mapping[str, NamedSplit]] = {
        "wsdf": NamedSplit("593 subjects to train, 253 to test (WSDF); 832 set aside", wsdf_facescape),
        "fed": NamedSplit("30 % of the subjects that are there to test (FED); 603 set aside", fed_facescape),
        "fed-rows": NamedSplit(
            "fed, and FED's 13 other outliers, where the files are those of its authors", fed_facescape_rows
        ),
    }

    raw: RawFolders
    """Folders with the folders 1, 2, ...: one, or one for each unpacked part."""

    def find(self) -> Listing:
        """List the scans by the numbers of subject and expression; files with a wrong number are rejected."""
        passed_over: Counter[str] = Counter()
        records, rejected = [], []
        for match, file in matched(self.raw, _PATTERN, passed_over, _WANTED):
            number, expression = int(match["number"]), match["expression"].casefold()
            if not 1 <= number <= len(EXPRESSIONS) or EXPRESSIONS[number - 1] != expression:
                right = f"{EXPRESSIONS.index(expression) + 1}_{expression}" if expression in EXPRESSIONS else "1 to 20"
                reason = f"is no expression of FaceScape; wanted {right}. Rename the file if it is that"
                rejected.append(Rejection(str(file.path), reason))
                continue
            records.append(ScanRecord(str(int(match["subject"])), expression, -1, str(file.path)))
        return arranged(records, rejected, passed_over, self.subjects, _order, _remarks)


def _order(expression: str) -> tuple:
    return (EXPRESSIONS.index(expression),) if expression in EXPRESSIONS else natural_key(expression)


def _remarks(records: Sequence[ScanRecord]) -> Iterator[str]:
    found = {(record.subject, record.expression) for record in records}
    subjects = list(dict.fromkeys(record.subject for record in records))
    absent = [
        f"{name}/{expression}" for name in subjects for expression in EXPRESSIONS if (name, expression) not in found
    ]
    if absent:
        yield f"{len(absent)} scans of subjects that are there are absent: {some(absent)}"
    gone = [str(number) for number in range(1, SUBJECT_COUNT + 1) if str(number) not in set(subjects)]
    if gone:
        yield f"{len(gone)} of {SUBJECT_COUNT} subjects are absent: {some(gone)}"
