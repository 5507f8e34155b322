"""Score distillation from tiny pipelines that are made and saved here."""

import importlib.util
import json
import string

import pytest
import torch
from small_photos import model

from meshdisent.errors import DataError, UsageError
from meshdisent.fitting.distillation import DistillationConfig, ScoreDistillation
from meshdisent.fitting.guidance import GuidanceConfig, guide

diffusers = pytest.importorskip("diffusers", reason="needs the extra image (diffusers)")


def _scheduler(**settings):
    return diffusers.DDPMScheduler(num_train_timesteps=20, **settings)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A DDPMPipeline: network and scheduler."""
    torch.manual_seed(0)
    network = diffusers.UNet2DModel(
        sample_size=16, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("plain")
    diffusers.DDPMPipeline(unet=network, scheduler=_scheduler()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def with_text(tmp_path_factory):
    """Stable Diffusion's layout without its text encoder, which needs transformers."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("text")
    diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        cross_attention_dim=6, attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).save_pretrained(folder / "unet")  # fmt: skip
    diffusers.AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4, sample_size=16,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    ).save_pretrained(folder / "vae")  # fmt: skip
    _scheduler().save_pretrained(folder / "scheduler")
    parts = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "DDPMScheduler"],
        "safety_checker": [None, None],
    }
    (folder / "model_index.json").write_text(json.dumps(parts))
    return folder


def test_the_gradient_is_that_of_the_noise_which_the_network_misses(plain):
    score = ScoreDistillation.from_folder(plain)
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2)).requires_grad_()
    value = score(pictures, torch.Generator().manual_seed(5))
    value.backward()
    generator = torch.Generator().manual_seed(5)
    time = torch.randint(0, 19, (2,), generator=generator)
    noise = torch.randn(2, 3, 16, 16, generator=generator)
    kept = score.scheduler.alphas_cumprod[time][:, None, None, None]
    noisy = kept.sqrt() * (2 * pictures.detach() - 1) + (1 - kept).sqrt() * noise
    with torch.no_grad():
        off = score.network(noisy, time).sample - noise
    torch.testing.assert_close(pictures.grad, 2 * (1 - kept) * off / 2, rtol=1e-4, atol=1e-6)
    assert float(value.detach()) == pytest.approx(float(off.square().mean()), rel=1e-4)


def test_a_face_is_led_by_a_network_and_the_same_seed_gives_the_same_face(plain):
    score = ScoreDistillation.from_folder(plain)
    config = GuidanceConfig(steps=2, size=16, views=1)
    first, second = (guide(model(), score, config) for _ in range(2))
    assert torch.equal(first.colors, second.colors)
    assert first.whitened.identity.abs().max() > 0.01


