"""The representation diffusion: schedule, weights, both rules, noise, ranges, and what it refuses."""

import pytest
import torch

from meshdisent.errors import RecipeError
from meshdisent.latentface.diffusion import (
    DiffusionConfig,
    RepresentationDiffusion,
    ddim_step,
    draw_noise,
    noise_schedule,
    published_step,
)

pytest.importorskip("diffusers", reason="needs the extra image")

SIZES = {"latent_size": 6, "width": 16, "norm_groups": 4}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(**choices):
    return RepresentationDiffusion(DiffusionConfig(**SIZES, **choices)).double()


def latents(*shape):
    return torch.rand(*shape, 6, dtype=torch.float64)


def test_the_rules_differ_in_what_stands_for_the_noise():
    schedule = noise_schedule(DiffusionConfig())
    schedule.set_timesteps(5)
    p, x = torch.tensor([[3.0, -0.5]]).double(), torch.tensor([[1.0, 2.0]]).double()
    alpha, before = schedule.alphas_cumprod[600], schedule.alphas_cumprod[400]
    kept = torch.tensor([[1.0, -0.5]]).double()
    noise = (x - alpha.sqrt() * p) / (1 - alpha).sqrt()
    torch.testing.assert_close(ddim_step(schedule, p, 600, x), before.sqrt() * kept + (1 - before).sqrt() * noise)
    torch.testing.assert_close(published_step(schedule, p, 600, x), before.sqrt() * kept + (1 - before).sqrt() * p)
    for last in (ddim_step, published_step):
        torch.testing.assert_close(last(schedule, p, 0, x), kept)


def test_without_clipping_the_last_step_gives_the_prediction_itself():
    schedule = noise_schedule(DiffusionConfig(is_clipped=False))
    schedule.set_timesteps(4)
    p, x = torch.tensor([[3.0, -5.0]]).double(), torch.ones(1, 2).double()
    for last in (ddim_step, published_step):
        torch.testing.assert_close(last(schedule, p, 0, x), p)


def test_the_rule_is_the_configured_one():
    models = [small(rule=rule) for rule in ("ddim", "published")]
    models[1].load_state_dict(models[0].state_dict())
    samples = [model.sample(latents(2), generator=seeded()) for model in models]
    assert (samples[0] - samples[1]).abs().max() > 1e-4


def test_weights_are_signal_to_noise_up_to_the_cap():
    model = small()
    weight = model.weight(torch.arange(1000))
    alpha = torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64), dim=0)
    torch.testing.assert_close(weight, (alpha / (1 - alpha)).clamp(max=5))
    assert (weight == 5).sum() == 130
    free = small(snr_cap=None).weight(torch.tensor([0]))
    torch.testing.assert_close(free, torch.tensor([9999.0], dtype=torch.float64))


def test_the_loss_is_the_weighted_error_of_the_prediction_in_unit_latents():
    model = small()
    model.latent_range.fit(4 * latents(9))
    mean, shown, noise = latents(3, 2)
    t = torch.tensor([3, 700])
    alpha = noise_schedule(model.config).alphas_cumprod[t][:, None]
    target, given = (model.latent_range.to_unit(z) for z in (mean, shown))
    predicted = model.denoise(alpha.sqrt() * target + (1 - alpha).sqrt() * noise, given, t)
    error = (predicted - target).square().mean(dim=1)
    torch.testing.assert_close(model.loss(mean, shown, t, noise), (model.weight(t) * error).mean())


def test_samples_lie_in_the_range_of_the_training_latents():
    model = small()
    seen = 1 + 4 * latents(9)
    model.latent_range.fit(seen)
    with torch.no_grad():
        model.denoiser.unet.conv_out.weight.mul_(50)
    samples = model.sample(seen, generator=seeded())
    torch.testing.assert_close(torch.stack(samples.aminmax()), torch.stack(seen.aminmax()))


