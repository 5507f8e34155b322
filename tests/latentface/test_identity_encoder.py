"""The encoder that takes the place of the diffusion: layout, and no chance."""

import torch

from meshdisent.latentface.identity_encoder import IdentityEncoder, IdentityEncoderConfig, ResidualBlock


def test_the_blocks_lie_as_in_the_denoiser():
    encoder = IdentityEncoder(IdentityEncoderConfig())
    blocks = [m for m in encoder.modules() if isinstance(m, ResidualBlock)]
    assert [block.linear_1.in_features for block in blocks] == [128] * 4 + [256] * 3
    assert encoder.first.in_features == encoder.last[-1].out_features == 256


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
