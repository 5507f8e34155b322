"""What every model can do, tried on every model in ``contract.MODELS``, and on WSDF with all that is our own, too."""

import dataclasses

import numpy as np
import pytest
import torch

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError, RecipeError, TopologyError, UsageError
from meshdisent.mesh.topology import Topology
from meshdisent.morphable import contract
from meshdisent.morphable.contract import EXAMPLES, KERNEL, Codes, refuse_other_topology
from meshdisent.morphable.model_file import load
from meshdisent.morphable.trainable import ModelCard
from meshdisent.training.loop import build
from meshdisent.training.recipe import Recipe, TrainingConfig, model_class

#: Configurations in conftest.py, and the models that they are of.
_OTHERS = (
    "wsdf on people", "wsdf of points, added", "wsdf of Chebyshev, added", "wsdf of Chebyshev",
    "fed of spirals, recoupled", "fed of Chebyshev",
)  # fmt: skip
MODEL_OF = {name: name for name in contract.MODELS} | {name: name.partition(" ")[0] for name in _OTHERS}
pytestmark = pytest.mark.parametrize("name", sorted(MODEL_OF))


@pytest.fixture(scope="module")
def models(tiny_scans, tiny_config):
    """One model of each configuration, calibrated, untrained where training would take long."""
    made = {}
    for name in MODEL_OF:
        assert name in tiny_config, f"add a tiny configuration of {name} to tests/morphable/conftest.py"
        made[name] = make(name, tiny_scans, tiny_config)
        made[name].calibrate(tiny_scans)
    return made


def make(name, scans, tiny_config, seed=1, **changes):
    kind = model_class(MODEL_OF[name], "the test")
    config = dataclasses.replace(tiny_config[name], **changes)
    training = TrainingConfig(steps=1) if kind.trainable else None
    return build(Recipe(model=MODEL_OF[name], seed=seed, config=config, training=training), scans).eval()


@pytest.fixture
def model(name, models):
    return models[name]


@pytest.fixture
def split_model(model):
    """The model, where it separates identity from expression."""
    if model.expression_size == 0:
        pytest.skip(f"{model.name} separates nothing; what it says instead is in its own tests")
    return model


@pytest.fixture
def sizes(name):
    """Entries of both codes of the tiny configurations; an autoencoder has one code, which stands for identity."""
    return (3, 0) if MODEL_OF[name] == "coma" else (3, 2)


@pytest.fixture
def shown(tiny_scans):
    return torch.from_numpy(tiny_scans.vertices(tiny_scans.rows("test")))


def factors_of(model):
    """The factors for which a model has a code."""
    return ("identity", "expression") if model.expression_size else ("identity",)


def test_codes_and_scans_have_the_promised_sizes(name, model, shown, sizes):
    codes = model.encode(shown)
    assert isinstance(codes, Codes)
    assert codes.identity.shape == (5, model.identity_size) == (5, sizes[0])
    assert codes.expression.shape == (5, model.expression_size) == (5, sizes[1])
    assert model.decode(codes).shape == shown.shape
    assert model.decode(codes).dtype == torch.float32
    assert model.name == MODEL_OF[name]


def test_faces_at_rest_and_expressions_alone_are_scans(name, split_model, shown):
    codes = split_model.encode(shown)
    for faces in (split_model.neutral(codes.identity), split_model.expression_only(codes.expression)):
        assert faces.shape == shown.shape
        assert faces.dtype == torch.float32


def test_the_neutral_is_what_no_expression_decodes_to(name, split_model, shown):
    model = split_model
    if model.name == "fed":
        pytest.skip("a zero expression code is an expression there; what the neutral is stands in test_fed.py")
    codes = model.encode(shown)
    at_rest = model.decode(Codes(codes.identity, torch.zeros_like(codes.expression)))
    # Two ways to the same face agree to rounding where the neutral is linear algebra alone.
    atol = 5e-5 if getattr(model, "is_neutral_linear", False) else 0.0
    torch.testing.assert_close(model.neutral(codes.identity), at_rest, rtol=0, atol=atol)
    on_no_one = model.decode(Codes(torch.zeros_like(codes.identity), codes.expression))
    assert torch.equal(model.expression_only(codes.expression), on_no_one)


def test_scans_and_codes_are_in_millimeters_around_the_mean_scan(name, model, tiny_scans, sizes):
    at_zero = model.decode(Codes(*(torch.zeros(1, size) for size in sizes)))[0]
    mean = tiny_scans.vertices(tiny_scans.rows("train")).mean(axis=0)
    assert (at_zero - torch.from_numpy(mean)).norm(dim=1).mean() < 10.0


