"""The color of a face: skin, lips, brows, eyes and a few marks, drawn from a seed onto the vertices of a head.

Where lips, brows and eyes are is known on the chart of the synthetic head; other topologies take it over by a
resampling map. Faces are symmetric in color up to small marks, as LatentFace supposes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array

from meshdisent.data.synthetic_chart import (
    EYEBALL,
    INNER_LIP,
    IRIS,
    LID_MARGIN,
    MOUTH_CENTER,
    MOUTH_HALF_WIDTH,
    FaceChart,
    face_chart,
)

Share = Float[np.ndarray, " vertex"]
Color = Float[np.ndarray, "3"]

#: Skin from the lightest to the darkest, hair, and irises; red, green, blue from 0 to 1, without light.
_SKINS = np.array([[0.95, 0.80, 0.72], [0.90, 0.70, 0.58], [0.76, 0.55, 0.41], [0.55, 0.37, 0.26], [0.36, 0.24, 0.18]])
_HAIRS = np.array([[0.10, 0.08, 0.07], [0.22, 0.14, 0.09], [0.38, 0.25, 0.14], [0.58, 0.42, 0.25], [0.45, 0.43, 0.42]])
_IRISES = np.array([[0.25, 0.15, 0.09], [0.38, 0.27, 0.14], [0.30, 0.38, 0.27], [0.35, 0.47, 0.58]])
_SCLERA, _PUPIL, _IRIS_MM, _PUPIL_MM = np.array([0.90, 0.87, 0.85]), np.array([0.04, 0.04, 0.04]), 6.0, 2.4


@dataclass(frozen=True, eq=False, kw_only=True)
class FacePaint:
    """How much each vertex of a head belongs to what, and how to color it.

    Attributes
    ----------
    place : (V, 2) Place on the flat face, mm: outwards from the middle (signed), and up from between the eyes.
    lips, mouth, brows, lids, eyes : (V,) Shares from 0 to 1: the red of the lips, what lies inside the mouth, brows,
        the edges of the lids, eyeballs.
    gaze : (V,) Distance from the middle of the pupil, mm; only that of eyes counts.
    """

    place: Float[np.ndarray, "vertex 2"]
    lips: Share
    mouth: Share
    brows: Share
    lids: Share
    eyes: Share
    gaze: Share

    @classmethod
    def of_synthetic_head(cls, vertex_count: int) -> "FacePaint":
        """For a :class:`~meshdisent.data.synthetic.SyntheticHead` of that many vertices."""
        chart = face_chart(vertex_count)
        out, up = np.abs(chart.position[:, 0]), chart.position[:, 1]
        arch = 16.0 + 5.0 * np.exp(-(((out - 38.0) / 15.0) ** 2))
        thickness = 3.6 * _step(out, 8.0, 13.0) * (1 - _step(out, 38.0, 56.0)) + 1e-3
        is_skin = chart.kind < INNER_LIP
        return cls(
            place=chart.position,
            lips=_lips(chart) * is_skin,
            mouth=(chart.kind == INNER_LIP).astype(np.float64),
            brows=np.exp(-(((up - arch) / thickness) ** 4)) * is_skin,
            lids=np.maximum(chart.kind == LID_MARGIN, is_skin * np.exp(-((chart.lid_distance / 1.5) ** 2))),
            eyes=(chart.kind == EYEBALL).astype(np.float64),
            gaze=np.hypot(chart.ball[:, 0] - IRIS[0], chart.ball[:, 1] - IRIS[1]),
        )

    def carried(self, weights: csr_array) -> "FacePaint":
        """For another topology: each of its vertices is a mix of ours, (target, V) as a resampling map has it."""
        return FacePaint(**{name: weights @ values for name, values in vars(self).items()})

    def albedo(self, random: np.random.Generator) -> Float[np.ndarray, "vertex 3"]:
        """Draw the colors of one person, 0 to 1: what the face would look like in even light."""
        skin = _along(_SKINS, random.uniform()) * np.exp(random.normal(0, 0.04, 3))
        hair = _along(_HAIRS, random.uniform()) * np.exp(random.normal(0, 0.08))
        colors = np.broadcast_to(skin, (len(self.place), 3)) * np.exp(0.09 * self._blotches(random))[:, None]
        colors = self._blushed(colors, random)
        colors = self._bearded(colors, hair, random)
        colors = _mixed(
            colors, self.lips * random.uniform(0.5, 1.0), skin * random.uniform([0.75, 0.4, 0.42], [0.95, 0.6, 0.6])
        )
        colors = _mixed(colors, self.mouth, np.array([0.35, 0.14, 0.13]))
        colors = _mixed(colors, self.brows * random.uniform(0.5, 1.0), np.minimum(hair, skin * 0.6))
        colors = _mixed(colors, self.lids * 0.55, skin * np.array([0.6, 0.45, 0.42]))
        colors = _mixed(colors, self.eyes, self._eyeballs(random))
        return np.clip(self._marked(colors, random), 0.02, 1.0)

    def _blotches(self, random: np.random.Generator) -> Share:
        """Smooth symmetric unevenness of the skin, about standard normal."""
        out, up = np.abs(self.place[:, 0]), self.place[:, 1]
        waves = np.zeros(len(up))
        for _ in range(12):
            along_out, along_up = random.normal(0, 0.08, 2)
            waves += np.cos(along_out * out + along_up * up + random.uniform(0, 2 * np.pi))
        return waves / np.sqrt(6.0)

    def _blushed(self, colors: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Redder cheeks and nose."""
        out, up = np.abs(self.place[:, 0]), self.place[:, 1]
        cheeks = np.exp(-(((out - 42) / 20) ** 2) - ((up + 38) / 18) ** 2)
        nose = np.exp(-((out / 14) ** 2) - ((up + 38) / 10) ** 2)
        share = np.clip(cheeks + 0.7 * nose, 0, 1) * random.uniform(0.0, 0.35)
        return _mixed(colors, share, colors * np.array([1.08, 0.78, 0.76]))

    def _bearded(self, colors: np.ndarray, hair: Color, random: np.random.Generator) -> np.ndarray:
        """A shadow of a beard for some."""
        if random.uniform() > 0.3:
            return colors
        out, up = np.abs(self.place[:, 0]), self.place[:, 1]
        jaw = _step(-up, 70.0, 88.0) * (1 - 0.5 * _step(out, 70.0, 95.0))
        upper_lip = np.exp(-(((up + 53) / 5) ** 2)) * (1 - _step(out, 22.0, 32.0))
        share = np.clip(jaw + upper_lip, 0, 1) * (1 - self.lips) * random.uniform(0.1, 0.55)
        return _mixed(colors, share, 0.7 * hair + 0.1)

    def _eyeballs(self, random: np.random.Generator) -> np.ndarray:
        """Sclera, iris with a darker rim, and pupil."""
        iris = _along(_IRISES, random.uniform()) * np.exp(random.normal(0, 0.1))
        rim = 1 - 0.5 * _step(self.gaze, 0.7 * _IRIS_MM, _IRIS_MM)
        colors = np.broadcast_to(_SCLERA, (len(self.gaze), 3))
        colors = _mixed(colors, 1 - _step(self.gaze, _IRIS_MM - 0.6, _IRIS_MM + 0.6), iris * rim[:, None])
        return _mixed(colors, 1 - _step(self.gaze, _PUPIL_MM - 0.6, _PUPIL_MM + 0.6), _PUPIL)

    def _marked(self, colors: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """A few moles, which nobody has twice."""
        for _ in range(random.integers(0, 4)):
            where, radius = random.uniform([-70, -100], [70, 55]), random.uniform(1.5, 3.0)
            share = np.exp(-((self.place - where) ** 2).sum(1) / radius**2) * (1 - self.eyes) * 0.7
            colors = _mixed(colors, share, colors * 0.45)
        return colors


def _lips(chart: FaceChart) -> Share:
    """The red of the lips: about 8 mm above and 9 mm below the line where they meet, thinner towards the corners."""
    out, up = np.abs(chart.position[:, 0]), chart.position[:, 1] - MOUTH_CENTER
    reach = np.sqrt(np.clip(1 - (out / (MOUTH_HALF_WIDTH + 1.5)) ** 2, 0, 1))
    upper = (7.5 - 1.2 * np.exp(-((out / 3.5) ** 2))) * reach
    height = np.where(chart.side > 0, upper, 9.0 * reach)
    return 1 - _step(np.abs(up), height - 1.0, height + 1.0)


def _step(x: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """Rise smoothly from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _along(colors: Float[np.ndarray, "color 3"], share: float) -> Color:
    """A color between neighbors of a row."""
    at = share * (len(colors) - 1)
    return np.array([np.interp(at, range(len(colors)), channel) for channel in colors.T])


def _mixed(colors: np.ndarray, share: Share, other: np.ndarray) -> np.ndarray:
    return colors + np.clip(share, 0, 1)[:, None] * (other - colors)
