"""Pictures of 32 pixels and the smallest LatentFace, for tests that train one."""

import numpy as np

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.data.images.image_labels import ImageLabels
from meshdisent.latentface.diffusion import DiffusionConfig
from meshdisent.latentface.identity_encoder import IdentityEncoderConfig
from meshdisent.latentface.networks import NetworkConfig
from meshdisent.latentface.settings import LatentFaceConfig, StageOneConfig, StageTwoConfig
from meshdisent.training.recipe import Recipe, SamplerConfig, TrainingConfig

NETWORKS = NetworkConfig(
    image_size=32, width=4, code_size=8, number_width=4, confidence_width=4, confidence_code_size=4
)


def tiny_images(sequences=5, frames=4, size=32, seed=0, has_truth=False):
    """Smooth pictures, a sequence a subject; the last subject is for validation."""
    random = np.random.default_rng(seed)
    down, across = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    subject = random.uniform(0, 6, (sequences, 1, 3, 1, 1))
    frame = random.uniform(0, 1, (sequences, frames, 1, 1, 1))
    waves = 127 + 120 * np.sin(subject * across + 3 * down + frame)
    pixels = waves.transpose(0, 1, 3, 4, 2).reshape(-1, size, size, 3).astype(np.uint8)
    names = [f"s{number}" for number in range(sequences) for _ in range(frames)]
    labels = ImageLabels.from_names(
        names,
        expressions=["rest", "smile"] * (len(names) // 2),
        sequences=names,
        frames=list(range(frames)) * sequences,
        splits=["train"] * (frames * (sequences - 1)) + ["val"] * frames,
    )
    truth = None
    if has_truth:
        depth = 1 - 0.05 * np.exp(-((down - 0.5) ** 2 + (across - 0.5) ** 2) / 0.1)
        truth = {
            "depth": np.broadcast_to(depth, (len(names), size, size)).astype(np.float32),
            "mask": np.ones((len(names), size, size), bool),
        }
    return ImageDataset.from_arrays(pixels, labels, truth=truth)


def tiny_config(method="diffusion", **changes):
    two = StageTwoConfig(
        method=method,
        frames=3,
        diffusion=DiffusionConfig(latent_size=8, width=8, norm_groups=2, layers_per_block=1),
        encoder=IdentityEncoderConfig(latent_size=8, width=8, norm_groups=2, layers_per_block=1),
    )
    steps = 4 if method != "none" else None
    values = {"networks": NETWORKS, "stage_one": StageOneConfig(), "stage_two": two, "stage_one_steps": steps}
    return LatentFaceConfig(**(values | changes))


def tiny_recipe(config=None, **training):
    settings = {
        "steps": 8,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "validate_minutes": None,
        "checkpoint_minutes": 0.0,
        "sampler": SamplerConfig(kind="uniform", anchors=4, partners=0),
    }
    return Recipe(
        model="latentface", seed=3, config=config or tiny_config(), training=TrainingConfig(**(settings | training))
    )
