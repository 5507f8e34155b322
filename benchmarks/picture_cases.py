"""Rows of the speed table about pictures: the rasterizer, rendered faces, and a training step of LatentFace."""

from collections.abc import Callable
from pathlib import Path

import torch
from speed_measure import Problem
from torch import nn

from meshdisent.latentface.image_batches import ImageBatch
from meshdisent.latentface.latentface import LatentFace
from meshdisent.latentface.networks import NetworkConfig
from meshdisent.latentface.settings import LatentFaceConfig, StageOneConfig
from meshdisent.render.camera import Camera
from meshdisent.render.depth_map import depth_points, grid_faces
from meshdisent.render.faces import FaceConfig, shoot
from meshdisent.render.people import SyntheticPeople
from meshdisent.render.rasterizer import rasterize
from meshdisent.render.view import View
from meshdisent.training.recipe import SamplerConfig, TrainingConfig
from meshdisent.training.step import Stepper


def surfaces(count: int, size: int) -> torch.Tensor:
    """Rough depth maps as meshes, turned a little."""
    random = torch.Generator().manual_seed(0)
    camera = Camera.of_field_of_view(size)
    depth = 1 + 0.01 * torch.randn(count, size, size, generator=random)
    turned = View.of(torch.tensor([[0.1, 0.3, 0.0, 0.0, 0.0, 0.0]]).expand(count, 6))
    return turned.apply(depth_points(depth, camera)).flatten(1, 2)


def drawing(count: int, size: int, pixels: int) -> Callable[[Path, Path, str], Problem]:
    """Depth of meshes of ``size`` x ``size`` vertices in pictures of ``pixels``, forward; and with gradients."""

    def make(clone: Path, scratch: Path, device: str) -> Problem:
        points, faces = surfaces(count, size).to(device), grid_faces(size, size, device)
        camera, leaf = Camera.of_field_of_view(pixels), points.clone().requires_grad_()

        @torch.no_grad()
        def forward() -> torch.Tensor:
            return rasterize(points, faces, camera).depth

        def both() -> None:
            rasterize(leaf, faces, camera).depth.sum().backward()

        return Problem(methods={"ours": forward, "ours, with gradients": both})

    return make


def rendering(clone: Path, scratch: Path, device: str) -> Problem:
    """One person of 32 pictures, with everything that is known of them."""
    people, config = SyntheticPeople(), FaceConfig(sequences=4, frames=8)
    numbers = iter(range(10**6))
    return Problem(methods={"ours": lambda: shoot(people, config, next(numbers))})


def stage_one_step(clone: Path, scratch: Path, device: str) -> Problem:
    """A training step of stage one, published width, 16 pictures of 64 pixels, compared by pixels and edges."""
    torch.manual_seed(0)
    config = LatentFaceConfig(networks=NetworkConfig(), stage_one=StageOneConfig(features="filters", start=0.1))
    model = LatentFace.for_training(config, _Size()).to(device).train()
    training = TrainingConfig(steps=1, optimizer="adam", weight_decay=5e-4, sampler=SamplerConfig(kind="uniform"))
    stepper = Stepper(model, training, model.phases()[0])
    images = 2 * torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(1)) - 1
    batch = ImageBatch(images=images.to(device), rows=torch.arange(16, device=device))
    noise = torch.Generator()
    return Problem(
        methods={"ours": lambda: stepper.take([batch], noise, 1e-4)},
        flops=network_flops(model.stage_one, images.to(device)),
        bytes=28.0 * sum(weight.numel() for weight in model.stage_one.parameters()),
    )


class _Size:
    """Data of which only the size is asked."""

    image_size, path = 64, None


@torch.no_grad()
def network_flops(networks: nn.Module, images: torch.Tensor) -> float:
    """Operations of the convolutions of a step: forward, and backward for weights and, behind the first, for inputs."""
    total = [0.0]

    def count(layer: nn.Module, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        places = (given[0] if isinstance(layer, nn.ConvTranspose2d) else made)[:, 0].numel()
        is_first = given[0].shape[1] == 3
        total[0] += 2.0 * places * layer.weight.numel() * (2 if is_first else 3)

    layers = [layer for layer in networks.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    networks(images)
    networks.get_submodule("confidence")(images)
    for hook in hooks:
        hook.remove()
    return total[0]
