r"""Representation diffusion: identity latents drawn from noise, given the latent of one image (LatentFace, sec. 3.2).

.. math:: x_t = \sqrt{\bar\alpha_t}\, u + \sqrt{1 - \bar\alpha_t}\, \epsilon, \qquad
   L = E\, w_t\, \overline{(u - u_\theta(x_t, u_c, t))^2}, \qquad w_t = \bar\alpha_t / (1 - \bar\alpha_t)

u is the unit latent (:class:`~meshdisent.latentface.identity_model.LatentRange`) of the mean of many frames, u_c that
of one of them. The network gives u itself, not the noise. Network and schedule are those of ``diffusers`` (the extra
``image``). Noise comes from a generator or a tensor, so the same call gives the same latents.
"""

from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshdisent.errors import RecipeError
from meshdisent.latentface.denoiser import Denoiser, diffusers_class
from meshdisent.latentface.identity_model import IdentityModel, LatentRange, check_norm_groups


@dataclass(frozen=True, kw_only=True)
class DiffusionConfig:
    """Sizes and choices of a representation diffusion; the defaults are the published ones but for the last two.

    Parameters
    ----------
    latent_size : Entries of a latent.
    width : Channels of the denoiser.
    norm_groups : Groups of each group norm; a group of one channel would have the same value whatever is shown.
    attention_head_size : Channels of an attention head.
    layers_per_block : Residual blocks on the way in; one more on the way out.
    steps : Steps of noise, from 0 to one less.
    lowest_beta, highest_beta : Share of noise added in the first and the last step, linear between them.
    sampling_steps : Steps of a sample; the published five are 800, 600, 400, 200 and 0.
    is_clipped : Whether predictions are cut to [-1, 1], in unit latents, in each sampling step.
    rule : How a sampling step goes on from a prediction p: ``ddim``, the textbook's, along the noise that p leaves
        unexplained; or ``published``, along p, which is what the version of ``diffusers`` did that the published code
        needs (0.14). Published weights are opened with it.
    snr_cap : Largest weight of a training step; none if not given, and none is mentioned in the papers. Without it the
        weight at step 0 is 9999, a third of all weights, and that of the ten cleanest steps four fifths, where copying
        the input is the answer. The default leaves 870 of the 1000 steps as they are (min-SNR, Hang et al. 2023).

    Raises
    ------
    RecipeError : If the numbers do not fit together.
    """

    latent_size: int = 256
    width: int = 128
    norm_groups: int = 32
    attention_head_size: int = 8
    layers_per_block: int = 2
    steps: int = 1000
    lowest_beta: float = 1e-4
    highest_beta: float = 2e-2
    sampling_steps: int = 5
    is_clipped: bool = True
    rule: Literal["ddim", "published"] = "ddim"
    snr_cap: float | None = 5.0

    def __post_init__(self) -> None:
        for name in ("latent_size", "attention_head_size", "layers_per_block", "steps"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; wanted at least 1. Set {name}.")
        check_norm_groups(self.width, self.norm_groups)
        if self.width % self.attention_head_size or self.width % 2:
            raise RecipeError(
                f"width is {self.width} and attention_head_size {self.attention_head_size}; wanted an even width that "
                "the head size divides. Set width to 128 and attention_head_size to 8."
            )
        if not 0 < self.lowest_beta <= self.highest_beta < 1:
            raise RecipeError(
                f"lowest_beta is {self.lowest_beta} and highest_beta {self.highest_beta}; wanted 0 < lowest_beta <= "
                "highest_beta < 1. Set them to 0.0001 and 0.02."
            )
        check_sampling_steps(self.sampling_steps, self.steps)
        if self.snr_cap is not None and self.snr_cap <= 0:
            raise RecipeError(f"snr_cap is {self.snr_cap}; wanted more than 0, or null for no cap. Set snr_cap.")


def check_sampling_steps(sampling_steps: int, steps: int) -> None:
    """Refuse samples of no step, or of more steps than there are.

    Raises
    ------
    RecipeError : If the steps of a sample are not from 1 to all.
    """
    if not 1 <= sampling_steps <= steps:
        raise RecipeError(f"sampling_steps is {sampling_steps}; wanted 1 to {steps}. Set sampling_steps to 5.")


class RepresentationDiffusion(IdentityModel):
    """Identity latents drawn from noise.

    Raises
    ------
    UsageError : If the package ``diffusers`` is missing.
    """

    def __init__(self, config: DiffusionConfig):
        super().__init__()
        self.config = config
        self.latent_size = config.latent_size
        self.latent_range = LatentRange()
        self.denoiser = Denoiser(
            config.latent_size,
            config.width,
            config.norm_groups,
            config.attention_head_size,
            config.layers_per_block,
        )
        self._schedule = noise_schedule(config)  # no buffer: it stays in double precision

    def denoise(
        self,
        noisy: Float[Tensor, "batch latent"],
        condition: Float[Tensor, "batch latent"],
        t: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch latent"]:
        """The clean unit latents, predicted from noisy ones and from the unit latents of images at step t."""
        return self.denoiser(noisy, condition, t)

    def weight(self, t: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Weight of training steps: signal to noise, at most the cap."""
        alpha = self._schedule.alphas_cumprod.to(t.device)[t]
        ratio = alpha / (1 - alpha)
        return ratio if self.config.snr_cap is None else ratio.clamp(max=self.config.snr_cap)

    def loss(
        self,
        mean_latent: Float[Tensor, "batch latent"],
        condition: Float[Tensor, "batch latent"],
        t: Int[Tensor, " batch"],
        noise: Float[Tensor, "batch latent"],
    ) -> Float[Tensor, ""]:
        """Weighted mean squared error of the prediction, in unit latents.

        Parameters
        ----------
        mean_latent : Mean latents of sequences.
        condition : The latent of one frame of each.
        t : Steps.
        noise : What is mixed in.
        """
        target = self.latent_range.to_unit(mean_latent)
        noisy = self._schedule.add_noise(target, noise, t)
        predicted = self.denoise(noisy, self.latent_range.to_unit(condition), t)
        error = (predicted - target).square().mean(dim=1)  # (B,)
        return (self.weight(t).to(error.dtype) * error).mean()

    def training_loss(
        self,
        mean_latent: Float[Tensor, "batch latent"],
        condition: Float[Tensor, "batch latent"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """The loss at steps and with noise drawn from the generator."""
        t = torch.randint(self.config.steps, mean_latent.shape[:1], generator=generator, device=generator.device)
        noise = draw_noise(mean_latent, generator)
        return self.loss(mean_latent, condition, t.to(noise.device), noise)

    def sample(
        self,
        condition: Float[Tensor, "batch latent"],
        *,
        noise: Float[Tensor, "draw batch latent"] | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
        draws: int | None = None,
    ) -> Float[Tensor, "batch latent"]:
        """Draw identity latents; gradients flow through unless the caller turns them off.

        Noise from a generator depends on the place in the batch. Give noise that is the same for each latent where an
        image's identity must not depend on the images beside it.

        Parameters
        ----------
        condition : Latents of images.
        noise : What to begin with; or
        generator : where it is drawn from.
        steps : Sampling steps, if other than configured.
        draws : How many samples to take the mean of; one, or as many as there is noise.

        Raises
        ------
        RecipeError : If not exactly one of noise and generator is given, or the number of draws or steps cannot be.
        """
        begin = _beginning(condition, noise, generator, draws)
        wanted = self.config.sampling_steps if steps is None else steps
        check_sampling_steps(wanted, self.config.steps)
        schedule = copy(self._schedule)
        schedule.set_timesteps(wanted)
        given = self.latent_range.to_unit(condition).repeat(len(begin), 1)  # (D * B, L)
        latents = begin.flatten(end_dim=1)
        advance = {"ddim": ddim_step, "published": published_step}[self.config.rule]
        for t in schedule.timesteps.tolist():
            predicted = self.denoise(latents, given, torch.full_like(latents[:, 0], t, dtype=torch.long))
            latents = advance(schedule, predicted, t, latents)
        return self.latent_range.from_unit(latents.unflatten(0, begin.shape[:2])).mean(dim=0)


def draw_noise(like: Float[Tensor, "*shape"], generator: torch.Generator) -> Float[Tensor, "*shape"]:
    """Normal noise, drawn in single precision on the generator's device: equal for each precision and device."""
    noise = torch.randn(like.shape, generator=generator, device=generator.device, dtype=torch.float32)
    return noise.to(like)


def noise_schedule(config: DiffusionConfig) -> Any:
    """The DDIM schedule of ``diffusers``, with its shares of signal in double precision.

    It computes them in single precision: off by 4e-7 of a share, and by 2e-4 of the signal to noise of step 0.
    """
    schedule = diffusers_class("DDIMScheduler")(
        num_train_timesteps=config.steps,
        beta_start=config.lowest_beta,
        beta_end=config.highest_beta,
        beta_schedule="linear",
        prediction_type="sample",
        clip_sample=config.is_clipped,
        clip_sample_range=1.0,
        set_alpha_to_one=True,
        timestep_spacing="leading",
        steps_offset=0,
    )
    schedule.betas = torch.linspace(config.lowest_beta, config.highest_beta, config.steps, dtype=torch.float64)
    schedule.alphas = 1 - schedule.betas
    schedule.alphas_cumprod = schedule.alphas.cumprod(dim=0)
    return schedule


def ddim_step(
    schedule: Any, predicted: Float[Tensor, "batch latent"], t: int, noisy: Float[Tensor, "batch latent"]
) -> Float[Tensor, "batch latent"]:
    r"""One step of DDIM without new noise (Song et al. 2021, eq. 12); c cuts to [-1, 1].

    .. math:: x' = \sqrt{\bar\alpha'}\, c(p) + \sqrt{1 - \bar\alpha'}\, e, \quad
       e = (x - \sqrt{\bar\alpha}\, p) / \sqrt{1 - \bar\alpha}
    """
    return schedule.step(predicted, t, noisy, eta=0.0, return_dict=False)[0]


def published_step(
    schedule: Any, predicted: Float[Tensor, "batch latent"], t: int, noisy: Float[Tensor, "batch latent"]
) -> Float[Tensor, "batch latent"]:
    r"""One step as ``diffusers`` 0.14 made it, where the prediction took the place of the noise; c cuts to [-1, 1].

    .. math:: x' = \sqrt{\bar\alpha'}\, c(p) + \sqrt{1 - \bar\alpha'}\, p
    """
    previous = t - schedule.config.num_train_timesteps // schedule.num_inference_steps
    alpha = schedule.alphas_cumprod[previous] if previous >= 0 else schedule.final_alpha_cumprod
    kept = predicted.clamp(-1, 1) if schedule.config.clip_sample else predicted
    return alpha.sqrt() * kept + (1 - alpha).sqrt() * predicted


def _beginning(condition: Tensor, noise: Tensor | None, generator: torch.Generator | None, draws: int | None) -> Tensor:
    """The noise (D, B, L) that samples begin with."""
    if (noise is None) == (generator is None):
        given = "neither" if noise is None else "both"
        raise RecipeError(f"Sampling got {given} of noise and generator; wanted one, so that it can be repeated.")
    if generator is not None:
        if draws is not None and draws < 1:
            raise RecipeError(f"draws is {draws}; wanted at least 1. Set draws.")
        return draw_noise(condition.expand(draws or 1, *condition.shape), generator)
    assert noise is not None
    if noise.ndim != 3 or noise.shape[1:] != condition.shape or draws not in (None, len(noise)) or not len(noise):
        raise RecipeError(
            f"Noise has shape {tuple(noise.shape)} and draws is {draws}; wanted (draws, *{tuple(condition.shape)}): "
            "one for each draw and latent. Leave draws out, or give a generator."
        )
    return noise.to(condition)
