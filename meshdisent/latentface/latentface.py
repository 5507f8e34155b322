"""LatentFace: photographs to depth, albedo, light and view; and who it is, told from what the face does.

Stage one explains photographs without labels (:mod:`~meshdisent.latentface.stage_one`). Its two codes, of texture and
of shape, depend on person and expression; stage two finds in each the part that is the person's
(:mod:`~meshdisent.latentface.diffusion`), and what is left is the expression.
"""

import json
import os
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.errors import DataError, ModelFileError, RecipeError, UsageError
from meshdisent.latentface.diffusion import RepresentationDiffusion, draw_noise
from meshdisent.latentface.identity_encoder import IdentityEncoder
from meshdisent.latentface.identity_model import IdentityModel
from meshdisent.latentface.image_batches import ImageBatches, LatentBatch, Wanted
from meshdisent.latentface.image_figures import BLOCK, image_figures, in_words
from meshdisent.latentface.published import PublishedLatentFace, load_published_latentface
from meshdisent.latentface.reconstruction import SceneConfig
from meshdisent.latentface.settings import LatentFaceConfig, StageOneConfig, StageTwoConfig
from meshdisent.latentface.stage_one import Explanation, StageOne
from meshdisent.morphable.tensor_file import whole
from meshdisent.morphable.trainable import BatchSupply, Phase, Player, Trainable
from meshdisent.training.typed_yaml import fill, plain

PARTS = ("texture", "shape")


@dataclass(frozen=True, kw_only=True)
class FaceCodes:
    """Codes of photographs; what is not the identity's is the expression's.

    Attributes
    ----------
    texture, shape : (B, L) As stage one has them.
    texture_identity, shape_identity : (B, L) The person's part.
    """

    texture: Float[Tensor, "batch latent"]
    shape: Float[Tensor, "batch latent"]
    texture_identity: Float[Tensor, "batch latent"]
    shape_identity: Float[Tensor, "batch latent"]

    @property
    def texture_expression(self) -> Float[Tensor, "batch latent"]:
        """What the face does, as far as the texture shows it."""
        return self.texture - self.texture_identity

    @property
    def shape_expression(self) -> Float[Tensor, "batch latent"]:
        """What the face does, as far as the shape shows it."""
        return self.shape - self.shape_identity


