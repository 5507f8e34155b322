"""The embedded default: synthetic people who all make the same faces, with their true neutrals.

A head is made from formulas alone (``synthetic_chart`` lays out the mesh, ``synthetic_head`` shapes a face at rest,
``synthetic_expressions`` moves it), so a first run needs no download and knows the truth.
"""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float, Float32, Int

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.synthetic_chart import EYEBALL, INNER_LIP, MOUTH_CENTER, SKIN, FaceChart, face_chart
from meshdisent.data.synthetic_expressions import EXPRESSIONS, Manner, Performance
from meshdisent.data.synthetic_head import IDENTITY_PARAMETERS, Anatomy, Subject
from meshdisent.data.synthetic_landmarks import synthetic_landmarks
from meshdisent.errors import UsageError
from meshdisent.files import writing_folder
from meshdisent.mesh.landmark_sets import LandmarkSet
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.topology import Topology

__all__ = ["Manner", "Performer", "SyntheticHead", "performer", "synthetic_dataset", "write_synthetic_folder"]

SMALLEST, LARGEST = 1200, 6000
IDENTITY_LIMIT = 2.5  # standard deviations; what is beyond is cut off, so that nobody is a caricature


class SyntheticHead:
    """A procedural face whose identity and expression are set by numbers.

    Parameters
    ----------
    vertex_count : Vertices of the mesh, 1,200 to 6,000.

    Attributes
    ----------
    expressions : The 20 expressions of FaceScape, by name.
    actions : What expressions are made of.

    Raises
    ------
    UsageError : If the vertex count is out of range.

    Examples
    --------
    >>> head = SyntheticHead(1200)
    >>> smile = head.face(np.zeros(head.identity_size), "smile")
    >>> smile.shape, head.expressions[:3]
    ((1200, 3), ('neutral', 'smile', 'mouth_stretch'))
    """

    expressions: tuple[str, ...] = tuple(EXPRESSIONS)

    def __init__(self, vertex_count: int = 2500):
        if not SMALLEST <= vertex_count <= LARGEST:
            raise UsageError(
                f"A synthetic head of {vertex_count} vertices was asked for; wanted {SMALLEST} to {LARGEST}. "
                "Choose a vertex count in that range."
            )
        self.vertex_count = vertex_count
        self._chart, _, self._performance = _formulas(vertex_count)
        self.actions: tuple[str, ...] = self._performance.actions

    @property
    def identity_size(self) -> int:
        """Number of identity parameters."""
        return len(IDENTITY_PARAMETERS)

    @property
    def identity_parameters(self) -> tuple[str, ...]:
        """Names of the identity parameters."""
        return IDENTITY_PARAMETERS

    @cached_property
    def topology(self) -> Topology:
        """The average face and its faces; with regions."""
        average = self.neutral(np.zeros(self.identity_size))
        return Topology(average, self._chart.faces, _regions(self._chart))

    @property
    def landmarks(self) -> LandmarkSet:
        """The 68 points of iBUG's scheme, vertices of this head."""
        return synthetic_landmarks(self._chart)

    @property
    def mirror(self) -> Int[np.ndarray, " vertex"]:
        """(V,) the vertex on the other side of the face."""
        return self._chart.mirror

    def neutral(self, identity: Float[np.ndarray, " parameter"]) -> Float[np.ndarray, "vertex 3"]:
        """Give the face at rest, in mm.

        Parameters
        ----------
        identity : (30,) Standard normal parameters, cut off at 2.5; all zero is the average face.
        """
        return self._subject(identity).vertices.copy()

    def face(
        self,
        identity: Float[np.ndarray, " parameter"],
        expression: str | Mapping[str, float],
        manner: Manner | None = None,
    ) -> Float[np.ndarray, "vertex 3"]:
        """Give a person's face with an expression, in mm.

        Parameters
        ----------
        identity : (30,) See :meth:`neutral`.
        expression : A name, or amounts by name: ``{"smile": 0.5, "brow_raiser": 1.0}``.
        manner : How the person performs; the average manner if not given.

        Raises
        ------
        UsageError : If an expression is unknown.
        """
        amounts = {expression: 1.0} if isinstance(expression, str) else expression
        actions = _actions(amounts)
        return self._performance.perform(self._subject(identity), actions, manner or Manner())

    def person(self, generator: np.random.Generator) -> tuple[Float[np.ndarray, " parameter"], Manner]:
        """Draw an identity and a manner."""
        identity = np.clip(generator.standard_normal(self.identity_size), -IDENTITY_LIMIT, IDENTITY_LIMIT)
        factors = np.exp(0.16 * np.clip(generator.standard_normal(len(self.actions)), -2, 2))
        habits = {name: float(factor) for name, factor in zip(self.actions, factors, strict=True)}
        habits["jaw_open"] **= 0.5  # how far a jaw opens differs less than how lips are shaped
        strength = float(np.clip(0.97 + 0.1 * generator.standard_normal(), 0.8, 1.15))
        asymmetry = float(np.clip(0.08 * generator.standard_normal(), -0.2, 0.2))
        return identity, Manner(strength=strength, asymmetry=asymmetry, habits=habits)

    def _subject(self, identity: Float[np.ndarray, " parameter"]) -> Subject:
        if identity.shape != (self.identity_size,):
            raise UsageError(
                f"An identity of shape {identity.shape} was given; wanted ({self.identity_size},). "
                "SyntheticHead.identity_parameters names the entries."
            )
        clipped = np.clip(identity.astype(np.float64), -IDENTITY_LIMIT, IDENTITY_LIMIT)
        return _subject(self.vertex_count, clipped.tobytes())


