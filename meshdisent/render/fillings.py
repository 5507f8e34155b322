"""What lies behind the openings of a head: eyeballs where it has none, and the dark of a mouth, in every frame."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from meshdisent.mesh.openings import Painted, eyeball_behind, find_mouth_alone, find_openings, mouth_behind
from meshdisent.mesh.topology import Topology


@dataclass(frozen=True, eq=False)
class Fillings:
    """Surfaces behind the openings of heads of one topology.

    Attributes
    ----------
    eyes, mouth : Rims of openings that get an eyeball, and of those that get the inside of a mouth.
    faces : (F, 3) Of the head and what lies behind its openings.
    """

    eyes: tuple[Int[np.ndarray, " _"], ...]
    mouth: tuple[Int[np.ndarray, " _"], ...]
    faces: Int[np.ndarray, "face 3"]

    @classmethod
    def of(cls, topology: Topology) -> "Fillings":
        """Find the openings: two eyes and a mouth, or a mouth alone below the middle; nothing if there are others."""
        template, faces = np.asarray(topology.template), topology.faces
        found, alone = find_openings(template, faces), find_mouth_alone(template, faces)
        eyes = () if found is None else (found.left_eye, found.right_eye)
        mouth = (found.mouth,) if found is not None else () if alone is None else (alone,)
        empty = cls(eyes, mouth, faces)
        joined, begin = [faces], len(template)
        for part in empty.behind(template):
            joined.append(part.faces + begin)
            begin += len(part.vertices)
        return cls(eyes, mouth, np.concatenate(joined))

    def behind(self, vertices: Float[np.ndarray, "vertex 3"]) -> list[Painted]:
        """The surfaces behind the openings of one head."""
        return [eyeball_behind(vertices[rim]) for rim in self.eyes] + [
            mouth_behind(vertices[rim]) for rim in self.mouth
        ]

    def fill(self, heads: Float[np.ndarray, "head vertex 3"]) -> Float[np.ndarray, "head more 3"]:
        """Heads with what lies behind their openings; ``faces`` are theirs."""
        return np.stack([np.concatenate([head, *(part.vertices for part in self.behind(head))]) for head in heads])

    def color(
        self, colors: Float[np.ndarray, "vertex 3"], head: Float[np.ndarray, "vertex 3"]
    ) -> Float[np.ndarray, "more 3"]:
        """Colors of the head and of what lies behind."""
        return np.concatenate([colors, *(part.colors for part in self.behind(head))])
