r"""WSDF: identity and expression from subject labels alone (Li et al. 2024).

Two spiral encoders give the posteriors of an identity and an expression code; the Re-coupler fuses the codes and an MLP
generates the scan. A Neutral Bank holds each training subject's face at rest, and the identity code alone must generate
it. A hinge on the growth of the displacement along the expression code, and a compactness term on the identity code,
finish the separation.

.. math::
    X^r = G(R(z_{id}, z_{exp})), \quad X^n = G(R(z_{id}, 0)), \quad
    L = L_{rec} + L_{KL} + \lambda_{neu} L_{neu} + \lambda_{jac} L_{jac} + \lambda_{mi} L_{mi}

Two things are our own and off by default: a bank that starts from robust centers of the raw scans, and a linear start
(:class:`LinearStart`), beside which the networks learn the residual.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.pseudo_neutrals import pseudo_neutrals
from meshdisent.errors import RecipeError
from meshdisent.losses.shared import kl_divergence, reconstruction
from meshdisent.losses.wsdf import (
    compactness,
    displacement,
    jacobian_growth,
    jacobian_hinge,
    neutralization,
    published_pairing,
)
from meshdisent.mesh.spiral_hierarchy import spiral_hierarchy
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.contract import Batch, Codes, MorphableModel, Player
from meshdisent.morphable.linear_start import LinearStart
from meshdisent.morphable.wsdf_config import BankConfig, WSDFConfig
from meshdisent.nn.decoders import Generator, RecoupledDecoder
from meshdisent.nn.mixing import Pairs, draw_pairs, mix_people
from meshdisent.nn.neutral_bank import NeutralBank, confidence
from meshdisent.nn.normalization import Normalization
from meshdisent.nn.recoupler import Recoupler
from meshdisent.nn.spiral import SpiralEncoder
from meshdisent.nn.variational import reparameterize

if TYPE_CHECKING:
    from meshdisent.training.recipe import Recipe


class Posterior(NamedTuple):
    """Means and log-variances of both codes."""

    identity: tuple[Float[Tensor, "batch identity"], Float[Tensor, "batch identity"]]
    expression: tuple[Float[Tensor, "batch expression"], Float[Tensor, "batch expression"]]


class Noise(NamedTuple):
    """Standard normal numbers for one step, in the published order."""

    identity: Float[Tensor, "batch identity"]
    expression: Float[Tensor, "batch expression"]
    anchors: Float[Tensor, "anchor identity"]


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
    trainable: ClassVar[bool] = True
    config_class: ClassVar[type] = WSDFConfig
    training_only: ClassVar[tuple[str, ...]] = ("bank", "confidence")

    confidence: Tensor | None

    def __init__(
        self,
        config: WSDFConfig,
        topology: Topology,
        spirals: tuple[Tensor, ...],
        kept: tuple[Tensor, ...],
        normalization: Normalization,
    ):
        super().__init__(topology, config.identity_size, config.expression_size)
        self.config = config
        self.normalization = normalization
        self.identity_encoder = SpiralEncoder(config.encoder, config.identity_size, spirals, kept)
        self.expression_encoder = SpiralEncoder(config.encoder, config.expression_size, spirals, kept)
        self.decoder = RecoupledDecoder(
            Recoupler(config.identity_size, config.expression_size, config.fused_size, config.exact_recoupler),
            Generator(config.fused_size, config.hidden, topology.vertex_count),
        )
        self.linear_start: LinearStart | None = None
        self.bank: NeutralBank | None = None
        self.register_buffer("confidence", None)

    # Building

    @classmethod
    def for_training(cls, config: WSDFConfig, scans: ScanDataset) -> "WSDF":
        """An untrained model with normalization, bank and, if asked for, linear start from the training scans."""
        levels = spiral_hierarchy(scans.topology, **asdict(config.hierarchy))
        spirals = tuple(torch.from_numpy(order) for order in levels.spirals[:3])
        kept = tuple(torch.from_numpy(rows) for rows in levels.hierarchy.kept[:2])
        rows = scans.rows("train")
        model = cls(config, scans.topology, spirals, kept, Normalization.of(scans.vertices(rows), config.loss.space))
        counts = np.bincount(scans.subject[rows], minlength=len(scans.subjects))
        model.confidence = confidence(torch.from_numpy(counts), config.bank.confidence_shift)
        start = _bank_start(config.bank, scans, model.normalization)
        model.bank = NeutralBank(len(scans.subjects), start, config.bank.beta)
        if config.linear_start.is_on:
            sizes = config.identity_size, config.expression_size
            model.linear_start = LinearStart.of(scans, *sizes, config.linear_start)
            model.silence_networks()
        return model

    @classmethod
    def fit(cls, scans: ScanDataset, recipe: "Recipe | None" = None) -> "WSDF":
        """Train with a recipe (30 minutes with the defaults if none is given) and return the model."""
        from meshdisent.training.loop import run_recipe
        from meshdisent.training.recipe import Recipe

        recipe = recipe or Recipe.default(cls.name)
        if recipe.model != cls.name:
            raise RecipeError(
                f"WSDF.fit got a recipe of the model {recipe.model}; wanted a recipe whose model is wsdf."
            )
        result = run_recipe(recipe, scans).model
        assert isinstance(result, cls)
        return result

    @classmethod
    def from_parts(cls, config: dict[str, Any], topology: Topology, state: dict[str, Tensor]) -> "WSDF":
        """Build the model from a file's parts."""
        filled = WSDFConfig.from_plain(config)
        trunk = "identity_encoder.trunk"
        spirals = tuple(state[f"{trunk}.{stage}.conv.spirals"] for stage in (0, 2, 4))
        kept = tuple(state[f"{trunk}.{stage}.kept"] for stage in (1, 3))
        normalization = Normalization(state["normalization.mean"], state["normalization.deviation"])
        model = cls(filled, topology, spirals, kept, normalization)
        if filled.linear_start.is_on:
            model.linear_start = LinearStart.empty(topology.vertex_count, filled.identity_size, filled.expression_size)
        if "bank.entries" in state:
            model.bank = NeutralBank(len(state["bank.entries"]), state["bank.entries"], filled.bank.beta)
            model.confidence = state["confidence"].clone()
        model.load_state_dict(state)
        return model

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return asdict(self.config)

    def silence_networks(self) -> None:
        """Let the networks add nothing yet: with a linear start, training begins from exactly its codes and scans."""
        for encoder in (self.identity_encoder, self.expression_encoder):
            nn.init.zeros_(encoder.head.weight)
            nn.init.zeros_(encoder.head.bias)
            nn.init.constant_(encoder.head.bias[encoder.latent_size :], self.config.linear_start.log_variance)
        last = self.decoder.generator.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    # The contract

    def posterior(self, vertices: Float[Tensor, "batch vertex 3"]) -> Posterior:
        """Means and log-variances of both codes from scans in mm."""
        inputs = self.normalization(vertices)
        identity, expression = self.identity_encoder(inputs), self.expression_encoder(inputs)
        if self.linear_start is None:
            return Posterior(identity, expression)
        start = self.linear_start.encode(vertices)
        # Means that stay linear still have a variance of their own, so that the decoder learns to be smooth.
        mean = start.identity if self.is_identity_linear else identity[0] + start.identity
        return Posterior((mean, identity[1]), (expression[0] + start.expression, expression[1]))

    def encode(self, vertices: Float[Tensor, "batch vertex 3"]) -> Codes:
        """Codes of scans in mm: the means of the posteriors."""
        posterior = self.posterior(vertices)
        return Codes(posterior.identity[0], posterior.expression[0])

    def decode(self, codes: Codes) -> Float[Tensor, "batch vertex 3"]:
        """Scans in mm."""
        if self.linear_start is None:
            return self.normalization.undo(self.decoder(*codes))
        added = self.decoder(*codes)
        if self.is_identity_linear:
            added = added - self.decoder.neutral(codes.identity)
        # The networks' part is a displacement: it is scaled like a scan, but not moved.
        return self.linear_start.decode(codes) + added * self.normalization.deviation

    @property
    def is_identity_linear(self) -> bool:
        """Whether identity codes and neutrals are those of the linear start, untouched by the networks."""
        return self.linear_start is not None and self.config.linear_start.networks_change == "expression"

    def neutral(self, identity: Float[Tensor, "batch identity"]) -> Float[Tensor, "batch vertex 3"]:
        """Faces at rest, in mm: no expression is the zero code (WSDF, eq. 1)."""
        return self.decode(Codes(identity, identity.new_zeros(len(identity), self.expression_size)))

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
                },
            )
        ]

    def _draw_and_measure(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        share = self.config.mixing
        pairs = draw_pairs(batch.subject, share, generator) if share else None
        return self.objective(batch, self.draw_noise(len(batch.rows), generator), pairs)

    def draw_noise(self, scan_count: int, generator: torch.Generator) -> Noise:
        """Noise for one step: identity, expression, then the anchors' second draw."""
        shapes = (
            (scan_count, self.identity_size),
            (scan_count, self.expression_size),
            (scan_count // self.config.loss.group, self.identity_size),
        )
        like = self.identity_mean
        return Noise(*(torch.randn(s, generator=generator, device=generator.device).to(like) for s in shapes))

    def objective(self, batch: Batch, noise: Noise, pairs: Pairs | None = None) -> dict[str, Tensor]:
        """All terms of one step, unweighted; moves the bank towards the reconstructions (WSDF, eq. 3 to 8).

        ``pairs`` replaces scans by mixtures of two subjects; the bank does not follow those.
        """
        if self.bank is None or self.confidence is None:
            raise RecipeError(
                "This model has no Neutral Bank, which is kept in checkpoints only, so it cannot be trained. "
                "Continue its run with --resume, or train anew."
            )
        loss = self.config.loss
        shown, at_rest = batch.vertices, self.bank(batch.subject)
        is_own: Tensor | slice = slice(None)
        if pairs is not None:
            shown, at_rest = mix_people(shown, at_rest, self.normalization.mean, pairs)
            is_own = ~pairs.is_mixed
        posterior = self.posterior(shown)
        codes = Codes(
            reparameterize(*posterior.identity, noise.identity),
            reparameterize(*posterior.expression, noise.expression),
        )
        decoded = self.decode(codes)
        terms = {
            "reconstruction": reconstruction(*self._measured(decoded, shown)),
            "kl_identity": kl_divergence(*posterior.identity),
            "kl_expression": kl_divergence(*posterior.expression),
        }
        if loss.neutral or loss.displacement:
            faces = (*self._measured(decoded, shown), *self._measured(self.neutral(codes.identity), at_rest))
            alpha = self.confidence[batch.subject].to(decoded.dtype)
            terms |= {"neutral": neutralization(*faces[2:], alpha)} if loss.neutral else {}
            terms |= {"displacement": displacement(*faces)} if loss.displacement else {}
        if loss.compactness:
            anchors = len(noise.anchors)
            terms["compactness"] = compactness(
                posterior.identity[0][:anchors], posterior.identity[1][:anchors], noise.anchors
            )
        if loss.jacobian:
            terms["jacobian"] = self._jacobian(codes)
        self.bank.update(batch.subject[is_own], decoded.detach()[is_own])
        return terms

    def _measured(self, decoded: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Scans in the space of the losses, scaled so that sums there are what ``loss.space`` promises."""
        if self.config.loss.space == "standardized":
            return self.normalization(decoded), self.normalization(target)
        scale = self.topology.vertex_count**-0.5
        return decoded * scale, target * scale

    def _jacobian(self, codes: Codes) -> Float[Tensor, ""]:
        """The hinge on the growth of the displacement; no gradient to the encoders (WSDF, eq. 7)."""
        loss = self.config.loss
        identity, expression = codes.identity.detach(), codes.expression.detach()
        if loss.pairing == "published":
            identity = published_pairing(identity, loss.group)
        growth, square = jacobian_growth(lambda z_id, z_exp: self.decode(Codes(z_id, z_exp)), identity, expression)
        if loss.space == "millimeters":
            growth = growth / self.topology.vertex_count
        return jacobian_hinge(growth, square, loss.jacobian_upper, loss.jacobian_lower)


def _bank_start(config: BankConfig, scans: ScanDataset, normalization: Normalization) -> Tensor:
    """(V, 3) or (S, V, 3): where the bank's entries begin, in mm."""
    if config.start == "mean_scan":
        return normalization.mean
    centers = pseudo_neutrals(scans, config.start)
    rows = np.isnan(centers[:, 0, 0])
    centers[rows] = normalization.mean.double().numpy()  # subjects without training scans; never read
    return torch.from_numpy(centers).float()
