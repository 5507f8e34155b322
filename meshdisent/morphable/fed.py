r"""FED: identity and expression as two offsets from the mean face, told apart by a discriminator (Sun et al. 2023).

A point encoder gives the posteriors of both codes, two decoders turn each into an offset, and the offsets are added to
the mean face. A discriminator looks at the scan beside its decoded neutral and says whether they are one person; it
learns alone first, on pairs of scans, and then against the decoder. Decoded neutrals are to give back their own code,
to be smooth and, where neutrals are known, to be like them.

.. math::
    \hat X = m + D_{id}(z_{id}) + D_{exp}(z_{exp}), \quad X^n = m + D_{id}(z_{id}), \quad
    L = \lambda_1 L_{rec} + \lambda_2 L_{KL}^{id} + \lambda_3 L_{KL}^{exp} + \lambda_4 L_{adv} + \lambda_7 L_{lat} +
    \lambda_8 L_{lap}

Everything happens in unit coordinates: mm divided by one length. One step, as in the published program: the pass of all
scans in training mode; the discriminator moves, on true pairs and decoded ones; the faces move, against the
discriminator that has just moved.
"""

from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import RecipeError
from meshdisent.losses import fed as losses
from meshdisent.mesh.laplacian import LAPLACIANS
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.contract import Batch, Codes, Companions, MorphableModel
from meshdisent.morphable.encoder_pairs import EncoderPair, pair_from, untrained_pair
from meshdisent.morphable.fed_beginning import check_scans, measure, spread_about
from meshdisent.morphable.fed_config import FEDConfig
from meshdisent.morphable.trainable import Phase, Player
from meshdisent.nn.additive import AdditiveDecoder
from meshdisent.nn.decoders import Generator, RecoupledDecoder
from meshdisent.nn.discriminator import IdentityDiscriminator
from meshdisent.nn.normalization import UnitCoordinates
from meshdisent.nn.pointnet import PointEncoder
from meshdisent.nn.recoupler import Recoupler
from meshdisent.nn.variational import reparameterize

#: Of its random start, how much a decoder that begins near the mean face keeps: a hundredth is 0.3 mm on a head.
NEAR = 0.01


class Noise(NamedTuple):
    """Random numbers of one step: standard normal for the codes; dropout's factors for both passes of pairs."""

    identity: Float[Tensor, "batch identity"]
    expression: Float[Tensor, "batch expression"]
    identity_again: Float[Tensor, "batch identity"]
    keep_pairs: Float[Tensor, "pair hidden"] | None
    keep_decoded: Float[Tensor, "batch hidden"] | None


class Seen(NamedTuple):
    """The pass of a batch through encoder and decoder, which both players look at; in unit coordinates."""

    batch: Batch
    noise: Noise
    scans: Float[Tensor, "batch vertex 3"]
    identity: tuple[Float[Tensor, "batch identity"], Float[Tensor, "batch identity"]]
    expression: tuple[Float[Tensor, "batch expression"], Float[Tensor, "batch expression"]]
    codes: Codes
    identity_offset: Float[Tensor, "batch vertex 3"]
    expression_offset: Float[Tensor, "batch vertex 3"]
    neutral: Float[Tensor, "batch vertex 3"]


