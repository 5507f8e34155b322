"""What every identity model keeps: seeds, batches, ranges, gradients, precision."""

import pytest
import torch

from meshdisent.errors import DataError, RecipeError
from meshdisent.latentface.diffusion import DiffusionConfig, RepresentationDiffusion
from meshdisent.latentface.identity_encoder import IdentityEncoder, IdentityEncoderConfig
from meshdisent.latentface.identity_model import LatentRange, check_norm_groups

SIZES = {"latent_size": 6, "width": 16, "norm_groups": 4}


def diffusion():
    pytest.importorskip("diffusers", reason="needs the extra image")
    return RepresentationDiffusion(DiffusionConfig(**SIZES))


MODELS = {"diffusion": diffusion, "encoder": lambda: IdentityEncoder(IdentityEncoderConfig(**SIZES))}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_are_like_the_latents(model, batch, dtype):
    identity = model.to(dtype).sample(torch.rand(batch, 6, dtype=dtype), generator=seeded(), draws=2)
    assert identity.shape == (batch, model.latent_size)
    assert identity.dtype == dtype
    assert identity.isfinite().all()


def test_the_condition_matters(model):
    shown = torch.rand(1, 6)
    identities = [model.sample(latents, generator=seeded()) for latents in (shown, shown.flip(1))]
    assert (identities[0] - identities[1]).abs().max() > 1e-3


def test_the_generator_alone_decides_and_the_global_one_is_left_alone(model):
    shown, mean = torch.rand(2, 3, 6)
    before = torch.get_rng_state()
    first, again = (model.sample(shown, generator=seeded(3)) for _ in range(2))
    loss, loss_again = (model.training_loss(mean, shown, seeded(4)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(loss, loss_again)
    assert torch.equal(torch.get_rng_state(), before)


def test_gradients_reach_every_weight(model):
    for _ in range(20):  # several steps of noise
        model.training_loss(torch.rand(4, 6), torch.rand(4, 6), seeded()).backward()
    unused = ("to_q", "to_k")  # attention over one pixel
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0 or any(part in name for part in unused), name


def test_training_makes_the_loss_small(model):
    random = seeded(1)
    people = torch.rand(4, 6, generator=random)
    model.latent_range.fit(people)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    errors = []
    for _ in range(150):
        who = torch.randint(4, (16,), generator=random)
        shown = people[who] + 0.1 * torch.randn(16, 6, generator=random)
        loss = model.training_loss(people[who], shown, random)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert sum(errors[-20:]) < 0.4 * sum(errors[:20])
    found = model.eval().sample(people, generator=random, draws=4)
    assert (found - people).square().mean() < 0.5 * people.var(dim=0).mean()


def test_a_saved_model_gives_the_same_samples_in_the_same_range(model):
    latents = 7 * torch.rand(5, 6)
    model.latent_range.fit(latents)
    other = type(model)(model.config)
    other.load_state_dict(model.state_dict())
    same = (m.sample(latents, generator=seeded()) for m in (model, other))
    assert torch.equal(next(same), next(same))


def test_the_range_is_from_the_least_to_the_largest_entry():
    seen = LatentRange()
    latents = torch.tensor([[0.0, 3.0], [8.0, 1.0]])
    assert torch.equal(seen.to_unit(latents), latents)
    seen.fit(latents)
    assert seen.to_unit(latents).tolist() == [[-1.0, -0.25], [1.0, -0.75]]
    torch.testing.assert_close(seen.from_unit(seen.to_unit(latents)), latents)
    assert set(seen.state_dict()) == {"center", "scale"}


@pytest.mark.parametrize("latents", [torch.ones(3, 4), torch.tensor([[0.0, float("nan")]]), torch.zeros(0, 4)])
def test_a_range_of_nothing_is_refused(latents):
    with pytest.raises(
        DataError, match=rf"The {len(latents)} latents lie between .*; wanted finite numbers that differ"
    ):
        LatentRange().fit(latents)


@pytest.mark.parametrize(("width", "groups"), [(32, 32), (100, 32), (64, 0), (16, 32)])
def test_norms_that_wipe_out_what_they_are_shown_are_refused(width, groups):
    with pytest.raises(RecipeError, match=rf"width is {width} and norm_groups {groups}; wanted a width that is 2, 3"):
        check_norm_groups(width, groups)


@pytest.mark.parametrize("config", [DiffusionConfig, IdentityEncoderConfig])
def test_both_configurations_check_their_norms_and_sizes(config):
    with pytest.raises(RecipeError, match="width is 32 and norm_groups 32"):
        config(width=32)
    with pytest.raises(RecipeError, match="latent_size is 0; wanted at least 1"):
        config(latent_size=0)
    assert config(width=96).norm_groups == 32
