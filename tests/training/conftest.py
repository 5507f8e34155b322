"""The tiny model and its scans, for every test of training."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from meshdisent.morphable import contract
from meshdisent.training.recipe import Recipe, SamplerConfig, TrainingConfig

sys.path.insert(0, str(Path(__file__).parent))
import tiny_autoencoder


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    monkeypatch.setattr(contract, "MODELS", dict(contract.MODELS))
    tiny_autoencoder.register()


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny matrices on several threads take twenty times as long when other work is going on."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def scans():
    return tiny_autoencoder.tiny_scans()


@pytest.fixture
def recipe():
    """Make a recipe of the tiny model; arguments are those of ``training``, ``config`` those of the model."""

    def make(config: dict[str, Any] | None = None, seed: int = 1, **training: Any) -> Recipe:
        settings = {"steps": 20, "learning_rate": 1e-3, "sampler": SamplerConfig(anchors=3, partners=1)}
        return Recipe(
            model="tiny",
            seed=seed,
            config=tiny_autoencoder.TinyConfig(**(config or {})),
            training=TrainingConfig(**(settings | training)),
        )

    return make