class FED(MorphableModel):
    """A disentangled morphable model with an identity discriminator; see the module's first lines.

    Examples
    --------
    >>> from meshdisent.training.recipe import read_recipe
    >>> small = ["config.identity_size=4", "config.encoder.channels=[8, 16]", "config.discriminator.is_used=false"]
    >>> model = FED.fit(scans, read_recipe("fed", [*small, "training.minutes=null", "training.steps=2"]))
    >>> codes = model.encode(torch.from_numpy(scans.vertices(scans.rows("test"))))
    >>> model.neutral(codes.identity).shape == model.decode(codes).shape
    True
    """

    name: ClassVar[str] = "fed"
    trainable: ClassVar[bool] = True
    config_class: ClassVar[type] = FEDConfig
    training_only: ClassVar[tuple[str, ...]] = ("discriminator",)

    mean: Tensor
    laplacian: Tensor | None

    def __init__(
        self,
        config: FEDConfig,
        topology: Topology,
        coordinates: UnitCoordinates,
        mean: Float[Tensor, "vertex 3"],
        encoder: PointEncoder | EncoderPair | None = None,
    ):
        super().__init__(topology, config.identity_size, config.expression_size)
        self.config = config
        self.coordinates = coordinates
        self.register_buffer("mean", mean.clone())
        sizes = config.identity_size, config.expression_size
        self.encoder = PointEncoder(config.encoder, *sizes) if encoder is None else encoder
        self.decoder: AdditiveDecoder | RecoupledDecoder
        if config.decoder == "additive":
            self.decoder = AdditiveDecoder(*sizes, config.hidden, topology.vertex_count)
        else:
            generator = Generator(config.fused_size, config.hidden, topology.vertex_count)
            self.decoder = RecoupledDecoder(Recoupler(*sizes, config.fused_size), generator)
        self.discriminator: IdentityDiscriminator | None = None
        self.scan_count = 0
        self.register_buffer("laplacian", None, persistent=False)

    # Building

    @classmethod
    def for_training(cls, config: FEDConfig, scans: ScanDataset) -> "FED":
        """An untrained model with the mean face and the unit of the training scans.

        Raises
        ------
        DataError : If a discriminator is to tell people apart and there is one subject only.
        RecipeError : If known neutrals are asked for and the dataset does not know them all.
        """
        check_scans(config, scans)
        coordinates, mean = measure(scans, config.scale_mm)
        encoder = None
        if config.encoders != "point":
            sizes = config.identity_size, config.expression_size
            pair = untrained_pair(config.pair_widths, sizes, config.hierarchy, scans.topology)
            encoder = EncoderPair(pair, mean, spread_about(mean, scans, coordinates))
        model = cls(config, scans.topology, coordinates, mean, encoder)
        if config.start == "mean_face":
            model.decoder.shrink(NEAR)
        model.scan_count = config.loss.bottleneck.scan_count or len(scans.rows("train"))
        if config.discriminator.is_used:
            model.discriminator = IdentityDiscriminator(config.discriminator.network)
        if config.loss.roughness:
            model.use_laplacian()
        return model

    @classmethod
    def from_parts(cls, config: dict[str, Any], topology: Topology, state: dict[str, Tensor]) -> "FED":
        """Build the model from a file's parts; the discriminator is in checkpoints only."""
        filled = FEDConfig.from_plain(config)
        coordinates = UnitCoordinates(state["coordinates.origin"], state["coordinates.scale"])
        encoder = None
        if filled.encoders != "point":
            sizes = filled.identity_size, filled.expression_size
            pair = pair_from(state, "encoder.identity.", filled.pair_widths, sizes)
            encoder = EncoderPair(pair, state["encoder.mean"], state["encoder.deviation"])
        model = cls(filled, topology, coordinates, state["mean"], encoder)
        if any(name.startswith("discriminator.") for name in state):
            model.discriminator = IdentityDiscriminator(filled.discriminator.network)
        model.load_state_dict(state)
        return model

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return asdict(self.config)

    def use_laplacian(self) -> None:
        """Measure the mesh for the term that wants neutrals smooth; it follows from the topology, so no file has it."""
        rows = LAPLACIANS[self.config.loss.laplacian](self.topology).tocoo()
        places = torch.from_numpy(np.stack(rows.coords).astype(np.int64))
        values = torch.from_numpy(rows.data).float()
        self.laplacian = torch.sparse_coo_tensor(places, values, rows.shape, is_coalesced=True, check_invariants=True)

    # The contract

    def encode(self, vertices: Float[Tensor, "batch vertex 3"]) -> Codes:
        """Codes of scans in mm: the means of the posteriors."""
        (identity, _), (expression, _) = self.encoder(self.coordinates(vertices))
        return Codes(identity, expression)

    def decode(self, codes: Codes) -> Float[Tensor, "batch vertex 3"]:
        """Scans in mm: the mean face and both offsets."""
        self.check_codes(codes)
        return self.coordinates.undo(self.mean + self.decoder(*codes))

    def neutral(self, identity: Float[Tensor, "batch identity"]) -> Float[Tensor, "batch vertex 3"]:
        """Faces at rest, in mm: the mean face and the identity offset.

        With the additive decoder they are not those of a zero expression code.
        """
        self.check_code("identity", identity)
        return self.coordinates.undo(self.mean + self.decoder.neutral(identity))

    def expression_only(self, expression: Float[Tensor, "batch expression"]) -> Float[Tensor, "batch vertex 3"]:
        """Expressions on the mean face, in mm (as published); on the identity code zero with the recoupled decoder."""
        self.check_code("expression", expression)
        if isinstance(self.decoder, RecoupledDecoder):
            return self.decode(Codes(expression.new_zeros(len(expression), self.identity_size), expression))
        return self.coordinates.undo(self.mean + self.decoder.expression_only(expression))

    # Training

    def cautions(self) -> list[str]:
        """That a discriminator is pre-trained as another function than it is used as, where that is so."""
        chosen = self.config.discriminator
        if not chosen.is_pretrained or chosen.is_regularized:
            return []
        return [
            "The discriminator is pre-trained with batch norm and dropout and then used without, as published: the "
            "same weights mean another function there, so much of what it learned is lost. "
            "Set config.discriminator.is_regularized to true to go on with both."
        ]

    def phases(self) -> list[Phase]:
        """Pre-training of the discriminator where the configuration wants it, then both players."""
        chosen, loss = self.config.discriminator, self.config.loss
        joint = Phase(
            name="joint training" if chosen.is_pretrained else "training",
            players=self.players(),
            look=self._draw_and_look,
            companions=Companions(
                partner="same_subject" if chosen.is_used else "none",
                neutral=loss.needs_neutrals,
                at_rest=loss.divergence == "bottleneck",
            ),
        )
        if not chosen.is_pretrained:
            return [joint]
        before = Phase(
            name="pre-training of the discriminator",
            players=[
                Player(
                    name="pretraining",
                    parameters=self._discriminator.parameters,
                    objective=self.tell_scans_apart,
                    weights={"pairs": 1.0},
                    learning_rate=chosen.pretraining_rate,
                    weight_decay=0.0,
                    buffers=self._discriminator.buffers,
                )
            ],
            companions=Companions(partner="coin"),
            steps=chosen.pretraining_steps,
            epochs=chosen.pretraining_epochs,
            has_constant_rate=True,
        )
        return [before, joint]

    def players(self) -> list[Player]:
        """The discriminator, if there is one, then encoder and decoder."""
        loss = self.config.loss
        faces = Player(
            name="faces",
            parameters=lambda: [*self.encoder.parameters(), *self.decoder.parameters()],
            objective=self.make_faces,
            weights={
                "reconstruction": loss.reconstruction,
                "neutral": loss.reconstruction * loss.neutral,
                "expression": loss.reconstruction * loss.expression,
                "kl_identity": loss.kl_identity,
                "kl_expression": loss.kl_expression,
                "adversarial": loss.adversarial if self.config.discriminator.is_used else 0.0,
                "latent": loss.latent,
                "roughness": loss.roughness,
            },
            # The pass through the discriminator moves its running statistics, too.
            buffers=lambda: [*self.encoder.buffers(), *(self.discriminator or nn.Identity()).buffers()],
        )
        if not self.config.discriminator.is_used:
            return [faces]
        judge = Player(
            name="discriminator",
            parameters=self._discriminator.parameters,
            objective=self.tell_decoded_apart,
            weights={"pairs": 1.0},
            learning_rate=self.config.discriminator.learning_rate,
            weight_decay=0.0,
            buffers=self._discriminator.buffers,
        )
        return [judge, faces]

    def tell_scans_apart(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The discriminator's loss on pairs of scans, before joint training: with batch norm and dropout."""
        assert batch.partner is not None
        assert batch.is_same is not None
        pairs = self._pairs(self.coordinates(batch.vertices), self.coordinates(batch.partner))
        logits = self._discriminator.regularized(pairs, self._draw_keep(len(pairs), generator))
        return _verdict(logits, batch.is_same)

    def draw_noise(self, scan_count: int, generator: torch.Generator) -> Noise:
        """Noise for one step of joint training."""
        sizes = (self.identity_size, self.expression_size, self.identity_size)
        like = self.identity_mean
        drawn = (torch.randn(scan_count, size, generator=generator, device=generator.device).to(like) for size in sizes)
        chosen = self.config.discriminator
        has_dropout = chosen.is_used and chosen.is_regularized
        keep = (self._draw_keep(n, generator) if has_dropout else None for n in (2 * scan_count, scan_count))
        return Noise(*drawn, *keep)

    def _draw_and_look(self, batch: Batch, generator: torch.Generator) -> Seen:
        return self.look(batch, self.draw_noise(len(batch.rows), generator))

    def look(self, batch: Batch, noise: Noise) -> Seen:
        """Encode and decode the scans of a batch with drawn codes."""
        scans = self.coordinates(batch.vertices)
        identity, expression = self.encoder(scans)
        codes = Codes(_drawn(identity, noise.identity), _drawn(expression, noise.expression))
        offset = self.decoder.neutral(codes.identity)
        if isinstance(self.decoder, AdditiveDecoder):
            moved = self.decoder.expression_only(codes.expression)
        else:
            moved = self.decoder.displacement(*codes)
        return Seen(batch, noise, scans, identity, expression, codes, offset, moved, self.mean + offset)

    def tell_decoded_apart(self, seen: Seen, generator: torch.Generator) -> dict[str, Tensor]:
        """The discriminator's loss: scans of one subject are the same, a scan and its decoded neutral are not."""
        assert seen.batch.partner is not None
        true = self._pairs(seen.scans, self.coordinates(seen.batch.partner))
        decoded = self._pairs(seen.scans, seen.neutral.detach())
        logits = self._judge(torch.cat([true, decoded]), seen.noise.keep_pairs)
        return _verdict(logits, torch.arange(len(logits), device=logits.device) < len(true))

    def make_faces(self, seen: Seen, generator: torch.Generator) -> dict[str, Tensor]:
        """All terms of encoder and decoder that have a weight (FED, eq. 3 to 9)."""
        loss = self.config.loss
        target = seen.scans - self.mean
        terms = {"reconstruction": losses.mean_square(seen.identity_offset + seen.expression_offset, target)}
        terms |= self._divergences(seen)
        if loss.needs_neutrals:
            assert seen.batch.neutral is not None
            rest = self.coordinates(seen.batch.neutral)
            terms["neutral"] = losses.mean_square(seen.identity_offset, rest - self.mean)
            terms["expression"] = losses.mean_square(seen.expression_offset, seen.scans - rest)
        if loss.roughness:
            assert self.laplacian is not None
            terms["roughness"] = losses.roughness(seen.neutral, self.laplacian)
        if self.config.discriminator.is_used and loss.adversarial:
            logits = self._judge(self._pairs(seen.scans, seen.neutral), seen.noise.keep_decoded)
            verdict = _verdict(logits, torch.ones(len(logits), dtype=torch.bool, device=logits.device))
            terms |= {"adversarial": verdict["pairs"], "fooled": verdict["right"]}
        if loss.latent:
            again = _drawn(self.encoder(seen.neutral)[0], seen.noise.identity_again)
            terms["latent"] = losses.latent_consistency(again, seen.codes.identity)
        return terms

    def _divergences(self, seen: Seen) -> dict[str, Tensor]:
        loss = self.config.loss
        if loss.divergence == "sampled":
            identity = losses.sampled_divergence(seen.identity[1], seen.noise.identity, seen.codes.identity)
            expression = losses.sampled_divergence(seen.expression[1], seen.noise.expression, seen.codes.expression)
        else:
            assert seen.batch.at_rest is not None
            beta = loss.bottleneck.beta
            paid = losses.bottleneck(
                *seen.identity, seen.noise.identity, seen.batch.at_rest, beta=beta, scan_count=self.scan_count
            )
            identity = paid / self.identity_size
            expression = losses.divergence(*seen.expression) / self.expression_size
        left = 1.0 if loss.kl_epochs is None else max(0.0, 1 - (seen.batch.epoch + 1) / loss.kl_epochs)
        return {"kl_identity": left * identity.mean(), "kl_expression": left * expression.mean()}

    def _judge(
        self, pairs: Float[Tensor, "batch vertex 6"], keep: Float[Tensor, "batch hidden"] | None
    ) -> Float[Tensor, "batch 2"]:
        """Logits in joint training."""
        if not self.config.discriminator.is_regularized:
            return self._discriminator.plain(pairs)
        assert keep is not None
        return self._discriminator.regularized(pairs, keep)

    @staticmethod
    def _pairs(
        scans: Float[Tensor, "batch vertex 3"], others: Float[Tensor, "batch vertex 3"]
    ) -> Float[Tensor, "batch vertex 6"]:
        if len(scans) < 2:
            raise RecipeError(
                "A batch has one scan; batch norm in the discriminator wants two. Set training.sampler.anchors higher."
            )
        return torch.cat([scans, others], dim=2)

    def _draw_keep(self, count: int, generator: torch.Generator) -> Float[Tensor, "batch hidden"]:
        """Dropout as factors: 0, or 1 / the share that is kept."""
        dropout, width = self.config.discriminator.dropout, self.config.discriminator.network.hidden[1]
        drawn = torch.rand(count, width, generator=generator, device=generator.device)
        return (drawn >= dropout).to(self.identity_mean) / (1 - dropout)

    @property
    def _discriminator(self) -> IdentityDiscriminator:
        if self.discriminator is None:
            raise RecipeError(
                "This model has no discriminator, which is kept in checkpoints only, so it cannot be trained. "
                "Continue its run with --resume, or train anew."
            )
        return self.discriminator


def _drawn(posterior: tuple[Tensor, Tensor], noise: Tensor) -> Tensor:
    return reparameterize(*posterior, noise)


def _verdict(logits: Float[Tensor, "batch 2"], is_same: Tensor) -> dict[str, Tensor]:
    return {"pairs": losses.pair_entropy(logits, is_same), "right": losses.pair_accuracy(logits, is_same)}
