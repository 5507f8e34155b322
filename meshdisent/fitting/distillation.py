r"""Score distillation: a diffusion model of pictures as a score of a rendered face (DreamFusion, Poole et al. 2023).

A picture x, or its latent z, gets noise of a random time t; the model says which noise it sees. Its gradient is that of

.. math:: \nabla_x L = w(t)\,(\hat\epsilon(x_t, t) - \epsilon), \qquad w(t) = 1 - \bar\alpha_t

without the Jacobian of the network; with a text, :math:`\hat\epsilon` is extrapolated from the empty text to the text
by the guidance scale. The pipeline lies in a local folder in the layout of diffusers; nothing is ever fetched.
"""

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.errors import DataError, UsageError

#: Networks that are known, by the class that the pipeline's folder names.
_NETWORKS = ("UNet2DModel", "UNet2DConditionModel")


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """How noise is added and the text followed.

    Attributes
    ----------
    earliest, latest : Times from which noise is drawn, as parts of all.
    guidance : How far beyond the empty text; DreamFusion takes 100.
    weight : Of the whole score.
    """

    earliest: float = 0.02
    latest: float = 0.98
    guidance: float = 30.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.earliest < self.latest <= 1:
            raise UsageError(
                f"Times from {self.earliest} to {self.latest} were asked for; wanted 0 <= earliest < latest <= 1."
            )
        if self.guidance < 0 or not self.weight > 0:
            raise UsageError(f"guidance is {self.guidance} and weight {self.weight}; wanted at least 0 and above 0.")


