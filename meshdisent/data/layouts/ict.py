"""ICT-FaceKit (Li et al. 2020, MIT license): a clone of its repository, turned into scans of people who make faces."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from meshdisent.data.ict_facekit import IDENTITY_COUNT, PARTS, clone_folder, read_displacement, read_generic
from meshdisent.data.ict_people import EXPRESSIONS, SHAPES, IctPeople, IctShapes, Person, express
from meshdisent.data.layouts.base import Listing, RawFolders, Rejection, ScanRecord, Unit, as_folders
from meshdisent.data.splits import NamedSplit
from meshdisent.errors import UsageError
from meshdisent.mesh.mesh import Mesh

JAW_ENDS = (1225, 3443)  # the first and the last of the 17 documented landmarks along the jaw


@dataclass(frozen=True, kw_only=True)
class IctLayout:
    """Scans synthesized from a clone of ICT-FaceKit: SUBJECTS people with 20 expressions each, true neutrals known."""

    name: ClassVar[str] = "ict"
    align: ClassVar[str] = "none"
    drop: ClassVar[float] = 0.0
    splits: ClassVar[Mapping[str, NamedSplit]] = {}
    sign: ClassVar[re.Pattern[str] | None] = re.compile(r"(^|/)generic_neutral_mesh\.obj$")
    neutral: ClassVar[str] = "neutral"
    unit: ClassVar[Unit] = "cm"

    raw: RawFolders
    """The clone: the folder with FaceXModel in it."""
    subjects: int = 300
    """How many people are drawn."""
    region: Literal["face", "narrow_face", "full"] = "face"
    """Part of the head: 9,409, 6,706 or all 26,719 vertices."""
    noise: float = 0.05
    """Noise of the scanner in mm (standard deviation of a coordinate)."""
    detail: float = 0.6
    """Personal displacement beyond the 100 identity modes in mm (root mean square length)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "raw", as_folders(self.raw))
        if len(self.raw) != 1:
            raise UsageError(f"The layout ict got {len(self.raw)} folders; wanted one: the clone of ICT-FaceKit.")
        if self.subjects < 1 or not self.noise >= 0 or not self.detail >= 0:
            raise UsageError(
                f"The layout ict got {self.subjects} subjects, noise {self.noise} and detail {self.detail}; wanted at "
                "least one subject and nothing below 0. Correct the arguments."
            )

    def find(self) -> Listing:
        """List 20 expressions and the true neutral of each person."""
        clone_folder(self.raw[0])
        records = []
        for k in range(self.subjects):
            subject = f"{k:04d}"
            records += [ScanRecord(subject, name, -1, f"ict:{subject}/{name}") for name in EXPRESSIONS]
            records.append(ScanRecord(subject, self.neutral, -1, f"ict:{subject} at rest", is_truth=True))
        return Listing(tuple(records))

    def template(self) -> Mesh:
        """Give the generic face at rest."""
        neutral, faces = _generic(self.raw[0], self.region)
        return Mesh(neutral.vertices[: PARTS[self.region][1]], faces)

    def regions(self, template: Mesh) -> dict[str, Sequence[int]]:
        """Give the parts that lie in the region."""
        count = len(template.vertices)
        return {name: range(first, last) for name, (first, last) in PARTS.items() if last <= count}

    def read(self, records: Sequence[ScanRecord], seed: int) -> list[Mesh | Rejection]:
        """Synthesize scans; those of one person should come together, since a person is drawn once for them."""
        people = IctPeople(_shapes(self.raw[0], self.region), seed, self.detail)
        found: list[Mesh | Rejection] = []
        number, person = -1, None
        for record in records:
            if person is None or int(record.subject) != number:
                number = int(record.subject)
                person = people.person(number)
            found.append(Mesh(self._scan(people, person, number, record), people.shapes.faces))
        return found

    def _scan(self, people: IctPeople, person: Person, number: int, record: ScanRecord) -> np.ndarray:
        if record.is_truth or record.expression is None:
            return person.neutral
        mixture = people.mixture(number, record.expression)
        return express(person, mixture) + people.noise(number, record.expression, self.noise)


@lru_cache(maxsize=1)
def _shapes(raw: Path, region: str) -> IctShapes:
    """Read the shapes that are needed, once a process."""
    folder, last = clone_folder(raw), PARTS[region][1]
    neutral, faces = _generic(raw, region)
    eyeballs = [slice(*PARTS["eyeball_left"]), slice(*PARTS["eyeball_right"])]
    generic = neutral.vertices
    identity = np.empty((IDENTITY_COUNT, last, 3), np.float32)
    identity_eyes = np.empty((IDENTITY_COUNT, 2, 3))
    for k in range(IDENTITY_COUNT):
        mode = read_displacement(folder / f"identity{k:03d}.obj", generic)
        identity[k], identity_eyes[k] = mode[:last], [mode[eye].mean(axis=0) for eye in eyeballs]
    return IctShapes(
        generic=generic[:last],
        faces=faces,
        identity=identity,
        expression={name: read_displacement(folder / f"{name}.obj", generic)[:last] for name in SHAPES},
        eyes=np.stack([generic[eye].mean(axis=0) for eye in eyeballs]),
        identity_eyes=identity_eyes,
        jaw_ends=JAW_ENDS,
    )


def _generic(raw: Path, region: str) -> tuple[Mesh, np.ndarray]:
    """Read the generic face of the whole head, and the triangles of a region."""
    neutral = read_generic(raw)
    return neutral, neutral.faces[(neutral.faces < PARTS[region][1]).all(axis=1)]
