r"""Distribution functions of the normal in plain arithmetic, for formats such as ONNX that have no operation for them.

The Re-coupler (:mod:`meshdisent.nn.recoupler`) asks for :math:`\Phi`, :math:`\ln \Phi` and
:math:`\Phi^{-1}` in float64.

* :math:`\ln \mathrm{erfc}(z) = \ln t - z^2 + P(t)` with :math:`t = 2 / (2 + z)`, :math:`z \ge 0`, and :math:`P` a
  polynomial fitted here at Chebyshev nodes (the form is that of Press et al., Numerical Recipes, 3rd edition, 6.2.2).
* :math:`\Phi^{-1}` by the rational functions of Wichura, algorithm AS 241, Applied Statistics 37 (1988).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Values = Float[Tensor, "*shape"]
#: Degree of the polynomial that is fitted: 1e-10 of a logarithm. Each term is two operations in the exported file.
DEGREE = 14


def decompositions() -> dict[Any, Callable[..., Tensor]]:
    """What stands for each operation of torch that is no operation of ONNX."""
    aten = torch.ops.aten
    return {
        aten.special_ndtri.default: normal_quantile,
        aten.special_log_ndtr.default: log_normal_share,
        aten.special_ndtr.default: lambda value: torch.exp(log_normal_share(value)),
    }


def log_normal_share(value: Values) -> Values:
    """Logarithm of the share of a normal variable below a value."""
    far = value.abs() * 0.5**0.5
    t = 2 / (2 + far)
    log_tail = torch.log(t / 2) - far.square() + _polynomial(_coefficients(), 2 * t - 1)  # of the smaller side
    return torch.where(value < 0, log_tail, torch.log1p(-torch.exp(log_tail)))


def normal_quantile(share: Values) -> Values:
    """The value that a share of a normal variable is below; for shares of more than 0 and less than 1."""
    middle = share - 0.5
    near = 0.180625 - middle.square()
    tail = torch.sqrt(-torch.log(torch.minimum(share, 1 - share)))
    central, outer, far = (
        _polynomial(above, x) / _polynomial(below, x)
        for (above, below), x in ((_CENTRAL, near.clamp(min=0.0)), (_TAIL, tail - 1.6), (_FAR, tail - 5))
    )
    outer = torch.where(tail <= 5, outer, far)
    return torch.where(near >= 0, middle * central, torch.where(middle < 0, -outer, outer))


@lru_cache(maxsize=1)
def _coefficients() -> tuple[float, ...]:
    """Highest power first, in x from -1 to 1."""
    from scipy.special import erfcx

    # Chebyshev nodes, none of which is the end t = 0, z = infinity.
    nodes = np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
    t = (nodes + 1) / 2
    chebyshev = np.polynomial.chebyshev.chebfit(nodes, np.log(erfcx(2 / t - 2) / t), DEGREE)
    return tuple(np.polynomial.chebyshev.cheb2poly(chebyshev)[::-1].tolist())


def _polynomial(coefficients: tuple[float, ...], x: Values) -> Values:
    """Horner's sum. Numbers stay numbers: a traced function must not make tensors."""
    total = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        total = total * x + coefficient
    return total


# Highest power first; numerator, then denominator.
_CENTRAL = (
    (2.50908092873012267e3, 3.34305755835881281e4, 6.72657709270087009e4, 4.59219539315498715e4, 1.37316937655094611e4,
     1.97159095030655144e3, 1.33141667891784377e2, 3.38713287279636661e0),
    (5.22649527885285456e3, 2.87290857357219427e4, 3.93078958000927106e4, 2.12137943015865959e4, 5.39419602142475111e3,
     6.87187007492057908e2, 4.23133307016009113e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407e-4, 2.27238449892691846e-2, 2.41780725177450612e-1, 1.27045825245236838e0,
     3.64784832476320460e0, 5.76949722146069141e0, 4.63033784615654530e0, 1.42343711074968358e0),
    (1.05075007164441684e-9, 5.47593808499534495e-4, 1.51986665636164572e-2, 1.48103976427480075e-1,
     6.89767334985100005e-1, 1.67638483018380385e0, 2.05319162663775882e0, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813e-7, 2.71155556874348758e-5, 1.24266094738807844e-3, 2.65321895265761230e-2,
     2.96560571828504891e-1, 1.78482653991729133e0, 5.46378491116411437e0, 6.65790464350110378e0),
    (2.04426310338993979e-15, 1.42151175831644589e-7, 1.84631831751005468e-5, 7.86869131145613259e-4,
     1.48753612908506149e-2, 1.36929880922735805e-1, 5.99832206555887938e-1, 1.0),
)  # fmt: skip