def test_gradients_through_encoding_and_decoding_are_finite(name, model, shown):
    inputs = shown.clone().requires_grad_()
    codes = model.encode(inputs)
    (codes.identity.square().sum() + codes.expression.square().sum()).backward()
    leaves = Codes(*(code.detach().requires_grad_() for code in codes))
    model.decode(leaves).square().mean().backward()
    for gradient in (inputs.grad, *(leaf.grad for leaf in leaves if leaf.numel())):
        assert gradient.isfinite().all()
        assert (gradient != 0).any()


def test_gradients_are_those_of_finite_differences(name, models, shown, tiny_scans, tiny_config):
    double = make(name, tiny_scans, tiny_config).double()
    codes = Codes(*(code.detach()[:1] for code in double.encode(shown.double())))
    direction = Codes(*(torch.ones_like(code) for code in codes))
    slope = torch.func.jvp(lambda *pair: double.decode(Codes(*pair)), tuple(codes), tuple(direction))[1]
    ends = [double.decode(Codes(*(c + h * d for c, d in zip(codes, direction, strict=True)))) for h in (1e-5, -1e-5)]
    torch.testing.assert_close(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-6)


def test_a_scan_has_the_same_codes_and_face_alone_and_in_a_batch(name, model, tiny_scans):
    every = torch.from_numpy(tiny_scans.vertices())
    together = model.encode(every)
    alone = [model.encode(every[k : k + 1]) for k in range(0, len(every), 7)]
    torch.testing.assert_close(together.identity[::7], torch.cat([c.identity for c in alone]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together.expression[::7], torch.cat([c.expression for c in alone]), rtol=1e-5, atol=1e-5)
    faces = torch.cat([model.decode(codes) for codes in alone])
    torch.testing.assert_close(model.decode(together)[::7], faces, rtol=1e-5, atol=1e-5)


def test_the_order_of_a_batch_does_not_matter(name, model, shown):
    order = torch.tensor([3, 0, 4, 1, 2])
    straight, shuffled = model.encode(shown), model.encode(shown[order])
    torch.testing.assert_close(straight.identity[order], shuffled.identity, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(straight.expression[order], shuffled.expression, rtol=1e-5, atol=1e-5)


def test_what_is_saved_is_what_is_loaded(name, model, shown, tmp_path, monkeypatch):
    card = ModelCard(recipe={"seed": 1}, data_hash="abc", metrics={"E_avd": 1.5}, notes={"who": "Zoë"})
    monkeypatch.setattr(model, "card", card)
    model.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert type(loaded) is type(model)
    assert not loaded.training
    assert loaded.card == card
    assert loaded.config == model.config
    assert loaded.topology.template_hash == model.topology.template_hash
    assert np.array_equal(loaded.topology.faces, model.topology.faces)
    left_out = {k for k in model.state_dict() if k.startswith(model.training_only)} if model.training_only else set()
    assert loaded.state_dict().keys() == model.state_dict().keys() - left_out
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
    codes, again = model.encode(shown), loaded.encode(shown)
    assert torch.equal(codes.identity, again.identity)
    assert torch.equal(codes.expression, again.expression)
    assert torch.equal(model.decode(codes), loaded.decode(codes))
    for one, two in zip(vars(model.prior()).values(), vars(loaded.prior()).values(), strict=True):
        assert torch.equal(one, two)


def test_a_file_that_exists_is_not_overwritten_unless_that_is_said(name, model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(UsageError, match=r"model.safetensors exists already.*--overwrite"):
        model.save(tmp_path / "model.safetensors")
    model.save(tmp_path / "model.safetensors", overwrite=True)
    assert (tmp_path / "model.safetensors").read_bytes() == before, "the same model gives the same bytes"


def test_the_same_seed_gives_the_same_model(name, models, tiny_scans, tiny_config):
    again = make(name, tiny_scans, tiny_config)
    again.calibrate(tiny_scans)
    for key, value in again.state_dict().items():
        assert torch.equal(value, models[name].state_dict()[key]), key
    if again.trainable:
        other = make(name, tiny_scans, tiny_config, seed=2)
        assert any(not torch.equal(a, b) for a, b in zip(again.parameters(), other.parameters(), strict=True))


def test_making_a_model_leaves_the_random_state_alone(name, tiny_scans, tiny_config):
    before = torch.get_rng_state()
    make(name, tiny_scans, tiny_config)
    assert torch.equal(torch.get_rng_state(), before)


def test_double_precision_works_and_says_the_same(name, model, shown, tiny_scans, tiny_config):
    double = make(name, tiny_scans, tiny_config).double()
    codes, single = double.encode(shown.double()), model.encode(shown)
    assert codes.identity.dtype == codes.expression.dtype == double.decode(codes).dtype == torch.float64
    torch.testing.assert_close(codes.identity.float(), single.identity, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(double.decode(codes).float(), model.decode(single), rtol=1e-4, atol=1e-3)


def test_the_prior_is_where_the_codes_of_training_scans_lie(name, model, tiny_scans):
    codes = model.encode(torch.from_numpy(tiny_scans.vertices(tiny_scans.rows("train"))))
    prior, spread = model.prior(), model.prior().standard_deviations()
    for factor in factors_of(model):
        values = getattr(codes, factor).detach()
        mean, root = getattr(prior, f"{factor}_mean"), getattr(prior, f"{factor}_factor")
        scale = float(values.std(dim=0).max())
        torch.testing.assert_close(mean, values.mean(dim=0), rtol=1e-5, atol=1e-5 * scale)
        torch.testing.assert_close(root @ root.T, values.T.cov(), rtol=1e-3, atol=1e-5 * scale**2)
        torch.testing.assert_close(getattr(spread, factor)[0], values.std(dim=0), rtol=1e-3, atol=1e-4 * scale)


def test_samples_of_the_prior_have_its_mean_and_spread(name, model):
    prior = model.prior()
    drawn, again = (prior.sample(20000, torch.Generator().manual_seed(3)) for _ in range(2))
    other = prior.sample(20000, torch.Generator().manual_seed(4))
    assert drawn.expression.shape == (20000, model.expression_size)
    for factor in factors_of(model):
        values = getattr(drawn, factor)
        assert torch.equal(values, getattr(again, factor))
        assert not torch.equal(values, getattr(other, factor))
        covariance = getattr(prior, f"{factor}_factor") @ getattr(prior, f"{factor}_factor").T
        if factor == "expression":  # near examples, whose spread is that of the Gaussian but for N - 1 in place of N
            examples = prior.expression_examples.T.cov(correction=0)
            covariance = (1 - KERNEL**2) * examples + KERNEL**2 * covariance
        scale = float(covariance.diagonal().max())
        torch.testing.assert_close(values.mean(dim=0), getattr(prior, f"{factor}_mean"), rtol=0, atol=0.03 * scale**0.5)
        torch.testing.assert_close(values.T.cov(), covariance, rtol=0, atol=0.05 * scale)
    assert model.decode(Codes(*(code[:4] for code in drawn))).isfinite().all()


def test_expressions_are_drawn_near_those_of_training_scans(name, split_model):
    prior = split_model.prior()
    examples = prior.expression_examples
    assert len(examples) <= EXAMPLES
    near = prior.expression_mean + (1 - KERNEL**2) ** 0.5 * (examples - prior.expression_mean)
    drawn = prior.sample(500, torch.Generator().manual_seed(3)).expression
    apart = torch.linalg.solve_triangular(prior.expression_factor, (drawn[:, None] - near).flatten(0, 1).T, upper=False)
    # In deviations of the Gaussian the nearest example is as far as the kernel is wide, or nearer.
    nearest = apart.norm(dim=0).unflatten(0, (500, len(near))).min(dim=1).values
    assert nearest.square().mean() < 1.1 * KERNEL**2 * drawn.shape[1]


def test_without_examples_expressions_are_drawn_from_the_gaussian(name, split_model):
    gaussian = dataclasses.replace(split_model.prior(), expression_examples=None)
    values = gaussian.sample(20000, torch.Generator().manual_seed(3)).expression
    covariance = gaussian.expression_factor @ gaussian.expression_factor.T
    torch.testing.assert_close(values.T.cov(), covariance, rtol=0, atol=0.05 * float(covariance.diagonal().max()))


def test_the_moving_vertices_are_those_that_expressions_move(name, model, tiny_scans):
    rows = tiny_scans.rows("train")
    rest, known = tiny_scans.neutrals()
    assert known.all()
    path = np.linalg.norm(tiny_scans.vertices(rows) - rest[tiny_scans.subject[rows]], axis=2).mean(axis=0)
    moving = model.moving.numpy()
    assert moving.sum() == round(0.3 * 162)
    assert path[moving].min() >= path[~moving].max()
    assert (tiny_scans.topology.template[moving, 1] < 0).mean() > 0.9, "expressions were made on the lower half"


def test_calibration_without_true_neutrals_goes_by_the_given_ones(name, tiny_scans, tiny_config):
    blind = ScanDataset.from_arrays(
        tiny_scans.vertices(),
        tiny_scans.topology.faces,
        [tiny_scans.subjects[s] for s in tiny_scans.subject],
        ["?"] * len(tiny_scans),
        split=["train"] * len(tiny_scans),
    )
    assert not blind.neutrals()[1].any()
    model = make(name, tiny_scans, tiny_config)
    # Neutrals that are wrong by a meter at one vertex make just that one move most.
    given = np.stack([tiny_scans.vertices()[tiny_scans.subject == s].mean(axis=0) for s in range(6)])
    unlikely = int(np.argmax(tiny_scans.topology.template[:, 1]))
    model.calibrate(blind, given)
    assert not model.moving[unlikely]
    given[:, unlikely] += 1000
    model.calibrate(blind, given)
    assert model.moving[unlikely]
    model.calibrate(blind)
    assert not model.moving[unlikely]


def test_a_recipe_of_another_model_is_refused_before_anything_is_made(name, model, tiny_scans, tiny_config):
    other = next(other for other in contract.MODELS if other != MODEL_OF[name])
    recipe = Recipe(model=other, config=tiny_config[other], training=TrainingConfig(steps=1))
    with pytest.raises(RecipeError, match=rf"wanted a recipe whose model is {MODEL_OF[name]}"):
        type(model).fit(tiny_scans, recipe)


def test_a_dataset_without_training_scans_is_refused(name, model, tiny_scans, tiny_config):
    unsplit = ScanDataset.from_arrays(
        tiny_scans.vertices(), tiny_scans.topology.faces, ["a"] * 30, ["b"] * 30, split=["test"] * 30
    )
    with pytest.raises(DataError, match=r"no training scans.*Prepare it with a training split"):
        make(name, unsplit, tiny_config)
    with pytest.raises(DataError, match=r"no training scans.*Prepare it with a training split"):
        model.calibrate(unsplit)


def test_another_topology_is_refused_with_both_hashes(name, model, shapes):
    vertices, faces = shapes.sphere(1)
    other = Topology(vertices, faces)
    with pytest.raises(TopologyError) as refused:
        refuse_other_topology(model, other, "faces.h5")
    message = str(refused.value)
    assert all(word in message for word in ("faces.h5", other.topology_hash, model.topology.topology_hash, "42", "162"))
    refuse_other_topology(model, model.topology, "faces.h5")
    with pytest.raises(TopologyError, match=r"smile\.ply.*42.*162"):
        model.check_scan(42, faces, "smile.ply")
    with pytest.raises(TopologyError, match=r"smile\.ply"):
        model.check_scan(162, model.topology.faces[::-1, [0, 2, 1]], "smile.ply")


@pytest.mark.parametrize(
    ("identity", "expression", "message"),
    [
        ((1, 4), (1, 2), r"The identity code has shape \(1, 4\); this {} model wants \(batch, 3\), a row of"),
        ((5, 3), (5, 3), r"The expression code has shape \(5, 3\); this {} model wants \(batch, {}\), a row of"),
        ((3,), (2,), r"identity code has shape \(3,\); this {} model wants \(batch, 3\).*code\[None\] makes one row"),
        ((1, 3), (0,), r"The expression code has shape \(0,\); this {} model wants \(batch, {}\)"),
    ],
)
def test_codes_of_the_wrong_size_are_refused_with_both_sizes(name, model, identity, expression, message):
    with pytest.raises(UsageError, match=message.format(MODEL_OF[name], model.expression_size)):
        model.check_codes(Codes(torch.zeros(identity), torch.zeros(expression)))


def test_codes_are_checked_under_transforms_and_in_an_exported_program(name, model, sizes):
    class Checked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, identity, expression):
            self.model.check_codes(Codes(identity, expression))
            return self.model.decode(Codes(identity, expression))

    codes, checked = tuple(torch.ones(2, size) for size in sizes), Checked()
    value, slope = torch.func.jvp(checked, codes, codes)
    assert torch.equal(value, model.decode(Codes(*codes)))
    assert slope.abs().max() > 0
    batch = torch.export.Dim("batch")
    program = torch.export.export(checked, codes, dynamic_shapes=({0: batch}, {0: batch}))
    more = tuple(torch.ones(7, size) for size in sizes)
    torch.testing.assert_close(program.module()(*more), model.decode(Codes(*more)), rtol=1e-5, atol=1e-4)
    with pytest.raises(UsageError, match="The identity code has shape"):
        torch.func.jvp(checked, (torch.ones(2, 4), codes[1]), (torch.ones(2, 4), codes[1]))


def test_its_face_is_changed_by_hand_and_its_code_comes_back(model, sizes):
    from meshdisent.show.viewer_state import FaceState

    state = FaceState(model)
    assert set(state.directions) == {"identity", "expression"} if sizes[1] else {"identity"}
    state.randomize(3)
    state.move("identity", 0, 2.0)
    assert state.sliders("identity")[0] == pytest.approx(2.0, abs=1e-3)
    text, before = state.to_json(), state.vertices()
    state.reset()
    if sizes[1]:
        rest = model.neutral(model.prior().identity_mean[None])[0]
        np.testing.assert_array_equal(state.vertices(), rest.detach().numpy())
        state.move("expression", 0, float(state.sliders("expression")[0]))  # begins where the face at rest is nearest
        assert not state.is_at_rest
    state.load_json(text)
    np.testing.assert_array_equal(state.vertices(), before)