def synthetic_dataset(
    subjects: int = 40,
    seed: int = 0,
    vertex_count: int = 2500,
    *,
    expressions: Sequence[str] = SyntheticHead.expressions,
    noise_mm: float = 0.05,
    val_share: float = 0.1,
    test_share: float = 0.2,
) -> ScanDataset:
    """Draw people, let each make every expression, and split them by subject.

    The person k of a seed is the same whatever the other arguments are.

    Parameters
    ----------
    subjects : How many people.
    seed : Decides everything.
    vertex_count : Vertices of each scan.
    expressions : Which expressions; scans are ordered by subject, then as given here.
    noise_mm : Standard deviation of the noise on each coordinate.
    val_share, test_share : Shares of subjects for validation and test; the rest is for training.

    Returns
    -------
    Scans with the true, noiseless neutrals in ``truth``.

    Examples
    --------
    >>> scans = synthetic_dataset(5, vertex_count=1200, expressions=("neutral", "smile"))
    >>> len(scans), scans.subjects[0], scans.expressions
    (10, 'person_000', ('neutral', 'smile'))
    """
    head = SyntheticHead(vertex_count)
    names = [f"person_{k:03d}" for k in range(subjects)]
    vertices = np.empty((subjects * len(expressions), vertex_count, 3), dtype=np.float32)
    truth = {}
    for k, name in enumerate(names):
        truth[name], scans = _scans_of_person(head, seed, k, expressions, noise_mm)
        vertices[k * len(expressions) : (k + 1) * len(expressions)] = scans
    kinds = _split(subjects, val_share, test_share)
    return ScanDataset.from_arrays(
        vertices,
        head.topology.faces,
        [name for name in names for _ in expressions],
        list(expressions) * subjects,
        template=head.topology.template,
        regions=head.topology.regions,
        split=[kind for kind in kinds for _ in expressions],
        truth=truth,
        attributes={"made_by": f"synthetic_dataset, seed {seed}", "noise_mm": noise_mm},
    )


def write_synthetic_folder(
    out: str | os.PathLike,
    subjects: int = 4,
    seed: int = 0,
    vertex_count: int = 1200,
    *,
    expressions: Sequence[str] = SyntheticHead.expressions,
    noise_mm: float = 0.05,
    overwrite: bool = False,
) -> None:
    """Write the same people as ``SUBJECT/EXPRESSION.ply`` files, the raw form that ``prepare folder`` reads.

    Raises
    ------
    UsageError : If ``out`` exists and is not empty, and ``overwrite`` is false.
    """
    head = SyntheticHead(vertex_count)
    with writing_folder(out, overwrite) as aside:
        for k in range(subjects):
            _, scans = _scans_of_person(head, seed, k, expressions, noise_mm)
            for expression, scan in zip(expressions, scans, strict=True):
                mesh = Mesh(scan.astype(np.float64), head.topology.faces)
                mesh.write(aside / f"person_{k:03d}" / f"{expression}.ply")


