"""The encoder that takes the place of the diffusion: layout, and no chance."""

import pytest
import torch

from meshdisent.latentface.denoiser import Denoiser
from meshdisent.latentface.identity_encoder import IdentityEncoder, IdentityEncoderConfig


def test_it_is_the_denoiser_without_noise_time_and_attention():
    pytest.importorskip("diffusers", reason="needs the extra image")
    encoder = IdentityEncoder(IdentityEncoderConfig(latent_size=4, width=8, norm_groups=2)).double()
    denoiser = Denoiser(4, 8, 2, 8, 2).double()
    weights = {"first": "conv_in", "last.0": "conv_norm_out", "last.2": "conv_out"}
    blocks = {"ways_in": "down_blocks.0", "middle": "mid_block", "ways_out": "up_blocks.0"}
    parts = {
        "norm_1": "norm1",
        "linear_1": "conv1",
        "norm_2": "norm2",
        "linear_2": "conv2",
        "shortcut": "conv_shortcut",
    }
    with torch.no_grad():
        for name, value in denoiser.named_parameters():
            if not name.endswith("weight") or value.ndim > 1:
                value.zero_()  # time and attention stay so
        for name, value in encoder.named_parameters():
            layer, _, kind = name.rpartition(".")
            if layer not in weights:
                stage, number, part = layer.split(".")
                layer = f"{blocks[stage]}.resnets.{number}.{parts[part]}"
            target = denoiser.unet.get_submodule(weights.get(layer, layer)).get_parameter(kind)
            if target.ndim == 4:  # the central weight; the noisy latent lies before the condition
                target[:, -value.shape[1] :, target.shape[2] // 2, target.shape[3] // 2] = value
            else:
                target.copy_(value)
        noisy, shown = torch.rand(2, 3, 4, dtype=torch.float64)
        found = denoiser(noisy, shown, torch.tensor([0, 7, 900]))
    torch.testing.assert_close(found, encoder(shown))


def test_noise_draws_and_steps_change_nothing():
    encoder = IdentityEncoder(IdentityEncoderConfig(latent_size=4, width=8, norm_groups=2))
    shown = torch.rand(3, 4)
    plain = encoder.sample(shown)
    assert torch.equal(plain, encoder.sample(shown, noise=torch.rand(2, 3, 4), steps=7, draws=2))
    assert torch.equal(plain, encoder.sample(shown, generator=torch.Generator()))


def test_its_loss_is_the_plain_squared_error_in_unit_latents():
    encoder = IdentityEncoder(IdentityEncoderConfig(latent_size=4, width=8, norm_groups=2)).double()
    mean, shown = torch.rand(2, 3, 4, dtype=torch.float64)
    encoder.latent_range.fit(10 * torch.rand(5, 4, dtype=torch.float64))
    error = (encoder.sample(shown) - mean) / encoder.latent_range.scale
    loss = encoder.training_loss(mean, shown, torch.Generator())
    torch.testing.assert_close(loss, error.square().mean())
