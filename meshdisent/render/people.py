"""People who can be asked for a face: those of the synthetic head, or of any morphable model."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float

from meshdisent.data.synthetic import SyntheticHead
from meshdisent.errors import UsageError
from meshdisent.mesh.resampling import resampling_map
from meshdisent.mesh.template_fit import LandmarkPairs
from meshdisent.mesh.topology import Topology
from meshdisent.render.paint import FacePaint

if TYPE_CHECKING:
    from meshdisent.morphable.contract import MorphableModel

_FARTHEST_MM = 60.0
#: With landmarks the two faces are known to correspond; ears, neck and shoulders may lie far from the mask's border.
_BESIDE_MM = 1000.0

#: Amounts of expressions by name -> the face, (V, 3) mm.
Actor = Callable[[Mapping[str, float]], Float[np.ndarray, "vertex 3"]]


@runtime_checkable
class People(Protocol):
    """Where faces come from.

    Attributes
    ----------
    topology : Of all of them.
    expressions : Names that actors know; the first one is the face at rest.
    paint : Where on the topology lips, brows and eyes are.
    """

    topology: Topology
    expressions: tuple[str, ...]
    paint: FacePaint

    def actor(self, random: np.random.Generator) -> Actor:
        """Draw a person."""


class SyntheticPeople:
    """People of the synthetic head.

    Parameters
    ----------
    vertex_count : Vertices of the head, 1,200 to 6,000; for pictures of 64 pixels 4,000 are as fine as the pixels.
    expressions : Which of its twenty expressions they make; the first is ``neutral``.
    """

    def __init__(self, vertex_count: int = 4000, expressions: tuple[str, ...] = SyntheticHead.expressions):
        self.head = SyntheticHead(vertex_count)
        unknown = [name for name in expressions if name not in self.head.expressions]
        if unknown or not expressions or expressions[0] != "neutral":
            raise UsageError(
                f"Expressions {', '.join(expressions) or 'none'} were asked for; wanted neutral first, then any of "
                f"{', '.join(self.head.expressions[1:])}."
            )
        self.topology, self.expressions = self.head.topology, tuple(expressions)
        self.paint = FacePaint.of_synthetic_head(vertex_count)

    def actor(self, random: np.random.Generator) -> Actor:
        """Draw an identity and a manner."""
        identity, manner = self.head.person(random)
        return lambda amounts: self.head.face(identity, dict(amounts), manner)


class ModelPeople:
    """People of a morphable model: identity codes from its prior, its named expressions for a face.

    Parameters
    ----------
    model : A model of any topology; its named expressions, such as ARKit's, are what its people can do.
    landmarks : Pairs of vertices of the synthetic head of 4,000 vertices and the model's template, by which paint is
        carried over; without them the two templates must lie on each other.

    Raises
    ------
    UsageError : If the model has no named expressions.
    """

    def __init__(self, model: "MorphableModel", landmarks: LandmarkPairs | None = None):
        if not model.named_expressions:
            raise UsageError(
                f"The {model.name} model has no named expressions, so nobody could say what its people do; wanted a "
                "model such as wsdf-ict, or the synthetic head."
            )
        self.model, self.topology = model, model.topology
        self.expressions = ("neutral", *model.named_expressions)
        head = SyntheticHead(4000)
        # Paint may lie as far off as a head's shape differs: what nobody painted takes the color of what is next.
        farthest = _FARTHEST_MM if landmarks is None else _BESIDE_MM
        carried = resampling_map(head.topology, model.topology, landmarks=landmarks, tolerance_mm=farthest)
        self.paint = FacePaint.of_synthetic_head(4000).carried(carried.matrix)

    def actor(self, random: np.random.Generator) -> Actor:
        """Draw an identity code."""
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        codes = self.model.prior().sample(1, generator)

        @torch.no_grad()
        def act(amounts: Mapping[str, float]) -> Float[np.ndarray, "vertex 3"]:
            code = torch.zeros_like(codes.expression)
            for name, amount in amounts.items():
                if name != "neutral":
                    code += amount * self.model.named_expressions[name].to(code)
            return self.model.decode(codes._replace(expression=code))[0].double().cpu().numpy()

        return act
