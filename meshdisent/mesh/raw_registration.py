"""Registration of a raw scan that may show more than a face: hair, a collar, shoulders."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from meshdisent.errors import DataError
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.landmarks import Landmarks
from meshdisent.mesh.plane_fit import ShapePrior
from meshdisent.mesh.raw_surface import PART_LIMITS, find_face
from meshdisent.mesh.registration import RegistrationConfig, register
from meshdisent.mesh.registration_result import Registration, TooMuchLeft
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology


class RawFit(NamedTuple):
    """A registration, the part of the scan that it was made on, and the share of the scan that was cut off."""

    registration: Registration
    target: TargetSurface
    cut_share: float


def register_or_cut(
    topology: Topology,
    target: TargetSurface,
    config: RegistrationConfig | None = None,
    *,
    landmarks: Landmarks | None = None,
    starts: Sequence[Similarity] | None = None,
    prior: ShapePrior | None = None,
    may_cut: bool = True,
) -> RawFit:
    """Register, and once more without what lies beside the template where only that was too much.

    Where the fit failed because too little of the target lies on the template, what is far from where the template has
    come to rest is cut off, as from a scan that is much larger than the template, and the rest has to keep the limits
    of such a part (:data:`~meshdisent.mesh.raw_surface.PART_LIMITS`): most of the template on it, and nearly so while
    it is stiff. So a head with hair and a collar is met, and what was refused as no face still is.

    Raises
    ------
    RegistrationRefused : If both fits failed: the first refusal.
    DataError : As in ``register``.
    """
    config = config or RegistrationConfig()
    try:
        return RawFit(register(topology, target, config, landmarks=landmarks, starts=starts, prior=prior), target, 0.0)
    except TooMuchLeft as refused:
        if not may_cut:
            raise
        try:
            part = find_face(topology, target, refused.motion)
            limits = replace(config, limits=PART_LIMITS)
            found = register(topology, part.target, limits, landmarks=landmarks, starts=[part.pose], prior=prior)
        except DataError:  # what was wanted is what the first try missed
            raise refused from None
        return RawFit(found, part.target, part.cut_share)
