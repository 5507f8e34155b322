"""The denoiser on one pixel: time, what it is made of, and what is said where diffusers is missing."""

import sys

import numpy as np
import pytest
import torch

from meshdisent.errors import UsageError
from meshdisent.latentface.denoiser import Denoiser, TimeSinusoid, diffusers_class
from meshdisent.latentface.diffusion import DiffusionConfig, RepresentationDiffusion
from meshdisent.latentface.latentface import load_latentface


@pytest.fixture
def denoiser():
    pytest.importorskip("diffusers", reason="needs the extra image")
    return Denoiser(5, 16, 4, 8, 2)


def test_time_is_waves_in_double_precision():
    waves = TimeSinusoid(6)(torch.tensor([0, 999]))
    assert waves.dtype == torch.float64
    frequencies = 10000.0 ** (-np.arange(3) / 3)
    expected = [np.concatenate([np.cos(t * frequencies), np.sin(t * frequencies)]) for t in (0, 999)]
    np.testing.assert_allclose(waves.numpy(), expected, rtol=0, atol=1e-12)


def test_only_the_central_weights_of_each_kernel_act(denoiser):
    noisy, condition = torch.rand(2, 3, 5)
    before = denoiser(noisy, condition, torch.tensor([0, 5, 999]))
    with torch.no_grad():
        for name, weight in denoiser.named_parameters():
            if weight.ndim == 4 and weight.shape[2] == 3:
                center = weight[:, :, 1, 1].clone()
                weight.normal_()
                weight[:, :, 1, 1] = center
            if "to_q" in name or "to_k" in name:
                weight.normal_()
    torch.testing.assert_close(denoiser(noisy, condition, torch.tensor([0, 5, 999])), before)


def test_noise_condition_and_time_all_matter(denoiser):
    noisy, condition = torch.rand(2, 1, 5)
    time = torch.tensor([500])
    plain = denoiser(noisy, condition, time)
    for other in (denoiser(noisy.flip(1), condition, time), denoiser(noisy, condition.flip(1), time)):
        assert (other - plain).abs().max() > 1e-3
    assert (denoiser(noisy, condition, time - 400) - plain).abs().max() > 1e-4


def test_a_missing_package_is_named_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    for needs_it in (lambda: diffusers_class("UNet2DModel"), lambda: RepresentationDiffusion(DiffusionConfig())):
        with pytest.raises(UsageError) as refused:
            needs_it()
        message = str(refused.value)
        assert 'Install it: pip install "meshdisent[image]".' in message
        assert "\n" not in message


def test_a_file_is_not_called_damaged_where_a_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UsageError, match=r"^Representation diffusion needs the package diffusers"):
        load_latentface("latentface-rendered")
