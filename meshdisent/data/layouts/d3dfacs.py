"""D3DFACS (Cosker et al. 2011) as registered to FLAME: 10 people, 519 action-unit sequences, 46,903 meshes, meters."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from meshdisent.data.layouts.base import Listing, RawFolders, Rejection, ScanRecord, Unit
from meshdisent.data.layouts.coma import flame_regions
from meshdisent.data.layouts.named_files import NamedFrames
from meshdisent.data.layouts.sequences import Sequences, mean_of_first_frames, records_of, sequences_below
from meshdisent.data.layouts.tree import arranged, read_scan
from meshdisent.data.published_splits import without_sequence
from meshdisent.data.splits import NamedSplit
from meshdisent.mesh.mesh import Mesh

SUBJECT_COUNT, SEQUENCE_COUNT, SCAN_COUNT = 10, 519, 46_903
_PATTERN = re.compile(
    r"/(?!FaceTalk_)(?P<subject>[^/]+)/(?P<sequence>[^/]+)/[^/]*\.(?P<frame>\d{1,18})\.ply$", re.IGNORECASE
)
_WANTED = "SUBJECT/SEQUENCE/SEQUENCE.000001.ply, sequences by action units such as 1+2+L"


@dataclass(frozen=True, kw_only=True)
class D3dfacsLayout(NamedFrames):
    """D3DFACS, registered to FLAME: RAW/SUBJECT/SEQUENCE/SEQUENCE.FRAME.ply, meters."""

    name: ClassVar[str] = "d3dfacs"
    align: ClassVar[str] = "rigid"
    drop: ClassVar[float] = 0.05
    neutral: ClassVar[str] = "neutral"
    sign: ClassVar[re.Pattern[str] | None] = re.compile(
        r"/(?!FaceTalk_)[^/]+/(?P<name>[^/]+)/(?P=name)\.\d+\.ply$", re.IGNORECASE
    )
    splits: ClassVar[Mapping[str, NamedSplit]] = {
        "extrapolation": NamedSplit("one sequence of all subjects to the test", without_sequence, "SEQUENCE"),
    }

    raw: RawFolders
    """The folder with one folder a subject, or one above it."""
    unit: Unit = "m"
    """Unit of the coordinates in the files."""
    truth: Literal["first-frames", "none"] = "first-frames"
    """True neutral of a subject: the mean of the first frames of its sequences, aligned; or unknown."""

    def find(self) -> Listing:
        """List the frames: subject, sequence, frame."""
        passed_over: Counter[str] = Counter()
        sequences = sequences_below(self.raw, _PATTERN, passed_over, _WANTED)
        records = list(records_of(sequences, self.every))
        if self.truth != "none":
            subjects = dict.fromkeys(subject for subject, _ in sequences)
            records += [ScanRecord(name, self.neutral, -1, f"{name} at rest", is_truth=True) for name in subjects]
        return arranged(records, (), passed_over, self.subjects, remarks=lambda _: _remarks(sequences))

    def template(self) -> Mesh | None:
        """Give none: one of the scans is the reference, or FLAME's template with ``--topology``."""
        return None

    def regions(self, template: Mesh) -> dict[str, Sequence[int]]:
        """Give skin and eyeballs of FLAME."""
        return flame_regions(template)

    def read(self, records: Sequence[ScanRecord], seed: int) -> list[Mesh | Rejection]:
        """Read the files in mm, and compute true neutrals."""
        return [self._at_rest(r.subject) if r.is_truth else read_scan(r.source, self.unit) for r in records]

    def _at_rest(self, subject: str) -> Mesh | Rejection:
        return mean_of_first_frames(subject, sequences_below(self.raw, _PATTERN, Counter(), _WANTED), self.unit)


def _remarks(sequences: Sequences) -> Iterator[str]:
    found = (len({subject for subject, _ in sequences}), len(sequences), sum(map(len, sequences.values())))
    if found != (SUBJECT_COUNT, SEQUENCE_COUNT, SCAN_COUNT):
        yield (
            f"{found[0]} subjects, {found[1]} sequences and {found[2]} frames are there; the published data have "
            f"{SUBJECT_COUNT}, {SEQUENCE_COUNT} and {SCAN_COUNT}"
        )
