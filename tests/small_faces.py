"""Tiny people for the tests of evaluation, editing and the verbs: a ball of 162 vertices, additive, truth known."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from meshdisent.data.dataset import ScanDataset
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.morphable.linear import LinearConfig, LinearModel

EXPRESSIONS = ("neutral", "smile", "grin", "frown", "jaw_left")
TRAIN, TEST = 12, 4


def _shapes() -> Any:
    spec = importlib.util.spec_from_file_location("shapes", Path(__file__).with_name("shapes.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["shapes"] = module
    spec.loader.exec_module(module)
    return module


VERTICES, FACES = _shapes().sphere(2)
TEMPLATE = 80.0 * VERTICES


def _field(random: np.random.Generator, size: float) -> np.ndarray:
    """A smooth displacement of every vertex."""
    return size * np.sin(VERTICES @ random.normal(size=(3, 3)) * 2 + random.normal(size=3))


_random = np.random.default_rng(5)
_IDENTITY = np.stack([_field(_random, 3.0) for _ in range(3)])
_SMILES = np.stack([0 * TEMPLATE, *(_field(_random, 2.0) * (VERTICES[:, 1:2] < 0) for _ in EXPRESSIONS[1:])])
PEOPLE = TEMPLATE + np.tensordot(_random.normal(size=(TRAIN + TEST, 3)), _IDENTITY, axes=1)  # (S, V, 3)
STRENGTH = _random.uniform(0.6, 1.4, size=(TRAIN + TEST, len(EXPRESSIONS)))


def displacement(person: int, expression: int) -> np.ndarray:
    """What a person's expression does, (V, 3) mm."""
    return STRENGTH[person, expression] * _SMILES[expression]


def names() -> list[str]:
    return [f"s{person:02d}" for person in range(TRAIN + TEST)]


def scans(noise_mm: float = 0.05, *, labels: bool = True, truth: bool = True, **replaced: Any) -> ScanDataset:
    """Every person with every expression; the last four are the test."""
    random = np.random.default_rng(9)
    people, count = names(), len(EXPRESSIONS)
    shown = [PEOPLE[p] + displacement(p, e) for p in range(len(people)) for e in range(count)]
    settings = {
        "template": TEMPLATE,
        "split": ["train"] * TRAIN * count + ["test"] * TEST * count,
        "truth": dict(zip(people, PEOPLE, strict=True)) if truth else None,
    }
    return ScanDataset.from_arrays(
        np.stack(shown) + noise_mm * random.normal(size=(len(shown), len(TEMPLATE), 3)),
        FACES,
        [name for name in people for _ in range(count)],
        list(EXPRESSIONS) * len(people) if labels else [None] * len(shown),
        **(settings | replaced),
    )


def linear(dataset: ScanDataset, **config: Any) -> LinearModel:
    """A linear model that is worse than it could be, so that there is something to measure."""
    return LinearModel.fit(dataset, LinearConfig(**({"identity_size": 2, "expression_size": 2} | config)))


class Oracle(MorphableModel):
    """Knows the truth of every scan of a dataset: codes are the true neutral and the true displacement."""

    name = "oracle"
    config_class = dict

    def __init__(self, dataset: ScanDataset):
        super().__init__(Topology(dataset.topology.template, dataset.topology.faces), TEMPLATE.size, TEMPLATE.size)
        self.register_buffer("known", torch.from_numpy(dataset.vertices()).flatten(1))
        self.register_buffer("rest", torch.from_numpy(dataset.neutrals()[0][dataset.subject]).flatten(1))
        self.moving[: len(TEMPLATE) // 3] = True

    def encode(self, vertices: torch.Tensor) -> Codes:
        row = torch.cdist(vertices.flatten(1).double(), self.known.double()).argmin(1)
        return Codes(self.rest[row], self.known[row] - self.rest[row])

    def decode(self, codes: Codes) -> torch.Tensor:
        return (codes.identity + codes.expression).unflatten(1, (-1, 3))

    def neutral(self, identity: torch.Tensor) -> torch.Tensor:
        return identity.unflatten(1, (-1, 3))

    def expression_only(self, expression: torch.Tensor) -> torch.Tensor:
        return expression.unflatten(1, (-1, 3))

    def config_dict(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_parts(cls, config: dict[str, Any], topology: Topology, state: dict[str, torch.Tensor]) -> "Oracle":
        raise NotImplementedError

    @classmethod
    def fit(cls, scans: ScanDataset, recipe: Any = None) -> "Oracle":
        return cls(scans)


class Unsplit(Oracle):
    """The same without two codes: everything is an expression."""

    name = "autoencoder"

    def __init__(self, dataset: ScanDataset):
        super().__init__(dataset)
        MorphableModel.__init__(self, self.topology, 0, TEMPLATE.size)
        self.register_buffer("known", torch.from_numpy(dataset.vertices()).flatten(1))

    def encode(self, vertices: torch.Tensor) -> Codes:
        return Codes(vertices.new_zeros(len(vertices), 0), vertices.flatten(1))

    def decode(self, codes: Codes) -> torch.Tensor:
        return codes.expression.unflatten(1, (-1, 3))


def write_pairs(folder: Path, pairs: list[tuple[int, int, int, int]]) -> Path:
    """A table of true transfers: (person, its expression, other person, its expression), and the meshes beside it."""
    folder.mkdir(exist_ok=True)
    lines = ["truth,identity,expression"]
    for number, (person, own, other, shown) in enumerate(pairs):
        Mesh(PEOPLE[person] + displacement(other, shown), FACES).write(folder / f"{number:04d}.ply")
        lines.append(f"{number:04d}.ply,s{person:02d}/{EXPRESSIONS[own]},s{other:02d}/{EXPRESSIONS[shown]}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    return folder / "pairs.csv"
