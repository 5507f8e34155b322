"""Parameters of LatentFace's networks by the recipe of the golden arrays, which store none.

Exact: all values are multiples of a power of two, computed from the parameter's published name and its shape.
"""

import zlib

import numpy as np
import torch
from torch import Tensor


def numbers(name: str, count: int) -> np.ndarray:
    """The first ``count`` numbers in [-1, 1) of the parameter ``<net>.<state-dict key>``."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(zlib.crc32(name.encode()))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    return ((x >> np.uint32(21)).astype(np.float64) - 1024) / 1024


def parameter(name: str, shape: tuple[int, ...]) -> Tensor:
    """One parameter in double precision."""
    u = numbers(name, int(np.prod(shape)))
    if len(shape) >= 2:
        u = u * 2.0 ** np.round(np.log2(np.sqrt(6 / np.prod(shape[1:]))))
    else:
        u = 1 + u / 4 if name.endswith("weight") else u / 8
    return torch.from_numpy(u).reshape(shape)


def state(net: str, keys: np.ndarray, shapes: np.ndarray) -> dict[str, Tensor]:
    """The published state dict of a network; shapes are (n, 4), zero padded."""
    sizes = [tuple(int(size) for size in shape if size) for shape in shapes]
    return {str(key): parameter(f"{net}.{key}", size) for key, size in zip(keys, sizes, strict=True)}
