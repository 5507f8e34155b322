"""LatentFace's published diffusion: denoiser, schedule, both samplers, with and without clipping, and the loss."""

import numpy as np
import pytest
import torch

from meshdisent.latentface.denoiser import TimeSinusoid, diffusers_class
from meshdisent.latentface.diffusion import DiffusionConfig, RepresentationDiffusion, noise_schedule
from meshdisent.latentface.published import published_state
from meshdisent.latentface.sequence_frames import mean_and_condition

pytest.importorskip("diffusers", reason="needs the extra image")

#: Inputs and results are stored in single precision; differences are 4e-8.
SINGLE = 1e-7
RULES = {"ddim": "ddim", "d014": "published"}


def double(arrays, key):
    return torch.from_numpy(arrays[key]).double()


def filled(arrays, latentface_parameters, rule="ddim"):
    """The published denoiser, filled by the recipe under its published names."""
    state = latentface_parameters.state("netEA", arrays.peek("keys"), arrays.peek("shapes"))
    model = RepresentationDiffusion(DiffusionConfig(rule=rule, snr_cap=None)).double()
    model.load_state_dict(published_state("netEA", state), strict=False)
    return model, state


def followed(model, noise, condition):
    """A sample, step by step: noisy latents, begin to end, and predictions."""
    steps, predictions = [], []

    def keep(_, arguments, prediction):
        steps.append(arguments[0])
        predictions.append(prediction)

    handle = model.denoiser.register_forward_hook(keep)
    with torch.no_grad():
        end = model.sample(condition, noise=noise[None])
    handle.remove()
    return torch.stack([*steps, end]), torch.stack(predictions)


def test_the_diffusion_is_the_published_one(golden_latentface, latentface_parameters):
    arrays = golden_latentface("rdm")
    model, state = filled(arrays, latentface_parameters)
    noise, condition = double(arrays, "fwd_x"), double(arrays, "fwd_cond")
    times = torch.from_numpy(arrays["fwd_t"])
    ours = {
        "fwd_time_proj": TimeSinusoid(128)(times),
        "fwd_out": model.denoise(noise, condition, times),
        **parameters(arrays, model, state),
        **schedule_numbers(model),
        **loss_numbers(arrays, model),
    }
    for name, rule in RULES.items():
        model, _ = filled(arrays, latentface_parameters, rule)
        ours[f"{name}_x_steps"], ours[f"{name}_pred_steps"] = followed(model, noise, condition)
        with torch.no_grad():
            model.denoiser.unet.conv_out.weight.mul_(2)
            model.denoiser.unet.conv_out.bias.mul_(2)
        steps, predictions = followed(model, noise, condition)
        ours |= {f"{name}_clipcase_x_steps": steps, f"{name}_clipcase_pred_steps": predictions}
        assert 0.01 < (predictions.abs() > 1).double().mean() < 0.2
    reason = "the formula of the papers read literally, which is not what the weight is"
    loose = dict.fromkeys(("fwd_*", "loss_*", "d014_*", "ddim_*"), SINGLE)
    # In single precision, as the library computes them, but of other versions of the library.
    loose |= {"betas": 1e-6, "alphas_cumprod": 1e-6}
    arrays.check(ours, tolerance=1e-12, loose=loose, exempt={"snr_literal64": reason})


def parameters(arrays, model, state):
    renamed = published_state("netEA", {key: state[key] for key in map(str, arrays["attn_keys_old"])})
    own = [name for name in model.state_dict() if name.startswith("denoiser.")]
    assert set(own) == set(published_state("netEA", state))
    return {
        "attn_keys_new": np.array([name.removeprefix("denoiser.unet.") for name in renamed]),
        "keys": np.array(list(state)),
        "shapes": np.array([[*value.shape, 0, 0, 0][:4] for value in state.values()], dtype=np.int32),
        "sums": np.array([value.sum().item() for value in state.values()]),
        "nparams": np.array(sum(value.numel() for value in model.parameters())),
    }


def schedule_numbers(model):
    schedule = noise_schedule(model.config)
    schedule.set_timesteps(5)
    plain = diffusers_class("DDIMScheduler")(beta_start=1e-4, beta_end=2e-2)
    return {
        "betas": plain.betas,
        "alphas_cumprod": plain.alphas_cumprod,
        "betas64": schedule.betas,
        "alphas_cumprod64": schedule.alphas_cumprod,
        "snr64": model.weight(torch.arange(1000)),
        "timesteps_S5": schedule.timesteps,
        "prev_timesteps_S5": schedule.timesteps - 1000 // 5,
    }


def loss_numbers(arrays, model):
    frames, times, noise = (
        double(arrays, "loss_frames"),
        torch.from_numpy(arrays["loss_t"]),
        double(arrays, "loss_noise"),
    )
    first = int(arrays["loss_cond_index"])
    drawn = torch.tensor([first, *(k for k in range(16) if k != first)])
    mean, condition = (torch.stack(part) for part in zip(*(mean_and_condition(f, drawn) for f in frames), strict=True))
    noisy = noise_schedule(model.config).add_noise(mean, noise, times)
    predicted = model.denoise(noisy, condition, times)
    square = (predicted - mean).square()
    return {
        "loss_z0": mean,
        "loss_zt": noisy,
        "loss_pred": predicted,
        "loss_mse_per_sample": square.mean(dim=1),
        "loss_sse_per_sample": square.sum(dim=1),
        "loss_snr": model.weight(times),
        "loss_weighted_mean": model.loss(mean, condition, times, noise),
        "loss_unweighted_mean": square.mean(),
    }


@pytest.mark.parametrize(("name", "rule"), RULES.items())
def test_single_precision_is_near(golden_latentface, latentface_parameters, name, rule):
    arrays = golden_latentface("rdm")
    model, _ = filled(arrays, latentface_parameters, rule)
    noise, condition = (torch.from_numpy(arrays[key]) for key in ("fwd_x", "fwd_cond"))
    steps, _ = followed(model.float(), noise, condition)
    np.testing.assert_allclose(steps[-1].numpy(), arrays[f"{name}_x_steps"][-1], rtol=0, atol=2e-5)
