"""Faces at rest that somebody knows, as an array in the order of the subjects."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32

from meshdisent.errors import DataError


def truth_array(
    truth: Mapping[str, Float[np.ndarray, "..."]], subjects: Sequence[str], vertex_count: int
) -> Float32[np.ndarray, "subject vertex 3"]:
    """(S, V, 3) True neutrals in the order of the subject table, NaN where none is known."""
    found = np.full((len(subjects), vertex_count, 3), np.nan, np.float32)
    for name in truth:
        if name not in subjects:
            raise DataError(
                f"A true neutral was given for {name!r}, of whom there is no scan; give it under the name "
                "of a subject of the dataset."
            )
        if truth[name].shape != (vertex_count, 3) or not np.isfinite(truth[name]).all():
            raise DataError(
                f"The true neutral of {name!r} is {truth[name].shape}, or not finite; wanted "
                f"({vertex_count}, 3) finite millimeters."
            )
        found[subjects.index(name)] = truth[name]
    return found
