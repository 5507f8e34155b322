"""What a recipe of LatentFace says: networks, scene, losses, features, and how identity is told from expression."""

from dataclasses import dataclass, field
from typing import Literal

from meshdisent.errors import RecipeError
from meshdisent.latentface.diffusion import DiffusionConfig
from meshdisent.latentface.identity_encoder import IdentityEncoderConfig
from meshdisent.latentface.networks import NetworkConfig
from meshdisent.latentface.reconstruction import SceneConfig


@dataclass(frozen=True, kw_only=True)
class StageOneConfig:
    """How images are explained.

    Attributes
    ----------
    flip : Weight of the mirrored reconstruction beside the plain one.
    perceptual : Weight of features beside pixels; 0 leaves them out.
    smoothness : Weight of the steps between neighboring depths.
    has_confidence : Whether a network says where an error counts less; without it errors count everywhere alike.
    features : What compares pictures beside pixels. ``vgg``: relu3_3 of VGG16 with the weights in ``vgg_file``, as
        published. ``filters``: contrast along edges at two scales, which needs no weights. ``none``.
    vgg_file : The weights that torchvision publishes (vgg16-397923af.pth); never fetched.
    mirrored : Share of training images that are mirrored.
    start : What the weights of the last layers of shape and view are multiplied by at the beginning; 1 as published.
        With less, faces begin nearly flat and frontal. From a rough depth and a turned head, training may go to stripes
        of depth that hide behind each other, and never comes back.
    """

    flip: float = 0.5
    perceptual: float = 1.0
    smoothness: float = 0.0
    has_confidence: bool = True
    features: Literal["vgg", "filters", "none"] = "filters"
    vgg_file: str | None = None
    mirrored: float = 0.5
    start: float = 1.0

    def __post_init__(self) -> None:
        for name in ("flip", "perceptual", "smoothness"):
            if not getattr(self, name) >= 0:
                raise RecipeError(f"{name} is {getattr(self, name)}; wanted at least 0.")
        if not 0 < self.start <= 1:
            raise RecipeError(f"start is {self.start}; wanted more than 0 and at most 1.")
        if not 0 <= self.mirrored <= 1:
            raise RecipeError(f"mirrored is {self.mirrored}; wanted a share from 0 to 1.")
        if self.features == "vgg" and self.vgg_file is None:
            raise RecipeError(
                "features is vgg, but vgg_file is not given; wanted the path of vgg16-397923af.pth, which torchvision "
                "publishes and which is never fetched. Set config.stage_one.vgg_file, or features to filters."
            )
        if self.vgg_file is not None and self.features != "vgg":
            raise RecipeError(f"vgg_file is given, but features is {self.features}; set features to vgg.")


@dataclass(frozen=True, kw_only=True)
class StageTwoConfig:
    """How the identity of a code is found.

    Attributes
    ----------
    method : ``diffusion``, the representation diffusion model; ``encoder``, the ablation's plain network; ``none``:
        stage one alone.
    parts : Of which codes: texture, shape, or both.
    frames : Of a sequence whose mean code is the target.
    diffusion, encoder : Sizes; ``latent_size`` is always the networks' code size.
    """

    method: Literal["diffusion", "encoder", "none"] = "none"
    parts: tuple[Literal["texture", "shape"], ...] = ("texture", "shape")
    frames: int = 16
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    encoder: IdentityEncoderConfig = field(default_factory=IdentityEncoderConfig)

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise RecipeError(f"frames is {self.frames}; wanted at least 2, since the mean of one frame tells nothing.")
        if len(set(self.parts)) != len(self.parts) or not self.parts:
            raise RecipeError(f"parts is {list(self.parts)}; wanted texture, shape, or both.")


@dataclass(frozen=True, kw_only=True)
class LatentFaceConfig:
    """A LatentFace.

    Attributes
    ----------
    stage_one_steps : Steps of stage one before stage two begins; null where ``start`` has it, or without a stage two.
    start : A model file, run folder or zoo name whose stage one is taken over, frozen, with its sizes and scene.
    """

    networks: NetworkConfig = field(default_factory=NetworkConfig)
    scene: SceneConfig = field(default_factory=SceneConfig)
    stage_one: StageOneConfig = field(default_factory=StageOneConfig)
    stage_two: StageTwoConfig = field(default_factory=StageTwoConfig)
    stage_one_steps: int | None = None
    start: str | None = None

    def __post_init__(self) -> None:
        code_size = self.networks.code_size
        for name, config in (("diffusion", self.stage_two.diffusion), ("encoder", self.stage_two.encoder)):
            if self.stage_two.method == name and config.latent_size != code_size:
                raise RecipeError(
                    f"stage_two.{name}.latent_size is {config.latent_size}, networks.code_size {code_size}; wanted the "
                    "same number."
                )

    def check_stages(self) -> None:
        """Raise :class:`RecipeError` unless it is clear where stage two starts from; asked before training."""
        if self.stage_two.method == "none":
            if self.stage_one_steps is not None or self.start is not None:
                raise RecipeError("stage_one_steps or start is given, but stage_two.method is none; take them out.")
        elif (self.start is None) == (self.stage_one_steps is None):
            raise RecipeError(
                f"stage_one_steps is {self.stage_one_steps} and start {self.start!r}; wanted one of them where there "
                "is a stage two: the steps of stage one before it, or the model that has it."
            )
