r"""WSDF: identity and expression from subject labels alone (Li et al. 2024).

Two spiral encoders give the posteriors of an identity and an expression code; the Re-coupler fuses the codes and an MLP
generates the scan. A Neutral Bank holds each training subject's face at rest, and the identity code alone must generate
it. A hinge on the growth of the displacement along the expression code, and a compactness term on the identity code,
finish the separation.

.. math::
    X^r = G(R(z_{id}, z_{exp})), \quad X^n = G(R(z_{id}, 0)), \quad
    L = L_{rec} + L_{KL} + \lambda_{neu} L_{neu} + \lambda_{jac} L_{jac} + \lambda_{mi} L_{mi}

Our own, and off by default: a bank that starts from robust centers of the raw scans; a linear start
(:class:`LinearStart`), beside which the networks learn the residual; training on people that nobody scanned
(:class:`SyntheticPeople`); and an encoder that looks at principal coordinates (:class:`PrincipalEncoder`).
"""

from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import RecipeError
from meshdisent.losses.shared import kl_divergence, reconstruction
from meshdisent.losses.wsdf import (
    compactness,
    consistency,
    displacement,
    growth_along,
    jacobian_growth,
    jacobian_hinge,
    neutralization,
    published_pairing,
)
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.contract import Batch, Codes, MorphableModel
from meshdisent.morphable.linear_start import LinearStart
from meshdisent.morphable.trainable import Player
from meshdisent.morphable.wsdf_beginning import Centers, Encoders, bank_from, bank_of, begin, decoder_of, encoders_from
from meshdisent.morphable.wsdf_config import WSDFConfig
from meshdisent.nn import processes
from meshdisent.nn.chebyshev import ChebyshevEncoder
from meshdisent.nn.decoders import AddedDecoder, RecoupledDecoder
from meshdisent.nn.mixing import draw_pairs, mix_people
from meshdisent.nn.neutral_bank import NeutralBank, PrincipalBank, confidence
from meshdisent.nn.normalization import Normalization
from meshdisent.nn.pointnet import PointScanEncoder
from meshdisent.nn.principal_encoder import PrincipalEncoder
from meshdisent.nn.side_by_side import side_by_side
from meshdisent.nn.spiral import SpiralEncoder
from meshdisent.nn.synthetic_people import SyntheticPeople
from meshdisent.nn.variational import reparameterize


class Posterior(NamedTuple):
    """Means and log-variances of both codes."""

    identity: tuple[Float[Tensor, "batch identity"], Float[Tensor, "batch identity"]]
    expression: tuple[Float[Tensor, "batch expression"], Float[Tensor, "batch expression"]]


class Noise(NamedTuple):
    """Standard normal numbers for one step, in the published order."""

    identity: Float[Tensor, "batch identity"]
    expression: Float[Tensor, "batch expression"]
    anchors: Float[Tensor, "anchor identity"]


class Seen(NamedTuple):
    """What a step looks at: scans, their subjects at rest, and which scans are those of the batch, unchanged."""

    scans: Float[Tensor, "batch vertex 3"]
    at_rest: Float[Tensor, "batch vertex 3"]
    is_own: Bool[Tensor, " batch"]


class StepFaces(NamedTuple):
    """Faces that the terms of one step look at, in mm; None where no term does."""

    decoded: Float[Tensor, "batch vertex 3"]
    neutral: Float[Tensor, "batch vertex 3"] | None
    #: Growth along the expression codes, in the unit of the hinge's slopes.
    growth: Float[Tensor, " batch"] | None