def test_the_text_is_followed_beyond_the_empty_one_through_the_latents(with_text):
    g = torch.Generator().manual_seed(3)
    text, empty = torch.randn(1, 5, 6, generator=g), torch.randn(1, 5, 6, generator=g)
    pictures = torch.rand(1, 3, 16, 16, generator=g)

    def slope(guidance, first, second):
        config = DistillationConfig(guidance=guidance)
        score = ScoreDistillation.from_folder(with_text, embeddings=(first, second), config=config)
        shown = pictures.clone().requires_grad_()
        score(shown, torch.Generator().manual_seed(4)).backward()
        return shown.grad

    none, one, two = (slope(scale, text, empty) for scale in (0.0, 1.0, 2.0))
    torch.testing.assert_close(two - one, one - none, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(none, slope(1.0, empty, text))
    assert (one - none).abs().max() > 1e-6


def test_what_says_the_speed_of_noise_is_understood(plain, with_text):
    score = ScoreDistillation.from_folder(plain)
    speed = ScoreDistillation(score.network, _scheduler(prediction_type="v_prediction"))
    pictures = torch.rand(1, 3, 16, 16).requires_grad_()
    value = speed(pictures, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    time = torch.randint(0, 19, (1,), generator=generator)
    noise = torch.randn(1, 3, 16, 16, generator=generator)
    kept = speed.scheduler.alphas_cumprod[time][:, None, None, None]
    noisy = kept.sqrt() * (2 * pictures.detach() - 1) + (1 - kept).sqrt() * noise
    with torch.no_grad():
        said = kept.sqrt() * score.network(noisy, time).sample + (1 - kept).sqrt() * noisy
    assert float(value.detach()) == pytest.approx(float((said - noise).square().mean()), rel=1e-4)
    clean = ScoreDistillation(score.network, _scheduler(prediction_type="sample"))
    with pytest.raises(DataError, match="The network says sample; wanted epsilon or v_prediction"):
        clean(pictures, torch.Generator())


def test_folders_and_texts_that_do_not_suit_are_refused(plain, with_text, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"no folder of a diffusers pipeline .* Nothing is fetched"):
        ScoreDistillation.from_folder(tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps({"vae": ["diffusers", "AutoencoderKL"]}))
    with pytest.raises(DataError, match="names vae; wanted unet and scheduler"):
        ScoreDistillation.from_folder(tmp_path)
    parts = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDPMScheduler"]}
    (tmp_path / "model_index.json").write_text(json.dumps(parts))
    with pytest.raises(DataError, match=r"unet could not be opened as UNet2DModel"):
        ScoreDistillation.from_folder(tmp_path)
    parts["unet"][1] = "FluxTransformer"
    (tmp_path / "model_index.json").write_text(json.dumps(parts))
    with pytest.raises(DataError, match="has the network FluxTransformer; wanted one of UNet2DModel"):
        ScoreDistillation.from_folder(tmp_path)
    with pytest.raises(UsageError, match="which takes a text, and none was given"):
        ScoreDistillation.from_folder(with_text)
    texts = (torch.zeros(1, 5, 6), torch.zeros(1, 5, 6))
    with pytest.raises(UsageError, match="which takes no text, and one was given"):
        ScoreDistillation.from_folder(plain, embeddings=texts)
    with pytest.raises(UsageError, match="A prompt and embeddings were given"):
        ScoreDistillation.from_folder(with_text, prompt="a face", embeddings=texts)
    score = ScoreDistillation.from_folder(plain)
    with pytest.raises(UsageError, match="wanted both or none"):
        ScoreDistillation(score.network, score.scheduler, text=texts[0])
    with pytest.raises(UsageError, match="wanted 0 <= earliest < latest <= 1"):
        DistillationConfig(earliest=0.9, latest=0.1)
    with pytest.raises(UsageError, match="guidance is -1"):
        DistillationConfig(guidance=-1.0)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else real(name))
    with pytest.raises(UsageError, match=r"A prompt needs the package transformers.*pip install transformers"):
        ScoreDistillation.from_folder(with_text, prompt="a face")


def test_a_prompt_is_read_by_the_folders_own_text_encoder(tmp_path):
    """A pipeline whose networks know nothing, with letters for words."""
    transformers = pytest.importorskip("transformers", reason="a prompt needs transformers, which nothing else does")
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    vocabulary = {text: k for k, text in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    files = str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")
    tokenizer = transformers.CLIPTokenizer(*files, model_max_length=16)
    ends = {"bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"]}
    config = transformers.CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=37, num_attention_heads=4, num_hidden_layers=2,
        max_position_embeddings=16, **ends,
    )  # fmt: skip
    torch.manual_seed(0)
    diffusers.StableDiffusionPipeline(
        unet=diffusers.UNet2DConditionModel(
            block_out_channels=(32, 64), layers_per_block=1, sample_size=16, in_channels=4, out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=32,
        ),
        vae=diffusers.AutoencoderKL(
            block_out_channels=[32, 64], down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=4,
        ),
        text_encoder=transformers.CLIPTextModel(config), tokenizer=tokenizer,
        scheduler=diffusers.DDPMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(tmp_path / "pipeline")  # fmt: skip
    score = ScoreDistillation.from_folder(tmp_path / "pipeline", prompt="an old man")
    assert (score.text - score.empty).abs().mean() > 0.1
    pictures = torch.rand(2, 3, 32, 32, requires_grad=True)
    score(pictures, torch.Generator().manual_seed(0)).backward()
    assert pictures.grad.abs().mean() > 0
