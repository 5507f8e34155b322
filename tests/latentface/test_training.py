"""LatentFace in the one loop: both stages, stopped and resumed, from disk, and what is refused."""

import signal

import numpy as np
import pytest
import torch
from tiny_faces import NETWORKS, tiny_config, tiny_images, tiny_recipe

from meshdisent.errors import DataError, ModelFileError, RecipeError, UsageError
from meshdisent.latentface.image_batches import ImageBatch, ImageBatches, LatentBatch, Wanted
from meshdisent.latentface.latentface import LatentFace, load_latentface
from meshdisent.latentface.settings import LatentFaceConfig, StageOneConfig, StageTwoConfig
from meshdisent.morphable.model_file import load, load_morphable
from meshdisent.training.loop import build, run_recipe
from meshdisent.training.progress import Interrupted
from meshdisent.training.recipe import Recipe, SamplerConfig

pytest.importorskip("diffusers", reason="needs the extra image (diffusers)")


@pytest.fixture(scope="module")
def images():
    return tiny_images()


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def kept(model):
    """What a model file keeps: confidence is only needed in training."""
    return {name: value for name, value in state(model).items() if "confidence." not in name}


def same(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def batches(images, **changes):
    latents = lambda data, rows: torch.arange(2 * len(rows) * 3).reshape(2, -1, 3).float()  # noqa: E731
    config = SamplerConfig(kind="uniform", anchors=3, partners=0, seed=5)
    return ImageBatches(images, config, torch.device("cpu"), torch.float32, latents, **changes)


def test_stage_one_learns_and_then_stays_as_it_is_while_stage_two_learns(images):
    recipe = tiny_recipe()
    begun = build(recipe, images)
    one = run_recipe(tiny_recipe(tiny_config("none"), steps=4), images, progress=False).model
    both = run_recipe(recipe, images, progress=False).model
    assert same(state(one.stage_one), state(both.stage_one))
    assert not same(state(begun.stage_one), state(both.stage_one))
    assert not same(state(begun.identities), state(both.identities))


def test_training_makes_the_loss_smaller(images):
    recipe = tiny_recipe(tiny_config("none"), steps=30, learning_rate=3e-3)
    before = build(recipe, images)
    after = run_recipe(recipe, images, progress=False).model
    batch = ImageBatch(images=2 * torch.from_numpy(images.images()) - 1, rows=torch.arange(20))
    generator = torch.Generator()

    def loss(model):
        terms = model.stage_one.objective(batch, generator)
        return sum(weight * float(terms[name].detach()) for name, weight in model.stage_one.weights().items())

    assert loss(after) < loss(before) - 0.5


@pytest.mark.parametrize("stop", [2, 4, 6])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(images, tmp_path, monkeypatch, stop):
    """Within stage one, between the stages, and within stage two."""
    recipe = tiny_recipe()
    whole = run_recipe(recipe, images, progress=False).model
    original, taken = LatentFace.measure, []
    from meshdisent.training.loop import Loop

    take = Loop.take_step

    def counted(loop):
        take(loop)
        taken.append(1)
        if len(taken) == stop:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Loop, "take_step", counted)
    with pytest.raises(Interrupted):
        run_recipe(recipe, images, tmp_path / "run", progress=False)
    result = run_recipe(recipe, images, tmp_path / "run", resume=True, progress=False)
    assert len(taken) == 8
    assert same(state(whole), state(result.model))
    assert original is LatentFace.measure


def test_a_model_file_gives_the_same_model(images, tmp_path):
    result = run_recipe(tiny_recipe(), images, tmp_path / "run", progress=False)
    opened = load(tmp_path / "run")
    assert isinstance(opened, LatentFace)
    assert same(kept(result.model), kept(opened))
    assert opened.config == result.model.config
    pictures = torch.from_numpy(images.images(np.arange(3)))
    ours, theirs = (model.eval().encode(pictures, seed=1, draws=2) for model in (result.model, opened))
    assert torch.equal(ours.texture_expression, theirs.texture_expression)
    assert torch.equal(ours.shape_identity, theirs.shape_identity)
    with pytest.raises(ModelFileError, match="a model of pictures; wanted a morphable model"):
        load_morphable(tmp_path / "run")


