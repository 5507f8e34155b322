r"""How good a depth map is: scale-invariant error, angle between normals, plain errors (Unsup3D's benchmark).

Depth grows away from the viewer; the unit is that of the maps, and the scale-invariant error has none. All functions
take a batch (B, S, S) and give a number an image; means over images are the caller's, and no image without a valid
pixel is among them: it is an error.
"""

import numpy as np
from jaxtyping import Bool, Float

from meshdisent.errors import DataError

NEAR, FAR = 0.9, 1.1
#: A predicted depth from here on is background (Unsup3D clamps it to this).
BACKGROUND = 1.2
FIELD_OF_VIEW_DEGREES = 10.0
_EPSILON = 1e-7

Maps = Float[np.ndarray, "batch height width"]
Mask = Bool[np.ndarray, "batch height width"]


def depth_of_grey(grey: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    r"""Depth that is stored as a grey image, :math:`1.1 - 0.2 g`: 1 is near (0.9), 0 far (1.1) (Unsup3D's benchmark).

    Parameters
    ----------
    grey : From 0 to 1; the first channel of an 8-bit image, divided by 255.

    Raises
    ------
    DataError : If a value is outside 0 to 1.

    Examples
    --------
    >>> depth_of_grey(np.array([0, 255, 51], np.uint8) / 255).round(9).tolist()
    [1.1, 0.9, 1.06]
    """
    if grey.size and not (grey.min() >= 0 and grey.max() <= 1):
        raise DataError(
            f"Grey values from {grey.min():g} to {grey.max():g} were given; wanted 0 to 1. Divide 8-bit values by 255."
        )
    return FAR - (FAR - NEAR) * grey


def eroded(mask: Mask) -> Mask:
    """Keep pixels whose 3 x 3 neighborhood is valid throughout; beyond the border nothing is.

    Examples
    --------
    >>> eroded(np.ones((1, 3, 4), bool))[0].astype(int).tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    rows = padded[:, :-2] & padded[:, 1:-1] & padded[:, 2:]
    return rows[:, :, :-2] & rows[:, :, 1:-1] & rows[:, :, 2:]


def valid_pixels(predicted: Maps, truth: Maps, background: float = BACKGROUND) -> Mask:
    r"""Where both maps show the face: truth below its largest value in the batch, prediction below the background.

    Both are eroded by a pixel. The published rule takes the largest value over the batch, so an image alone in a batch,
    without any background, loses its farthest pixel; a mask of one's own avoids that.
    """
    return eroded(truth < truth.max()) & eroded(predicted < background)


def side(predicted: Maps, truth: Maps, mask: Mask) -> Float[np.ndarray, " batch"]:
    r"""Scale-invariant depth error (Eigen et al. 2014, as Unsup3D measures it), no unit.

    .. math:: \sqrt{\frac{1}{n} \sum_i (e_i - \bar e)^2}, \quad e_i = \log d_i - \log d^*_i

    Raises
    ------
    DataError : If an image has no valid pixel, or a depth that is not above 0.

    Examples
    --------
    >>> truth = np.ones((1, 1, 2))
    >>> mask = np.ones((1, 1, 2), bool)
    >>> side(7 * truth, truth, mask).tolist(), side(np.exp([[[0.0, 2.0]]]), truth, mask).tolist()
    ([0.0], [1.0])
    """
    for name, maps in (("predicted", predicted), ("true", truth)):
        if not (maps[mask] > 0).all():
            raise DataError(f"A {name} depth inside the mask is not above 0; wanted depths from the camera. Mask it.")
    # Outside the mask depths may be anything; 1 stands there, and is not counted.
    error = np.log(np.where(mask, predicted, 1.0)) - np.log(np.where(mask, truth, 1.0))
    mean = _masked_mean(error, mask)
    return np.sqrt(_masked_mean((error - mean[:, None, None]) ** 2, mask))


def mean_angle(
    first: Float[np.ndarray, "batch height width 3"], second: Float[np.ndarray, "batch height width 3"], mask: Mask
) -> Float[np.ndarray, " batch"]:
    r"""Mean angle between unit normals, :math:`\frac{1}{n} \sum_i \arccos \langle n_i, n^*_i \rangle`, degrees (MAD).

    Raises
    ------
    DataError : If an image has no valid pixel.

    Examples
    --------
    >>> ahead, aside = np.array([[[[0.0, 0, 1]]]]), np.array([[[[0.0, 1, 0]]]])
    >>> mean_angle(ahead, aside, np.ones((1, 1, 1), bool)).tolist()
    [90.0]
    """
    return _masked_mean(angles(first, second), mask)


def angles(
    first: Float[np.ndarray, "*pixels 3"], second: Float[np.ndarray, "*pixels 3"]
) -> Float[np.ndarray, "*pixels"]:
    """Angle between unit normals at each pixel, degrees."""
    cosine = np.einsum("...c,...c->...", first.astype(np.float64), second.astype(np.float64))
    return np.degrees(np.arccos(cosine.clip(-1.0, 1.0)))


def mean_absolute_error(predicted: Maps, truth: Maps, mask: Mask) -> Float[np.ndarray, " batch"]:
    """Mean of :math:`|d - d^*|` over valid pixels; raises :class:`DataError` if an image has none."""
    return _masked_mean(np.abs(predicted.astype(np.float64) - truth), mask)


def mean_square_error(predicted: Maps, truth: Maps, mask: Mask) -> Float[np.ndarray, " batch"]:
    """Mean of :math:`(d - d^*)^2` over valid pixels; raises :class:`DataError` if an image has none."""
    return _masked_mean((predicted.astype(np.float64) - truth) ** 2, mask)


def normals_of_depth(
    depth: Maps, field_of_view_degrees: float = FIELD_OF_VIEW_DEGREES
) -> Float[np.ndarray, "batch height width 3"]:
    r"""Unit normals of a depth map, from central differences of its points (Unsup3D).

    .. math:: n = \frac{m}{\lVert m \rVert + 10^{-7}}, \quad
        m = (P_{r, c+1} - P_{r, c-1}) \times (P_{r+1, c} - P_{r-1, c}), \quad P = d K^{-1} (c, r, 1)

    with focal length :math:`f = \frac{S - 1}{2} / \tan(\mathrm{FOV} / 2)` and the principal point in the middle of the
    pixel grid. x right, y down, z away from the viewer; a flat map has (0, 0, 1), and so have border pixels.

    Raises
    ------
    DataError : If the maps are no squares, or smaller than 2 x 2.

    Examples
    --------
    >>> normals_of_depth(np.ones((1, 3, 3)))[0, 1, 1].round(5).tolist()
    [0.0, 0.0, 1.0]
    """
    size = depth.shape[1]
    if depth.shape[2] != size or size < 2:
        raise DataError(f"Depth maps of {depth.shape[1:]} were given; wanted squares of at least 2 x 2. Crop them.")
    center = (size - 1) / 2
    focal = center / np.tan(np.radians(field_of_view_degrees) / 2)
    offset = (np.arange(size) - center) / focal
    x, y = np.meshgrid(offset, offset)
    points = depth[..., None].astype(np.float64) * np.stack([x, y, np.ones_like(x)], axis=-1)
    right = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    down = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    normal = np.zeros(points.shape)
    normal[..., 2] = 1.0
    normal[:, 1:-1, 1:-1] = np.cross(right, down)
    return normal / (np.linalg.norm(normal, axis=-1, keepdims=True) + _EPSILON)


def _masked_mean(values: Maps, mask: Mask) -> Float[np.ndarray, " batch"]:
    count = mask.sum(axis=(1, 2))
    if not count.all():
        raise DataError(
            f"Image {int(np.argmin(count))} of {len(count)} has no valid pixel; wanted at least one. Leave it out, or "
            "give it a mask."
        )
    return np.where(mask, values.astype(np.float64), 0.0).sum(axis=(1, 2)) / count
