"""What a fit found: codes, the face in both frames, how well it explains the input, and how sure it is."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import gamma, norm

from meshdisent.errors import DataError, UsageError
from meshdisent.fitting.gauss_newton import State
from meshdisent.fitting.uncertainty import Draws, Posterior
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.contract import Codes


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """Distances between the input and the face, of what was trusted.

    Attributes
    ----------
    unit : ``mm`` or ``pixels``.
    median, mean, most : 95 % are below the last.
    explained : Share of the input that was trusted.
    """

    unit: str
    median: float
    mean: float
    most: float
    explained: float

    @classmethod
    def of(cls, distances: Float[np.ndarray, " measured"], unit: str, explained: float = 1.0) -> "Residuals":
        """Summarize; infinite if there are none."""
        if not len(distances):
            return cls(unit=unit, median=np.inf, mean=np.inf, most=np.inf, explained=0.0)
        median, most = np.quantile(distances, [0.5, 0.95])
        return cls(unit=unit, median=float(median), mean=float(distances.mean()), most=float(most), explained=explained)


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit:
    """A model fitted to a scan or to landmarks.

    Attributes
    ----------
    posterior : The optimum, and the Gaussian about it.
    residuals : How far the input lies from the face.
    noise : Of the input: the dial between data and prior, in the unit of the residuals.
    misses : (V,) How far from each vertex lies what was measured there, in the unit of the residuals; NaN elsewhere.
    """

    posterior: Posterior
    residuals: Residuals
    noise: float
    misses: Float[np.ndarray, " vertex"]

    @property
    def state(self) -> State:
        """Where the optimum is."""
        return self.posterior.state

    @property
    def codes(self) -> Codes:
        """(1, I) and (1, E)."""
        return self.posterior.space.codes(self.state.numbers[None])

    @property
    def motion(self) -> Similarity:
        """From the model's frame to that of the input."""
        return self.state.motion

    @property
    def misfit_mm(self) -> float:
        """What codes cannot say, root mean square of a coordinate, mm."""
        return self.posterior.misfit_mm

    @property
    def vertices(self) -> Float[np.ndarray, "vertex 3"]:
        """(V, 3) The face in the frame of the input, mm."""
        return self.motion.apply(self.state.vertices)

    @property
    def mesh(self) -> Mesh:
        """The face in the frame of the input, with the model's faces."""
        return Mesh(self.vertices, self.posterior.space.model.topology.faces)

    @property
    def in_model_frame(self) -> Mesh:
        """The face where the model's faces lie: a scan like any other."""
        return Mesh(self.state.vertices, self.posterior.space.model.topology.faces)

    @property
    def prior_cost(self) -> float:
        """Mean square of the whitened codes: 1 for a usual face, 0 for the mean face."""
        return float((self.state.numbers**2).mean())

    @cached_property
    def covariances(self) -> Float[np.ndarray, "vertex 3 3"]:
        """(V, 3, 3) Of the placed face along the axes of the input, mm^2."""
        return self.posterior.covariances()

    @property
    def deviation_mm(self) -> Float[np.ndarray, " vertex"]:
        """(V,) Root of the mean squared distance at which the true vertex is expected, mm."""
        return np.sqrt(np.trace(self.covariances, axis1=1, axis2=2))

    def radius_mm(self, level: float = 0.9) -> Float[np.ndarray, " vertex"]:
        """(V,) Within so many mm of each vertex lies the true one, with a probability.

        A squared Gaussian distance is taken to be gamma distributed, with its own mean and variance.
        """
        _check_level(level)
        mean = np.trace(self.covariances, axis1=1, axis2=2)
        variance = 2 * (self.covariances**2).sum(axis=(1, 2))
        return np.sqrt(gamma.ppf(level, mean**2 / variance, scale=variance / mean))

    def intervals(self, level: float = 0.9) -> tuple[Float[np.ndarray, "vertex 3"], Float[np.ndarray, "vertex 3"]]:
        """Lower and upper ends (V, 3) of the interval of each coordinate of the placed face, mm."""
        _check_level(level)
        half = norm.ppf((1 + level) / 2) * np.sqrt(np.einsum("vdd->vd", self.covariances)) * self.motion.scale
        return self.vertices - half, self.vertices + half

    def samples(self, count: int, generator: torch.Generator) -> Draws:
        """Draw faces that the input leaves possible."""
        return self.posterior.draw(count, generator)

    def numbers(self) -> dict[str, Any]:
        """Everything that is a number, as plain values."""
        residuals = {k: getattr(self.residuals, k) for k in ("unit", "median", "mean", "most", "explained")}
        radius = self.radius_mm()
        return {
            "residuals": residuals,
            "noise": self.noise,
            "misfit_mm": self.misfit_mm,
            "prior_cost": self.prior_cost,
            "scale": self.motion.scale,
            "rotation": self.motion.rotation.tolist(),
            "translation_mm": self.motion.translation.tolist(),
            "deviation_mm": {"mean": float(self.deviation_mm.mean()), "most": float(self.deviation_mm.max())},
            "radius_90_mm": {"mean": float(radius.mean()), "most": float(radius.max())},
        }


class FitRefused(DataError):
    """A fit that cannot be trusted, with what was found, to be drawn."""

    def __init__(self, message: str, fit: Fit):
        super().__init__(message)
        self.fit = fit


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UsageError(f"An interval of level {level:g} was asked for; wanted more than 0 and less than 1, like 0.9.")