class LatentFace(Trainable):
    """A model of photographs of faces.

    Attributes
    ----------
    stage_one : The networks that explain photographs.
    identities : A model a part, ``texture`` and ``shape``, that finds the person in a code; empty without stage two.
    """

    name: ClassVar[str] = "latentface"
    config_class: ClassVar[type] = LatentFaceConfig
    watchable: ClassVar[tuple[str, ...]] = ("photo", "SIDE", "MAD", "identity")
    noun: ClassVar[str] = "pictures"
    training_only: ClassVar[tuple[str, ...]] = ("stage_one.confidence",)

    def __init__(self, config: LatentFaceConfig):
        super().__init__()
        self.config = config
        self.stage_one = StageOne(config.networks, config.scene, config.stage_one)
        self.identities = nn.ModuleDict()
        two = config.stage_two
        for part in two.parts if two.method != "none" else ():
            diffusion = two.method == "diffusion"
            self.identities[part] = (
                RepresentationDiffusion(two.diffusion) if diffusion else IdentityEncoder(two.encoder)
            )

    # ---------------------------------------------------------------- use

    @property
    def image_size(self) -> int:
        """Pixels a side of the photographs."""
        return self.config.networks.image_size

    def explain(self, images: Float[Tensor, "batch 3 size size"]) -> Explanation:
        """What stage one says about photographs in 0 .. 1."""
        return self.stage_one(2 * images - 1)

    def encode(self, images: Float[Tensor, "batch 3 size size"], *, seed: int = 0, draws: int = 1) -> FaceCodes:
        """Codes of photographs in 0 .. 1.

        Parameters
        ----------
        seed : Of the noise that identities are drawn from. It is the same noise for every photograph, so that what is
            found in one does not depend on those beside it.
        draws : Take the mean over so many draws.

        Raises
        ------
        UsageError : If the model has no stage two.
        """
        said = self.stage_one
        texture, shape = said.texture.encoder(2 * images - 1), said.shape.encoder(2 * images - 1)
        return FaceCodes(
            texture=texture,
            shape=shape,
            texture_identity=self.identity("texture", texture, seed=seed, draws=draws),
            shape_identity=self.identity("shape", shape, seed=seed, draws=draws),
        )

    def identity(
        self, part: str, codes: Float[Tensor, "batch latent"], *, seed: int = 0, draws: int = 1
    ) -> Float[Tensor, "batch latent"]:
        """The person's part of texture or shape codes; :meth:`encode` explains seed and draws."""
        if part not in self.identities:
            has = " and ".join(self.identities) or "no part at all"
            raise UsageError(
                f"This LatentFace finds the person in {has}, not in the {part} code; wanted a model whose stage two "
                f"has it. Train one with stage_two.parts that name {part}."
            )
        model = self.identities[part]
        assert isinstance(model, IdentityModel)
        noise = draw_noise(codes.new_zeros(draws, 1, codes.shape[1]), torch.Generator().manual_seed(seed))
        return model.sample(codes, noise=noise.expand(draws, *codes.shape))

    def check_data(self, data: ImageDataset) -> None:
        """Raise :class:`DataError` unless pictures have the size that the model looks at."""
        _check_size(data, self.image_size, "the model")

    # ---------------------------------------------------------------- training

    @classmethod
    def for_training(cls, config: LatentFaceConfig, data: ImageDataset) -> "LatentFace":
        """An untrained model, or one whose stage one is taken over from another.

        Raises
        ------
        DataError : If the pictures have another size.
        RecipeError : If the model to start from is another one.
        """
        config.check_stages()
        _check_size(data, config.networks.image_size, "the recipe")
        if config.start is None:
            model = cls(config)
            model.stage_one.begin()
            return model
        from meshdisent.morphable.model_file import load

        begun = load(config.start)
        if not isinstance(begun, cls):
            raise RecipeError(f"config.start is {config.start}, a {type(begun).__name__}; wanted a LatentFace.")
        if begun.config.networks != config.networks:
            raise RecipeError(
                f"config.start is {config.start}, whose networks are {begun.config.networks}; the recipe has "
                f"{config.networks}. Set config.networks to those of the model to start from."
            )
        model = cls(replace(config, scene=begun.config.scene))
        model.stage_one.load_state_dict(begun.stage_one.state_dict())
        return model

    def phases(self) -> list[Phase]:
        """Stage one, stage two, or both."""
        two = self.config.stage_two
        explaining = Phase(
            name="stage one",
            players=[
                Player(
                    name="faces",
                    parameters=self.stage_one.learners,
                    objective=self.stage_one.objective,
                    weights=self.stage_one.weights(),
                )
            ],
            companions=Wanted(kind="images", mirrored=self.config.stage_one.mirrored),
            steps=self.config.stage_one_steps,
            is_measured=True,
        )
        finding = Phase(
            name="stage two",
            players=[
                Player(
                    name="identities",
                    parameters=self.identities.parameters,
                    objective=self.find_identities,
                    weights=dict.fromkeys(two.parts, 1.0),
                )
            ],
            companions=Wanted(kind="latents", frames=two.frames),
        )
        if two.method == "none":
            return [explaining]
        return [finding] if self.config.start is not None else [explaining, finding]

    def players(self) -> list[Player]:
        """Those of the first stage that is trained."""
        return self.phases()[0].players

    def find_identities(self, batch: LatentBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Stage two's loss for each part: from the latent of one frame to the mean latent of many."""
        terms = {}
        for part, model in self.identities.items():
            assert isinstance(model, IdentityModel)
            latents = getattr(batch, part)
            terms[part] = model.training_loss(latents.mean(1), latents[:, 0], generator)
        return terms

    @torch.no_grad()
    def latents(self, data: ImageDataset, rows: Int[np.ndarray, " row"]) -> Float[Tensor, "2 row latent"]:
        """Codes of texture and of shape of many pictures."""
        self.stage_one.eval()
        found: list[list[Tensor]] = [[], []]
        for start in range(0, len(rows), BLOCK):
            images = torch.from_numpy(data.images(rows[start : start + BLOCK])).to(self.like)
            for part, network in enumerate((self.stage_one.texture, self.stage_one.shape)):
                found[part].append(network.encoder(2 * images - 1))
        return torch.stack([torch.cat(codes) for codes in found])

    def latents_to_learn(self, data: ImageDataset, rows: Int[np.ndarray, " row"]) -> Float[Tensor, "2 row latent"]:
        """The codes that stage two learns from; their range is kept in the identity models."""
        latents = self.latents(data, rows)
        for part, codes in zip(PARTS, latents, strict=True):
            if part in self.identities:
                model = self.identities[part]
                assert isinstance(model, IdentityModel)
                model.latent_range.fit(codes)
        return latents

    def batches(self, data: ImageDataset, training: Any, dtype: torch.dtype) -> BatchSupply:
        """Pictures for stage one, latents of sequences for stage two."""
        limit = 1e9 * training.memory_gigabytes
        return ImageBatches(data, training.sampler, self.like.device, dtype, self.latents_to_learn, limit)

    def measure(self, data: ImageDataset, split: str = "val", limit: int | None = None) -> dict[str, Any]:
        """See :func:`~meshdisent.latentface.image_figures.image_figures`."""
        return image_figures(self, data, split, limit)

    @classmethod
    def in_words(cls, figures: dict[str, Any]) -> str:
        """Validation figures as one line."""
        return in_words(figures)

    @classmethod
    def next_command(cls, run: str, data: str) -> str:
        """Looking at a photograph."""
        return f"meshdisent image {run} photo.jpg --out photo"

    def calibrate(self, data: ImageDataset) -> None:
        """Nothing: what stage two needs to know of latents is measured when it begins."""

    def check_same_data(self, head: dict[str, str], data: ImageDataset, where: str) -> None:
        """Raise :class:`DataError` unless pictures have the size that a checkpoint names."""
        if head.get("image_size") != str(data.image_size):
            raise DataError(
                f"{where} was trained on pictures of {head.get('image_size')} pixels; {data.path or 'the dataset'} has "
                f"{data.image_size}. Resume with the same file, or start again with --overwrite."
            )

    # ---------------------------------------------------------------- files

    @property
    def like(self) -> Tensor:
        """A tensor of the model's floating type, on its device."""
        return next(self.stage_one.parameters())

    @property
    def spared_size(self) -> int:
        """Norms, biases and ranges are not halved: they are small, and everything else stands on them."""
        return 4096

    def form(self) -> dict[str, str]:
        """The size of pictures."""
        return {"image_size": str(self.image_size)}

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain values."""
        values: dict[str, Any] = plain(self.config)
        return values

    @classmethod
    def from_file(cls, tensors: dict[str, Tensor], head: dict[str, str], where: str) -> "LatentFace":
        """Build the model from a model file or a checkpoint."""
        model = cls(fill(LatentFaceConfig, json.loads(head["config"]), where, "config"))
        state = whole({k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")})
        untrained = {k: v for k, v in model.state_dict().items() if k.startswith(cls.training_only)}
        model.load_state_dict(untrained | state)
        return model

    @classmethod
    def open_data(cls, path: str | os.PathLike) -> ImageDataset:
        """Open prepared pictures, an ``images.h5``."""
        return ImageDataset.open(path)


def _check_size(data: ImageDataset, size: int, wanted_by: str) -> None:
    if data.image_size != size:
        raise DataError(
            f"{data.path or 'The dataset'} has pictures of {data.image_size} pixels; {wanted_by} wants {size}. Prepare "
            "them with that size (--size), or change config.networks.image_size and train."
        )


def load_latentface(path_or_name: str | os.PathLike, device: str | torch.device = "cpu") -> LatentFace:
    """Open a model of pictures: a model file, run folder or zoo name, or LatentFace's published checkpoint (``.pth``).

    Raises
    ------
    ModelFileError : If there is no such model, the file is damaged, or it is a model of scans.
    """
    from meshdisent.morphable.model_file import load

    if str(path_or_name).endswith(".pth"):
        return from_published(load_published_latentface(path_or_name)).to(device).eval()
    model = load(path_or_name, device)
    if not isinstance(model, LatentFace):
        raise ModelFileError(
            f"{path_or_name} is a {type(model).__name__}, a model of scans; wanted a LatentFace, a model of pictures. "
            "`meshdisent models` lists both."
        )
    return model


def from_published(published: PublishedLatentFace) -> LatentFace:
    """The published networks as a LatentFace, with the settings of the published program."""
    diffusion = published.identity_texture.config
    config = LatentFaceConfig(
        networks=published.config,
        scene=SceneConfig(samples=2, shift=0.5),
        stage_one=StageOneConfig(features="none", perceptual=0.0),
        stage_two=StageTwoConfig(method="diffusion", diffusion=diffusion),
    )
    model = LatentFace(config)
    one = model.stage_one
    for name in ("shape", "texture", "light", "view", "confidence"):
        getattr(one, name).load_state_dict(getattr(published, name).state_dict())
    model.identities["texture"].load_state_dict(published.identity_texture.state_dict())
    model.identities["shape"].load_state_dict(published.identity_shape.state_dict())
    return model.eval()