def test_several_draws_are_averaged():
    model = small()
    shown, noise = latents(2), torch.randn(3, 2, 6, dtype=torch.float64)
    each = [model.sample(shown, noise=part[None]) for part in noise]
    torch.testing.assert_close(model.sample(shown, noise=noise), torch.stack(each).mean(dim=0))
    drawn = draw_noise(torch.empty(3, 2, 6, dtype=torch.float64), seeded(5))
    torch.testing.assert_close(model.sample(shown, generator=seeded(5), draws=3), model.sample(shown, noise=drawn))
    assert (each[0] - each[1]).abs().max() > 1e-4


def test_noise_is_the_same_in_both_precisions():
    single, double = (draw_noise(torch.empty(2, 6, dtype=d), seeded()) for d in (torch.float32, torch.float64))
    assert torch.equal(single.double(), double)
    assert abs(draw_noise(torch.empty(100_000), seeded()).std() - 1) < 0.01


def test_steps_of_a_sample_may_be_given():
    model = small()
    calls = []
    model.denoiser.register_forward_hook(lambda _, arguments, __: calls.append(arguments[2].tolist()))
    shown = latents(2)
    model.sample(shown, generator=seeded())
    assert calls == [[t, t] for t in (800, 600, 400, 200, 0)]
    calls.clear()
    model.sample(shown, generator=seeded(), steps=2)
    model.sample(shown, generator=seeded(), steps=1)
    assert calls == [[500, 500], [0, 0], [0, 0]]


def test_training_draws_every_step_and_new_noise(monkeypatch):
    model, seen = small(steps=20), []

    def keep(mean, condition, t, noise):
        seen.append((t, noise))
        return torch.zeros(())

    monkeypatch.setattr(model, "loss", keep)
    random = seeded()
    for _ in range(20):
        model.training_loss(latents(16), latents(16), random)
    times, noise = (torch.cat(part) for part in zip(*seen, strict=True))
    assert set(times.tolist()) == set(range(20))
    assert noise.dtype == torch.float64
    assert len(noise.unique()) > 1900


def test_sampling_without_or_with_two_sources_of_noise_is_refused():
    model, shown = small(), latents(2)
    with pytest.raises(RecipeError, match="got neither of noise and generator"):
        model.sample(shown)
    with pytest.raises(RecipeError, match="got both of noise and generator"):
        model.sample(shown, noise=latents(1, 2), generator=seeded())
    with pytest.raises(RecipeError, match="draws is 0; wanted at least 1"):
        model.sample(shown, generator=seeded(), draws=0)
    for noise, draws in ((latents(3, 2), 2), (latents(0, 2), None)):
        with pytest.raises(RecipeError, match=r"Noise has shape .* and draws is"):
            model.sample(shown, noise=noise, draws=draws)
    with pytest.raises(RecipeError, match="sampling_steps is 0; wanted 1 to 1000"):
        model.sample(shown, generator=seeded(), steps=0)


@pytest.mark.parametrize(
    ("choices", "complaint"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"layers_per_block": 0}, "layers_per_block is 0"),
        ({"attention_head_size": 0}, "attention_head_size is 0"),
        ({"attention_head_size": 12}, "width is 128 and attention_head_size 12; wanted an even width"),
        ({"lowest_beta": 0.0}, "lowest_beta is 0.0 and highest_beta 0.02; wanted 0 < lowest_beta"),
        ({"lowest_beta": 0.5}, "lowest_beta is 0.5"),
        ({"highest_beta": 1.0}, "highest_beta 1.0"),
        ({"sampling_steps": 1001}, "sampling_steps is 1001; wanted 1 to 1000"),
        ({"sampling_steps": 0}, "sampling_steps is 0"),
        ({"snr_cap": 0.0}, "snr_cap is 0.0; wanted more than 0"),
    ],
)
def test_choices_that_cannot_be_are_refused(choices, complaint):
    with pytest.raises(RecipeError) as refused:
        DiffusionConfig(**choices)
    assert complaint in str(refused.value)