class WSDF(MorphableModel):
    """A disentangled morphable model that needs subject labels alone; see the module's first lines.

    Examples
    --------
    >>> model = WSDF.fit(scans, quick_recipe)
    >>> codes = model.encode(torch.from_numpy(scans.vertices(scans.rows("test"))))
    >>> model.neutral(codes.identity).shape == model.decode(codes).shape
    True
    """

    name: ClassVar[str] = "wsdf"
    shares_batches: ClassVar[bool] = True
    trainable: ClassVar[bool] = True
    config_class: ClassVar[type] = WSDFConfig
    training_only: ClassVar[tuple[str, ...]] = ("bank", "confidence", "people")

    confidence: Tensor | None

    identity_encoder: SpiralEncoder | ChebyshevEncoder | None
    expression_encoder: SpiralEncoder | ChebyshevEncoder | None
    principal_encoder: PrincipalEncoder | None
    point_encoder: PointScanEncoder | None
    decoder: RecoupledDecoder | AddedDecoder

    def __init__(
        self,
        config: WSDFConfig,
        topology: Topology,
        encoders: Encoders,
        normalization: Normalization,
    ):
        super().__init__(topology, config.identity_size, config.expression_size)
        self.config = config
        self.normalization = normalization
        self.identity_encoder, self.expression_encoder = encoders if isinstance(encoders, tuple) else (None, None)
        self.principal_encoder = encoders if isinstance(encoders, PrincipalEncoder) else None
        self.point_encoder = encoders if isinstance(encoders, PointScanEncoder) else None
        self.decoder = decoder_of(config, topology.vertex_count)
        self.linear_start: LinearStart | None = None
        self.people: SyntheticPeople | None = None
        self.bank: NeutralBank | PrincipalBank | None = None
        self.register_buffer("confidence", None)

    # Building

    @classmethod
    def for_training(cls, config: WSDFConfig, scans: ScanDataset) -> "WSDF":
        """An untrained model with normalization, bank and, if asked for, linear start from the training scans."""
        rows = scans.rows("train")
        normalization = Normalization.of_blocks(lambda: scans.in_blocks(rows), config.loss.space)
        counts = np.bincount(scans.subject[rows], minlength=len(scans.subjects))
        centers = Centers(scans)
        people, start, encoders = begin(config, centers)
        model = cls(config, scans.topology, encoders, normalization)
        model.confidence = confidence(torch.from_numpy(counts), config.bank.confidence_shift)
        model.bank = bank_of(config.bank, centers, normalization)
        if start is not None:
            model.people, model.linear_start = people, start
            model.silence_networks()
        return model

    @classmethod
    def from_parts(cls, config: dict[str, Any], topology: Topology, state: dict[str, Tensor]) -> "WSDF":
        """Build the model from a file's parts."""
        filled = WSDFConfig.from_plain(config)
        normalization = Normalization(state["normalization.mean"], state["normalization.deviation"])
        model = cls(filled, topology, encoders_from(state, filled), normalization)
        if filled.linear_start.is_on:
            parts = {k.removeprefix("linear_start."): v for k, v in state.items() if k.startswith("linear_start.")}
            expressions = filled.linear_start.expressions
            model.linear_start = LinearStart.from_state(parts, filled.identity_size, topology, expressions)
        if "bank.entries" in state or "bank.coordinates" in state:
            model.bank = bank_from(state, filled.bank.beta)
            model.confidence = state["confidence"].clone()
        model.load_state_dict(state)
        return model

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return asdict(self.config)

    def silence_networks(self) -> None:
        """Let the networks add nothing yet: with a linear start, training begins from exactly its codes and scans."""
        pair = self.identity_encoder, self.expression_encoder
        for encoder in (*pair, self.principal_encoder, self.point_encoder):
            if encoder is not None:
                encoder.silence(self.config.linear_start.log_variance)
        self.decoder.silence()

    # The contract

    def posterior(self, vertices: Float[Tensor, "batch vertex 3"]) -> Posterior:
        """Means and log-variances of both codes from scans in mm."""
        identity, expression = self._network_posterior(vertices)
        if self.linear_start is None:
            return Posterior(identity, expression)
        start = self.linear_start.encode(vertices)
        # Means that stay linear still have a variance of their own, so that the decoder learns to be smooth.
        is_linear = self.config.linear_start.networks_change == "expression"
        mean = start.identity if is_linear else identity[0] + start.identity
        return Posterior((mean, identity[1]), (expression[0] + start.expression, expression[1]))

    def _network_posterior(self, vertices: Float[Tensor, "batch vertex 3"]) -> Posterior:
        together = self.principal_encoder or self.point_encoder
        if together is not None:
            return Posterior(*together(vertices))
        assert self.identity_encoder is not None
        assert self.expression_encoder is not None
        inputs = self.normalization(vertices)
        identity, expression = side_by_side([self.identity_encoder, self.expression_encoder], inputs)
        return Posterior((identity[0], identity[1]), (expression[0], expression[1]))

    def encode(self, vertices: Float[Tensor, "batch vertex 3"]) -> Codes:
        """Codes of scans in mm: the means of the posteriors."""
        posterior = self.posterior(vertices)
        return Codes(posterior.identity[0], posterior.expression[0])

    def decode(self, codes: Codes) -> Float[Tensor, "batch vertex 3"]:
        """Scans in mm."""
        self.check_codes(codes)
        if self.linear_start is None:
            return self.normalization.undo(self.decoder(*codes))
        if self.is_neutral_linear:
            return self.linear_start.neutral(codes.identity) + self.displacement(codes)
        # The networks' part is a displacement: it is scaled like a scan, but not moved.
        return self.linear_start.decode(codes) + self.decoder(*codes) * self.normalization.deviation

    @property
    def is_neutral_linear(self) -> bool:
        """Whether the neutral of an identity code is that of the linear start, untouched by the networks."""
        return self.linear_start is not None and self.config.linear_start.networks_change != "everything"

    def neutral(self, identity: Float[Tensor, "batch identity"]) -> Float[Tensor, "batch vertex 3"]:
        """Faces at rest, in mm: no expression is the zero code (WSDF, eq. 1)."""
        self.check_code("identity", identity)
        if self.linear_start is not None and self.is_neutral_linear:
            return self.linear_start.neutral(identity)
        return self.decode(Codes(identity, identity.new_zeros(len(identity), self.expression_size)))

    def displacement(self, codes: Codes) -> Float[Tensor, "batch vertex 3"]:
        """How far each expression moves its face from rest, in mm: ``decode(codes) - neutral(codes.identity)``."""
        if self.linear_start is None or not self.is_neutral_linear:
            return self.decode(codes) - self.neutral(codes.identity)
        added = self.decoder.displacement(*codes)
        return self.linear_start.displacement(codes, added * self.normalization.deviation)

    def expression_only(self, expression: Float[Tensor, "batch expression"]) -> Float[Tensor, "batch vertex 3"]:
        """Expressions on the identity code zero, in mm (as published)."""
        return self.decode(Codes(expression.new_zeros(len(expression), self.identity_size), expression))

    # Training

    def calibrate(
        self, scans: ScanDataset, pseudo_neutrals: Float[np.ndarray, "subject vertex 3"] | None = None
    ) -> None:
        """As in the contract; subjects without a known neutral are measured from their entry in the bank."""
        if pseudo_neutrals is None and self.bank is not None:
            pseudo_neutrals = self.bank.entries.double().cpu().numpy()
        super().calibrate(scans, pseudo_neutrals)

    def players(self) -> list[Player]:
        """One player: all weights, all five losses."""
        weights = self.config.loss
        return [
            Player(
                name="wsdf",
                parameters=self.parameters,
                objective=self._draw_and_measure,
                weights={
                    "reconstruction": weights.reconstruction,
                    "kl_identity": weights.kl,
                    "kl_expression": weights.kl,
                    "neutral": weights.neutral,
                    "jacobian": weights.jacobian,
                    "compactness": weights.compactness,
                    "displacement": weights.displacement,
                    "consistency": weights.consistency,
                },
            )
        ]

    def _draw_and_measure(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        seen = self._replace(batch, generator)
        noise = self.draw_noise(len(batch.rows) * processes.count(), generator)
        own = Noise(processes.part(noise.identity), processes.part(noise.expression), noise.anchors)
        return self.objective(batch, own, seen)

    def _replace(self, batch: Batch, generator: torch.Generator) -> Seen | None:
        """Other people in place of some of a batch, where the recipe wants that."""
        if self.bank is None or not (self.config.mixing or self.config.people.share):
            return None
        at_rest = self.bank(batch.subject)
        if self.config.mixing:
            subjects = processes.whole(batch.subject)
            pairs = draw_pairs(subjects, self.config.mixing, generator)
            scans, everyone = processes.whole(batch.vertices), self.bank(subjects)
            mixed = (*mix_people(scans, everyone, self.normalization.mean, pairs), ~pairs.is_mixed)
            return Seen(*(processes.part(value) for value in mixed))
        assert self.people is not None
        share, group = self.config.people.share, self.config.loss.group if self.config.loss.consistency else 1
        scans, rest, is_new = self.people.replace(batch.vertices, at_rest, share, generator, group)
        return Seen(scans, rest, ~is_new)

    def draw_noise(self, scan_count: int, generator: torch.Generator) -> Noise:
        """Noise for one step of a whole batch: identity, expression, then the anchors' second draw."""
        shapes = (
            (scan_count, self.identity_size),
            (scan_count, self.expression_size),
            (scan_count // self.config.loss.group, self.identity_size),
        )
        like = self.identity_mean
        return Noise(*(torch.randn(s, generator=generator, device=generator.device).to(like) for s in shapes))

    def objective(self, batch: Batch, noise: Noise, seen: Seen | None = None) -> dict[str, Tensor]:
        """All terms of one step, unweighted; moves the bank towards the reconstructions (WSDF, eq. 3 to 8).

        ``seen`` is looked at instead of the batch's own scans; the bank does not follow what was changed.
        """
        if self.bank is None or self.confidence is None:
            raise RecipeError(
                "This model has no Neutral Bank, which is kept in checkpoints only, so it cannot be trained. "
                "Continue its run with --resume, or train anew."
            )
        loss = self.config.loss
        if seen is None:
            seen = Seen(batch.vertices, self.bank(batch.subject), torch.ones_like(batch.subject, dtype=torch.bool))
        posterior = self.posterior(seen.scans)
        codes = Codes(
            reparameterize(*posterior.identity, noise.identity),
            reparameterize(*posterior.expression, noise.expression),
        )
        decoded, neutral, growth = self._faces(codes)
        terms = {
            "reconstruction": reconstruction(*self._measured(decoded, seen.scans)),
            "kl_identity": kl_divergence(*posterior.identity),
            "kl_expression": kl_divergence(*posterior.expression),
        }
        if neutral is not None:
            faces = (*self._measured(decoded, seen.scans), *self._measured(neutral, seen.at_rest))
            alpha = self.confidence[batch.subject].to(decoded.dtype)
            terms |= {"neutral": neutralization(*faces[2:], alpha)} if loss.neutral else {}
            terms |= {"displacement": displacement(*faces)} if loss.displacement else {}
            terms |= {"consistency": consistency(faces[2], loss.group)} if loss.consistency else {}
        if loss.compactness:
            anchors = len(noise.anchors)
            mean, log_variance = (processes.whole(value)[:anchors] for value in posterior.identity)
            terms["compactness"] = compactness(mean, log_variance, noise.anchors)
        if growth is not None:
            square = codes.expression.detach().square().sum(dim=1)
            terms["jacobian"] = jacobian_hinge(growth, square, loss.jacobian_upper, loss.jacobian_lower)
        is_own = processes.whole(seen.is_own)
        self.bank.update(processes.whole(batch.subject)[is_own], processes.whole(decoded.detach())[is_own])
        return terms

    @property
    def _needs_neutral(self) -> bool:
        return bool(self.config.loss.neutral or self.config.loss.displacement or self.config.loss.consistency)

    def _measured(self, decoded: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Scans in the space of the losses, scaled so that sums there are what ``loss.space`` promises."""
        if self.config.loss.space == "standardized":
            return self.normalization(decoded), self.normalization(target)
        scale = self.topology.vertex_count**-0.5
        return decoded * scale, target * scale

    def _faces(self, codes: Codes) -> StepFaces:
        """Everything that the terms of one step look at."""
        has_neutral = self._needs_neutral
        pairs = self._jacobian_pairs(codes) if self.config.loss.jacobian else None
        if self.linear_start is None:
            found = self.decoder.all_at_once(*codes, has_neutral, pairs)
            neutral = None if found.neutral is None else self.normalization.undo(found.neutral)
            growth = None
            if found.displacement is not None and found.directional is not None:
                scale = self.normalization.deviation
                growth = self._growth(growth_along(found.displacement * scale, found.directional * scale))
            return StepFaces(self.normalization.undo(found.shown), neutral, growth)
        neutral = self.neutral(codes.identity) if has_neutral else None
        if neutral is not None and self.is_neutral_linear:
            decoded = neutral + self.displacement(codes)  # the neutral is there already
        else:
            decoded = self.decode(codes)
        growth = None
        if pairs is not None:
            growth = self._growth(jacobian_growth(lambda z_id, z_exp: self.decode(Codes(z_id, z_exp)), *pairs)[0])
        return StepFaces(decoded, neutral, growth)

    def _jacobian_pairs(self, codes: Codes) -> Codes:
        """The codes that meet in the hinge; no gradient to the encoders (WSDF, eq. 7)."""
        identity, expression = codes.identity.detach(), codes.expression.detach()
        if self.config.loss.pairing == "published":
            identity = processes.part(published_pairing(processes.whole(identity), self.config.loss.group))
        return Codes(identity, expression)

    def _growth(self, growth: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Growth in the unit of the slopes, from mm^2 summed over the vertices."""
        return growth / self.topology.vertex_count if self.config.loss.space == "millimeters" else growth
