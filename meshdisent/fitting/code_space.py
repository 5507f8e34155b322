r"""A model's faces over one vector of standard normal numbers, and how they move with it.

With the means and factors of :class:`~meshdisent.morphable.contract.CodePrior`,

.. math:: z_{id} = \mu_{id} + F_{id} u_{id}, \qquad z_{exp} = \mu_{exp} + F_{exp} u_{exp}, \qquad u \sim N(0, I),

so that priors are the same for every model. The Jacobian is a central difference of single decodes: exact for a linear
model up to rounding, and within 0.1 % for wsdf-ict. Forward mode gives the same and costs 5 to 10 s in every process
that uses it first (torch 2.13), half of what a whole fit may take.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.errors import ModelFileError
from meshdisent.fitting.code_priors import prior_of
from meshdisent.morphable.contract import Codes, MorphableModel

#: Of the difference, in standard deviations: rounding of float32 and the third derivative are then both below 1e-3 mm.
STEP = 0.1
#: Misfit of a coordinate of a model whose card states no error.
USUAL_MISFIT_MM = 0.3
_LENGTH_OF_THREE = 1.596  # mean length of three standard normal numbers
_NUMBERS = 20_000_000  # coordinates that are decoded at once


class CodeSpace:
    """The faces of a model over standard normal numbers; see the module's first lines.

    Attributes
    ----------
    model : The model, in evaluation mode.
    size : Numbers, those of the identity first.
    """

    def __init__(self, model: MorphableModel):
        self.model = model.eval()
        prior = model.prior()
        self.identity_size = model.identity_size
        self.size = model.identity_size + model.expression_size
        self._mean = torch.cat([prior.identity_mean, prior.expression_mean])
        self._factor = torch.block_diag(prior.identity_factor, prior.expression_factor)
        self._linear: np.ndarray | None = None
        self.prior = prior_of(self.identity_size, self._examples())

    def _examples(self) -> np.ndarray | None:
        """Expressions of some training scans, in standard normal numbers."""
        prior = self.model.prior()
        if prior.expression_examples is None:
            return None
        away = (prior.expression_examples - prior.expression_mean).double()
        return torch.linalg.solve(prior.expression_factor.double(), away.T).T.cpu().numpy()

    @property
    def misfit_mm(self) -> float:
        """What codes leave of people that the model has not seen, a coordinate: by the error that its card states."""
        measured = self.model.card.metrics.get("E_avd")
        mean = measured.get("mean") if isinstance(measured, dict) else measured
        return float(mean) / _LENGTH_OF_THREE if isinstance(mean, int | float) else USUAL_MISFIT_MM

    def codes(self, numbers: Float[np.ndarray, "batch number"]) -> Codes:
        """The codes that rows of numbers stand for."""
        return self.codes_of(torch.from_numpy(np.ascontiguousarray(numbers)))

    def codes_of(self, numbers: Float[Tensor, "batch number"]) -> Codes:
        """The same for a tensor, through which gradients flow."""
        codes = self._mean + numbers.to(self._mean) @ self._factor.T
        return Codes(codes[:, : self.identity_size], codes[:, self.identity_size :])

    @torch.no_grad()
    def faces(self, numbers: Float[np.ndarray, "batch number"]) -> Float[np.ndarray, "batch vertex 3"]:
        """Faces in mm, in the model's frame.

        Raises
        ------
        ModelFileError : If a coordinate is not finite.
        """
        block = max(1, _NUMBERS // (3 * self.model.topology.vertex_count))
        found = [
            self.model.decode(self.codes(numbers[start : start + block])).double().cpu().numpy()
            for start in range(0, len(numbers), block)
        ]
        faces = np.concatenate(found)
        if not np.isfinite(faces).all():
            raise ModelFileError("The model gives coordinates that are not finite; wanted millimeters. Train it again.")
        return faces

    def face(self, numbers: Float[np.ndarray, " number"]) -> Float[np.ndarray, "vertex 3"]:
        """(V, 3) One face in mm."""
        return self.faces(numbers[None])[0]

    def jacobian(self, numbers: Float[np.ndarray, " number"]) -> Float[np.ndarray, "coordinate number"]:
        """(3V, K) How each coordinate moves with each number, mm a standard deviation."""
        if self._linear is not None:
            return self._linear
        steps = STEP * np.eye(self.size)
        ends = self.faces(np.concatenate([numbers + steps, numbers - steps])).reshape(2, self.size, -1)
        found = np.ascontiguousarray((ends[0] - ends[1]).T / (2 * STEP))
        if self.model.name == "linear":
            self._linear = found
        return found