def test_a_halved_file_is_smaller_and_says_nearly_the_same(images, tmp_path):
    wide = type(NETWORKS)(**(vars(NETWORKS) | {"width": 16}))
    model = build(tiny_recipe(tiny_config("none", networks=wide)), images).eval()
    model.save(tmp_path / "whole.safetensors")
    model.save(tmp_path / "half.safetensors", half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    pictures = torch.from_numpy(images.images(np.arange(3)))
    first, second = (load(tmp_path / f"{name}.safetensors").explain(pictures) for name in ("whole", "half"))
    assert (first.raw_depth - second.raw_depth).abs().max() < 0.01 * first.raw_depth.abs().max()


def test_stage_two_may_start_from_a_model_that_has_stage_one(images, tmp_path):
    one = run_recipe(tiny_recipe(tiny_config("none")), images, tmp_path / "one", progress=False).model
    start = str(tmp_path / "one")
    two = tiny_recipe(tiny_config("encoder", stage_one_steps=None, start=start))
    result = run_recipe(two, images, progress=False).model
    assert same(kept(one.stage_one), kept(result.stage_one))
    wider = tiny_config("encoder", stage_one_steps=None, start=start, networks=NetworkConfigWider)
    with pytest.raises(RecipeError, match="whose networks are"):
        build(tiny_recipe(wider), images)


NetworkConfigWider = type(NETWORKS)(**(vars(NETWORKS) | {"width": 8}))


def test_identities_do_not_depend_on_the_pictures_beside_them(images):
    model = build(tiny_recipe(), images).eval()
    pictures = torch.from_numpy(images.images(np.arange(4)))
    together = model.encode(pictures, seed=2)
    alone = model.encode(pictures[2:3], seed=2)
    assert torch.allclose(together.shape_identity[2:3], alone.shape_identity, atol=1e-6)
    other = model.encode(pictures, seed=3)
    assert not torch.allclose(together.shape_identity, other.shape_identity, atol=1e-3)


def test_a_model_without_stage_two_says_that_it_knows_no_person(images):
    model = build(tiny_recipe(tiny_config("none")), images)
    with pytest.raises(UsageError, match="finds the person in no part at all, not in the texture code"):
        model.encode(torch.from_numpy(images.images(np.arange(2))))


def test_validation_has_depth_where_the_truth_is_known():
    known = tiny_images(has_truth=True)
    model = build(tiny_recipe(), known)
    figures = model.measure(known)
    assert figures["measured"] == {"pictures": 4}
    assert 0 < figures["photo"] < 100
    assert 0 < figures["SIDE"] < 20
    assert 0 < figures["MAD"] < 90
    assert figures["identity"] > 0
    unknown = model.measure(tiny_images())
    assert (unknown["SIDE"], unknown["MAD"]) == (None, None)
    assert unknown["photo"] == pytest.approx(figures["photo"])
    assert model.measure(known, "test") == {}
    assert "SIDE" in LatentFace.in_words(figures)


def test_batches_of_pictures_are_the_same_from_memory_and_from_disk(images, tmp_path):
    images.save(tmp_path / "images.h5")
    from meshdisent.data.images.image_dataset import ImageDataset

    wanted = Wanted(kind="images", mirrored=0.5)
    with batches(images) as held, batches(ImageDataset.open(tmp_path / "images.h5"), memory_limit=0.0) as read:
        held.accompany(wanted, 0)
        read.accompany(wanted, 0)
        for _ in range(9):
            first, second = held.next(), read.next()
            assert torch.equal(first.rows, second.rows)
            assert torch.equal(first.images, second.images)
        kept = read.state()
        following = [read.next() for _ in range(4)]
        with batches(images) as resumed:
            resumed.accompany(wanted, 0)
            resumed.restore(kept)
            again = [resumed.next() for _ in range(4)]
        assert all(torch.equal(a.images, b.images) for a, b in zip(following, again, strict=True))


def test_half_of_the_pictures_are_mirrored(images):
    with batches(images) as plain, batches(images) as mixed:
        plain.accompany(Wanted(kind="images"), 0)
        mixed.accompany(Wanted(kind="images", mirrored=0.5), 0)
        turned = []
        for _ in range(40):
            first, second = plain.next().images, mixed.next().images
            is_same, is_mirrored = ((first == other).flatten(1).all(1) for other in (second, second.flip(3)))
            assert (is_same | is_mirrored).all()
            turned += is_mirrored.tolist()
    assert 0.35 < np.mean(turned) < 0.65


def test_latents_of_a_batch_are_frames_of_one_sequence(images):
    with batches(images) as supply:
        supply.accompany(Wanted(kind="latents", frames=3), 0)
        for _ in range(6):
            batch = supply.next()
            assert isinstance(batch, LatentBatch)
            rows = batch.texture[..., 0] / 3
            assert (rows.div(4, rounding_mode="floor") == rows[:, :1].div(4, rounding_mode="floor")).all()
            assert torch.equal(batch.shape - batch.texture, torch.full_like(batch.texture, 48.0))


def test_what_cannot_be_trained_on_is_refused(images):
    with pytest.raises(DataError, match="has pictures of 32 pixels; the recipe wants 64"):
        build(Recipe(model="latentface", config=LatentFaceConfig(), training=tiny_recipe().training), images)
    alone = tiny_images(frames=2)
    alone.labels.frame[:], alone.sequence[0] = 0, 4
    with pytest.raises(DataError, match="has one training picture"):
        run_recipe(tiny_recipe(), alone, progress=False)
    with pytest.raises(RecipeError, match="wanted one of them where there is a stage two"):
        build(tiny_recipe(tiny_config(stage_one_steps=None)), images)
    with pytest.raises(RecipeError, match=r"stage_two\.method is none; take them out"):
        build(tiny_recipe(tiny_config("none", stage_one_steps=3)), images)


def test_recipes_that_make_no_sense_are_refused(tmp_path, images):
    with pytest.raises(RecipeError, match="vgg_file is not given"):
        StageOneConfig(features="vgg")
    with pytest.raises(RecipeError, match="features is filters; set features to vgg"):
        StageOneConfig(vgg_file="vgg.pth")
    with pytest.raises(RecipeError, match="flip is -1"):
        StageOneConfig(flip=-1.0)
    with pytest.raises(RecipeError, match="parts is"):
        StageTwoConfig(parts=())
    with pytest.raises(RecipeError, match=r"latent_size is 256, networks\.code_size 8"):
        LatentFaceConfig(networks=NETWORKS, stage_two=StageTwoConfig(method="diffusion"))
    config = tiny_config("none", stage_one=StageOneConfig(features="vgg", vgg_file=str(tmp_path / "vgg.pth")))
    with pytest.raises(ModelFileError, match="They are never fetched"):
        run_recipe(tiny_recipe(config), images, progress=False)


def test_a_checkpoint_of_another_size_is_refused(images, tmp_path):
    run_recipe(tiny_recipe(), images, tmp_path / "run", progress=False)
    with pytest.raises(DataError, match="has pictures of 64 pixels"):
        run_recipe(tiny_recipe(), tiny_images(size=64), tmp_path / "run", resume=True, progress=False)


def test_the_published_checkpoint_is_a_latentface(request):
    path = request.getfixturevalue("published_latentface")
    model = load_latentface(path)
    codes = model.encode(torch.rand(2, 3, 64, 64))
    assert codes.texture_expression.shape == (2, 32)
    assert model.config.stage_two.diffusion.rule == "published"
