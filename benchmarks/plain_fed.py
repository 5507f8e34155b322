"""FED's networks written densely: what the library's own step is measured against.

Every shared layer on every point, batch norm by torch's own module, then the maximum over the points, each with its
graph: the gradient goes back through 1,024 channels of all points, though at most 1,024 of them have one.
"""

from types import MethodType

import torch
from torch import Tensor

from meshdisent.morphable.fed import FED
from meshdisent.nn.point_features import PointFeatures


def densely(model: FED) -> FED:
    """Let the networks of a model work densely from now on; weights and everything else stay."""
    for module in model.modules():
        if isinstance(module, PointFeatures):
            module.forward = MethodType(_normalized, module)  # type: ignore[method-assign]
            module.plain = MethodType(_plain, module)  # type: ignore[method-assign]
    return model


def _normalized(features: PointFeatures, points: Tensor) -> Tensor:
    rows = points.flatten(0, 1)
    for linear, norm in zip(features.linears, features.norms, strict=True):
        rows = torch.relu(norm(linear(rows)))
    return rows.unflatten(0, points.shape[:2]).amax(dim=1)


def _plain(features: PointFeatures, points: Tensor) -> Tensor:
    for linear in features.linears:
        points = torch.relu(linear(points))
    return points.amax(dim=1)