@lru_cache(maxsize=8)
def _formulas(vertex_count: int) -> tuple[FaceChart, Anatomy, Performance]:
    chart = face_chart(vertex_count)
    anatomy = Anatomy(chart)
    return chart, anatomy, Performance(anatomy, anatomy.subject(np.zeros(len(IDENTITY_PARAMETERS))))


@lru_cache(maxsize=4)
def _subject(vertex_count: int, identity: bytes) -> Subject:
    """Shape a face at rest; kept for a while, because a person makes many expressions in a row."""
    return _formulas(vertex_count)[1].subject(np.frombuffer(identity))


@dataclass(frozen=True, eq=False)
class Performer:
    """A person of a synthetic dataset.

    Attributes
    ----------
    identity : (30,) Parameters.
    manners : How the person makes each expression, by name.
    streams : Where the noise of each scan comes from, by expression.
    """

    identity: Float[np.ndarray, " parameter"]
    manners: Mapping[str, Manner]
    streams: Mapping[str, np.random.Generator]


def performer(head: SyntheticHead, seed: int, number: int) -> Performer:
    """Person ``number`` of a seed, the same whoever else is asked for."""
    generator = np.random.default_rng([seed, number])
    identity, manner = head.person(generator)
    # One stream for each expression, so that leaving one out does not change the others.
    streams = dict(zip(head.expressions, generator.spawn(len(head.expressions)), strict=True))
    manners = {}
    for expression, stream in streams.items():
        effort = float(np.clip(1 + 0.08 * stream.standard_normal(), 0.8, 1.2))
        manners[expression] = replace(manner, strength=manner.strength * effort)
    return Performer(identity, manners, streams)


def _scans_of_person(
    head: SyntheticHead, seed: int, number: int, expressions: Sequence[str], noise_mm: float
) -> tuple[Float[np.ndarray, "vertex 3"], Float32[np.ndarray, "scan vertex 3"]]:
    """Draw one person; give the true neutral and the noisy scans."""
    person = performer(head, seed, number)
    scans = []
    for expression in expressions:
        _check_expression(expression)
        scan = head.face(person.identity, expression, person.manners[expression])
        scans.append(scan + noise_mm * person.streams[expression].standard_normal(scan.shape))
    return head.neutral(person.identity), np.stack(scans).astype(np.float32)


def _split(subjects: int, val_share: float, test_share: float) -> list[str]:
    """People are drawn independently, so the last ones serve as well as any for the test."""
    test, val = round(subjects * test_share), round(subjects * val_share)
    return ["train"] * (subjects - val - test) + ["val"] * val + ["test"] * test


def _actions(amounts: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Add up the actions of a mixture of expressions, for the left and the right side."""
    total: dict[str, tuple[float, float]] = {}
    for expression, share in amounts.items():
        _check_expression(expression)
        for action, amount in EXPRESSIONS[expression].items():
            left, right = amount if isinstance(amount, tuple) else (amount, amount)
            before = total.get(action, (0.0, 0.0))
            total[action] = (before[0] + share * left, before[1] + share * right)
    return total


def _check_expression(name: str) -> None:
    if name not in EXPRESSIONS:
        nearest = difflib.get_close_matches(name, EXPRESSIONS, 1, 0.0)[0]
        raise UsageError(
            f"The synthetic head was asked for the expression {name!r}; wanted one of {', '.join(EXPRESSIONS)}. "
            f"Did you mean {nearest!r}?"
        )


def _regions(chart: FaceChart) -> dict[str, Int[np.ndarray, " member"]]:
    u, v = np.abs(chart.position[:, 0]), chart.position[:, 1]
    skin = chart.kind == SKIN
    bridge = skin & (u < 7) & (v > -22) & (v < 12)
    members = {
        "eyes": chart.lid_distance < 6,
        "eyeballs": chart.kind == EYEBALL,
        "nose": skin & (u < 21) & (v > -46) & (v < 4),
        "mouth": ((u / 34) ** 2 + ((v - MOUTH_CENTER) / 17) ** 2 < 1) | (chart.kind == INNER_LIP),
        "jaw": skin & (v < -80),
        "brow": skin & (u < 58) & (v > 9) & (v < 30) & (chart.lid_distance > 5),
        "stable": (skin & (v > 50) & (u < 60)) | bridge,
    }
    return {name: np.flatnonzero(inside) for name, inside in members.items()}
