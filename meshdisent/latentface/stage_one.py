"""Stage one: five networks that explain a photograph, and the loss that teaches them without labels.

The unsupervised 3D of Wu et al. 2020 as LatentFace has it (section 3.1): depth and albedo of the frontal face, light
and view rebuild the photograph, plain and mirrored, and a fifth network says where an error counts less.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.errors import ModelFileError
from meshdisent.latentface.image_batches import ImageBatch
from meshdisent.latentface.networks import (
    ConfidenceNetwork,
    NetworkConfig,
    light_network,
    shape_network,
    texture_network,
    view_network,
)
from meshdisent.latentface.reconstruction import Reconstruction, SceneConfig, frontal_depth, reconstruct
from meshdisent.latentface.settings import StageOneConfig
from meshdisent.losses.latentface import depth_smoothness, perceptual, photometric
from meshdisent.morphable.published import read_saved
from meshdisent.nn.edge_filters import EdgeFilters
from meshdisent.nn.vgg import VGGFeatures


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What the networks say about photographs.

    Attributes
    ----------
    shape_code, texture_code : (B, L) At least 0.
    raw_depth : (B, S, S) Any numbers. albedo : (B, 3, S, S) -1 to 1, frontal.
    raw_light, raw_view : (B, 4) and (B, 6), -1 to 1.
    """

    shape_code: Float[Tensor, "batch latent"]
    texture_code: Float[Tensor, "batch latent"]
    raw_depth: Float[Tensor, "batch size size"]
    albedo: Float[Tensor, "batch 3 size size"]
    raw_light: Float[Tensor, "batch 4"]
    raw_view: Float[Tensor, "batch 6"]


class StageOne(nn.Module):
    """The networks of stage one, from images in -1 .. 1 to their explanation, and to the loss."""

    def __init__(self, networks: NetworkConfig, scene: SceneConfig, config: StageOneConfig):
        super().__init__()
        self.scene, self.config = scene, config
        self.shape = shape_network(networks)
        self.texture = texture_network(networks)
        self.light = light_network(networks)
        self.view = view_network(networks)
        self.confidence = ConfidenceNetwork(networks)
        self.features: nn.Module | None = None  # only training needs it; see load_features

    @torch.no_grad()
    def begin(self) -> None:
        """Let a new network begin as the configuration says: see ``start`` there."""
        for layers in (self.shape.decoder.layers, self.view.layers):
            last = [layer for layer in layers if isinstance(layer, nn.Conv2d)][-1]
            last.weight.mul_(self.config.start)

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Explanation:
        """Explain images."""
        shape_code, raw_depth = self.shape(images)
        texture_code, albedo = self.texture(images)
        return Explanation(
            shape_code=shape_code,
            texture_code=texture_code,
            raw_depth=raw_depth[:, 0],
            albedo=albedo,
            raw_light=self.light(images),
            raw_view=self.view(images),
        )

    def rebuild(self, said: Explanation) -> Reconstruction:
        """The photographs as the explanation has them, plain and mirrored."""
        return reconstruct(said.raw_depth, said.albedo, said.raw_light, said.raw_view, self.scene)

    def learners(self) -> Iterable[nn.Parameter]:
        """Everything that stage one trains."""
        parts = [self.shape, self.texture, self.light, self.view]
        parts += [self.confidence] if self.config.has_confidence else []
        return [weight for part in parts for weight in part.parameters()]

    def weights(self) -> dict[str, float]:
        """Weights of the terms of :meth:`objective`; features count as much as pixels, times ``perceptual``."""
        flip, features = self.config.flip, self.config.perceptual
        weights = {"pixels": 1.0, "pixels_flip": flip, "features": features, "features_flip": flip * features}
        return weights | {"smoothness": self.config.smoothness}

    def load_features(self) -> None:
        """Get the network that compares pictures ready; called before training.

        Raises
        ------
        ModelFileError : If the weights of VGG16 cannot be read.
        """
        if self.features is not None or self.config.perceptual == 0 or self.config.features == "none":
            return
        built = EdgeFilters() if self.config.features == "filters" else _vgg(Path(self.config.vgg_file or ""))
        weight = next(self.shape.parameters())
        # Not a submodule: it is neither trained nor kept in a file.
        object.__setattr__(self, "features", built.to(weight))

    def objective(self, batch: ImageBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """The terms of the loss; nothing here is random."""
        self.load_features()
        said = self(batch.images)
        found = self.rebuild(said)
        pixels, places = self.confidence(batch.images) if self.config.has_confidence else (None, None)
        terms: dict[str, Tensor] = {}
        features = self.features
        wanted = None if features is None else features(batch.images)
        for number, (name, picture) in enumerate(zip(("", "_flip"), found.picture.chunk(2), strict=True)):
            spread = None if pixels is None else pixels[:, number, None]
            terms[f"pixels{name}"] = photometric(picture, batch.images, found.mask, spread)
            if features is None or wanted is None:
                terms[f"features{name}"] = picture.new_zeros(())
                continue
            spread = None if places is None else places[:, number, None]
            terms[f"features{name}"] = perceptual(features(picture), wanted, found.mask, spread)
        smooth = frontal_depth(said.raw_depth, self.scene)
        terms["smoothness"] = depth_smoothness(smooth, self.scene.farthest - self.scene.nearest)
        return terms


def _vgg(path: Path) -> VGGFeatures:
    wanted = "Wanted the weights of VGG16 as torchvision publishes them, vgg16-397923af.pth."
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"{path} could not be read ({error.strerror}). {wanted} They are never fetched."
        ) from error
    state = read_saved(content, str(path), wanted)
    if not isinstance(state, dict):
        raise ModelFileError(f"{path} holds no named tensors. {wanted}")
    return VGGFeatures.from_state(state, str(path))
