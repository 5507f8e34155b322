r"""Shapes of one side of the face, from a model that knows only both sides together.

Training scans show hardly any wink, so the code that a model finds for one eye moves the other as well, half of each.
The two codes of a pair added up are both eyes, which a model does know. So a face is decoded twice, once with the
weights of the left side for both sides of every pair and once with those of the right, and put together:

.. math:: F(w) = N + m \, [D(z_L) - N] + (1 - m) \, [D(z_R) - N], \qquad m(x) = \tfrac{1}{2} (1 + \tanh(x / 14\,mm)),

with x to the person's left. Where both sides have one weight this is the model's face itself. The width was chosen by
ICT-FaceKit's own shapes: its pairs, halved like that, differ from its halves by 0.04 mm (``wsdf-ict``: its halves are
0.29 mm off those shapes in this way, and 0.39 mm as its single codes make them; benchmarks/one_sided_shapes.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.mesh.topology import Topology

WIDTH_MM = 14.0
_SIDES = (("Left", "Right"), ("_L", "_R"))
#: These move to a side, as a whole.
_WHOLE = frozenset({"jaw", "mouth"})


@dataclass(frozen=True, eq=False)
class Sides:
    """Which expressions are sides of one, and where on the face which side is.

    Attributes
    ----------
    pairs : Rows of the left and the right of each pair.
    left : (V,) How much of a vertex is on the person's left, 0 to 1.
    """

    pairs: tuple[tuple[int, int], ...]
    left: Float[Tensor, " vertex"]

    @staticmethod
    def of(names: Sequence[str], topology: Topology, like: Tensor) -> "Sides | None":
        """The sides among some names, on a face that looks along +z; None where there are none."""
        pairs = side_pairs(names)
        if not pairs:
            return None
        x = torch.from_numpy(topology.template[:, 0])
        middle = (x.min() + x.max()) / 2
        return Sides(pairs, (0.5 * (1 + torch.tanh((x - middle) / WIDTH_MM))).to(like))

    def of_left(self, weights: Float[Tensor, "time target"]) -> Float[Tensor, "time target"]:
        """What the left side does, on both."""
        return self._on_both(weights, from_left=True)

    def of_right(self, weights: Float[Tensor, "time target"]) -> Float[Tensor, "time target"]:
        """What the right side does, on both."""
        return self._on_both(weights, from_left=False)

    def _on_both(self, weights: Tensor, from_left: bool) -> Tensor:
        made = weights.clone()
        for left, right in self.pairs:
            source, target = (left, right) if from_left else (right, left)
            made[:, target] = weights[:, source]
        return made

    def join(
        self, left: Float[Tensor, "time vertex 3"], right: Float[Tensor, "time vertex 3"]
    ) -> Float[Tensor, "time vertex 3"]:
        """The left of one face and the right of another."""
        return right + self.left[:, None] * (left - right)


def side_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Rows of the names that are left and right of one shape, by Apple's names or ICT-FaceKit's.

    Examples
    --------
    >>> side_pairs(["eyeBlinkLeft", "jawLeft", "eyeBlinkRight", "jawRight", "cheekPuff"])
    ((0, 2),)
    >>> side_pairs(["mouthSmile_R", "mouthSmile_L", "mouthLeft", "mouthRight"])
    ((1, 0),)
    """
    rows = {name: row for row, name in enumerate(names)}
    found = []
    for name, row in rows.items():
        for left, right in _SIDES:
            shape = name.removesuffix(left)
            if shape not in (name, "") and shape not in _WHOLE and shape + right in rows:
                found.append((row, rows[shape + right]))
    return tuple(found)