class ScoreDistillation:
    """A diffusers pipeline as a score, for :func:`~meshdisent.fitting.guidance.guide`.

    Attributes
    ----------
    network, scheduler, coder : Of the pipeline; ``coder`` (a VAE) only where it works on latents.
    text, empty : (1, length, channel) Embeddings, for networks that take a text.
    """

    def __init__(
        self,
        network: Any,
        scheduler: Any,
        *,
        coder: Any = None,
        text: Float[Tensor, "1 length channel"] | None = None,
        empty: Float[Tensor, "1 length channel"] | None = None,
        config: DistillationConfig | None = None,
    ):
        if (text is None) != (empty is None):
            raise UsageError("The embedding of the text or of the empty text is missing; wanted both or none of them.")
        takes_text = "Condition" in type(network).__name__
        if takes_text != (text is not None):
            raise UsageError(
                f"The network is a {type(network).__name__}, which takes {'a' if takes_text else 'no'} text, and "
                f"{'none' if text is None else 'one'} was given. Give a prompt or embeddings to the one, not the other."
            )
        self.network, self.scheduler, self.coder = network.eval(), scheduler, coder
        self.text, self.empty = text, empty
        self.config = config or DistillationConfig()
        for part in (network, coder):
            if part is not None:
                part.requires_grad_(False)

    @classmethod
    def from_folder(
        cls,
        folder: str | os.PathLike,
        *,
        prompt: str | None = None,
        embeddings: tuple[Float[Tensor, "1 length channel"], Float[Tensor, "1 length channel"]] | None = None,
        config: DistillationConfig | None = None,
        device: str = "cpu",
    ) -> "ScoreDistillation":
        """Open a pipeline: StableDiffusionPipeline's layout, or a network and a scheduler as DDPMPipeline has them.

        Parameters
        ----------
        prompt : What to make; needs the package transformers and the folder's tokenizer and text encoder.
        embeddings : Of the text and of the empty text instead, from wherever they come.

        Raises
        ------
        DataError : If the folder holds no such pipeline.
        UsageError : If diffusers, or for a prompt transformers, is missing, or the text does not suit the network.
        """
        diffusers = _diffusers()
        root = Path(folder)
        names = _index(root)
        kind = names["unet"][1]
        if kind not in _NETWORKS:
            raise DataError(f"{root} has the network {kind}; wanted one of {', '.join(_NETWORKS)}.")
        where = {"local_files_only": True}
        network = _part(root, "unet", getattr(diffusers, kind), **where).to(device)
        scheduler = _part(root, "scheduler", diffusers.DDPMScheduler, **where)
        coder = None
        if names.get("vae", [None, None])[1]:
            coder = _part(root, "vae", diffusers.AutoencoderKL, **where).to(device).eval()
        if prompt is not None and embeddings is not None:
            raise UsageError("A prompt and embeddings were given; wanted one of them.")
        if prompt is not None:
            embeddings = _embedded(root, prompt, device)
        text, empty = (None, None) if embeddings is None else (part.to(device) for part in embeddings)
        return cls(network, scheduler, coder=coder, text=text, empty=empty, config=config)

    def __call__(self, pictures: Float[Tensor, "view 3 size size"], generator: torch.Generator) -> Float[Tensor, ""]:
        """A number whose gradient is that of score distillation; its value is the mean squared error of the noise."""
        size = self._pixels()
        shown = torch.nn.functional.interpolate(2 * pictures - 1, (size, size), mode="bilinear", antialias=True)
        if self.coder is not None:
            shown = self.coder.encode(shown).latent_dist.mean * self.coder.config.scaling_factor
        with torch.no_grad():
            gradient, error = self._gradient(shown.detach(), generator)
        through = (shown * gradient).sum() / len(shown)
        return self.config.weight * (through + (error - through).detach())

    def _gradient(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        total = self.scheduler.config.num_train_timesteps
        low, high = int(self.config.earliest * total), max(int(self.config.latest * total), 1)
        time = torch.randint(low, high, (len(clean),), generator=generator, device=clean.device)
        noise = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
        noisy = self.scheduler.add_noise(clean, noise, time)
        if self.text is None or self.empty is None:
            said = self.network(noisy, time).sample
        else:
            texts = torch.cat([self.empty.expand(len(clean), -1, -1), self.text.expand(len(clean), -1, -1)])
            both = self.network(noisy.repeat(2, 1, 1, 1), time.repeat(2), encoder_hidden_states=texts).sample
            without, with_text = both.chunk(2)
            said = without + self.config.guidance * (with_text - without)
        kept = self.scheduler.alphas_cumprod.to(clean)[time][:, None, None, None]
        if self.scheduler.config.prediction_type == "v_prediction":
            said = kept.sqrt() * said + (1 - kept).sqrt() * noisy
        elif self.scheduler.config.prediction_type != "epsilon":
            raise DataError(
                f"The network says {self.scheduler.config.prediction_type}; wanted epsilon or v_prediction."
            )
        off = said - noise
        return ((1 - kept) * off).nan_to_num(0.0), off.square().mean()

    def _pixels(self) -> int:
        size = int(self.network.config.sample_size)
        if self.coder is None:
            return size
        return size * 2 ** (len(self.coder.config.block_out_channels) - 1)


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise UsageError("Score distillation needs the package diffusers; wanted `pip install diffusers`.") from error
    return diffusers


def _index(root: Path) -> dict[str, Any]:
    """What is in a pipeline's folder, by name: library and class."""
    file = root / "model_index.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        parts = {name: value for name, value in content.items() if isinstance(value, list) and len(value) == 2}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"{root} is no folder of a diffusers pipeline ({error}); wanted a model_index.json and the folders unet "
            "and scheduler, as save_pretrained writes them. Nothing is fetched from anywhere."
        ) from error
    if "unet" not in parts or "scheduler" not in parts:
        raise DataError(
            f"{file} names {', '.join(parts) or 'nothing'}; wanted unet and scheduler among them (Stable Diffusion's "
            "layout, or DDPM's)."
        )
    return parts


def _part(root: Path, name: str, kind: Any, **where: Any) -> Any:
    try:
        return kind.from_pretrained(root / name, **where)
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise DataError(f"{root / name} could not be opened as {kind.__name__} ({text}). Copy it whole.") from error


def _embedded(root: Path, prompt: str, device: str) -> tuple[Tensor, Tensor]:
    """Embeddings of a text and of the empty one, by the pipeline itself."""
    if importlib.util.find_spec("transformers") is None:
        raise UsageError(
            "A prompt needs the package transformers, which is not installed; wanted `pip install transformers`, or "
            "embeddings of the text and of the empty text instead."
        )
    pipeline = _part(root, "", _diffusers().StableDiffusionPipeline, local_files_only=True).to(device)
    with torch.no_grad():
        text, empty = pipeline.encode_prompt(prompt, device, 1, True)
    return text, empty
