"""The linear model: exact where the data is linear, and each of its formulas against another program."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError, RecipeError
from meshdisent.mesh.symmetry import mirror_map
from meshdisent.mesh.topology import Topology
from meshdisent.metrics import e_avd
from meshdisent.morphable.contract import Codes
from meshdisent.morphable.linear import LinearConfig, LinearModel, least_squares_encoder, ridge, solve


@pytest.fixture(scope="module")
def exact_scans(shapes) -> ScanDataset:
    """Eight people times six expressions: 3 directions of people plus 2 of expressions. True neutrals are known."""
    vertices, faces = shapes.sphere(2)
    random = np.random.default_rng(5)
    who = random.normal(size=(8, 3)) @ random.normal(size=(3, 162 * 3))
    what = np.concatenate([np.zeros((1, 2)), random.normal(size=(5, 2))]) @ random.normal(size=(2, 162 * 3))
    rest = 80 * vertices + 2 * who.reshape(8, 162, 3)
    scans = (rest[:, None] + 2 * what.reshape(6, 162, 3)).reshape(48, 162, 3)
    names = [f"s{s}" for s in range(8)]
    return ScanDataset.from_arrays(
        scans,
        faces,
        np.repeat(names, 6).tolist(),
        [f"e{e}" for e in range(6)] * 8,
        template=80 * vertices,
        split=["train"] * 36 + ["test"] * 12,
        truth=dict(zip(names, rest, strict=True)),
    )


@pytest.mark.parametrize(
    "choice", [{"encoder": "ridge", "ridge_weight": 1e-9}, {"encoder": "least_squares", "prior_weight": 0.0}]
)
def test_on_linear_scans_of_new_people_everything_is_exact(exact_scans, choice):
    config = LinearConfig(identity_size=3, expression_size=2, neutrals="known", **choice)
    model = LinearModel.fit(exact_scans, config)
    rows = exact_scans.rows("test")
    shown, rest = exact_scans.vertices(rows), exact_scans.neutrals()[0][exact_scans.subject[rows]]
    codes = model.encode(torch.from_numpy(shown))
    assert e_avd(model.decode(codes).numpy(), shown).max() < 1e-3
    assert e_avd(model.neutral(codes.identity).numpy(), rest).max() < 1e-3
    mixed = model.decode(Codes(codes.identity[:1], codes.expression[7:8])).numpy()  # first person, the other's e1
    assert e_avd(mixed, shown[1:2]).max() < 1e-3


def test_codes_have_unit_variance_over_the_people_and_scans_that_made_the_bases(exact_scans):
    config = LinearConfig(identity_size=3, expression_size=2, neutrals="known", ridge_weight=1e-9)
    model = LinearModel.fit(exact_scans, config)
    codes = model.encode(torch.from_numpy(exact_scans.vertices(exact_scans.rows("train"))))
    torch.testing.assert_close(codes.identity.square().mean(dim=0), torch.ones(3), rtol=1e-3, atol=0)
    torch.testing.assert_close(codes.expression.square().mean(dim=0), torch.ones(2), rtol=1e-3, atol=0)
    neutral = codes.expression[::6]
    torch.testing.assert_close(neutral, torch.zeros_like(neutral), rtol=0, atol=2e-3)


def test_bases_are_principal_components_of_neutrals_and_of_displacements(tiny_scans):
    from sklearn.decomposition import PCA

    config = LinearConfig(identity_size=3, expression_size=2, neutrals="known")
    neutrals, _ = tiny_scans.neutrals()
    rows = tiny_scans.rows("train")
    parts = solve(tiny_scans, neutrals.astype(np.float64), config)
    people = neutrals[:4].reshape(4, -1).astype(np.float64)
    theirs = PCA(3).fit(people)
    np.testing.assert_allclose(parts.rest, theirs.mean_, atol=1e-9)
    scale = np.sqrt(theirs.explained_variance_ * 3 / 4)  # over N, not N - 1
    ours = parts.identity_basis.numpy()
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), scale, rtol=1e-9)
    np.testing.assert_allclose(np.abs((ours / scale[:, None] * theirs.components_).sum(axis=1)), 1, rtol=1e-9)
    moved = (tiny_scans.vertices(rows) - neutrals[tiny_scans.subject[rows]]).reshape(20, -1).astype(np.float64)
    values, axes = np.linalg.eigh(moved @ moved.T)  # about zero: no expression is the zero code
    basis = parts.expression_basis.numpy()
    np.testing.assert_allclose(np.linalg.norm(basis, axis=1), np.sqrt(values[::-1][:2] / 20), rtol=1e-4)
    direction = moved.T @ axes[:, -1] / np.sqrt(values[-1])
    np.testing.assert_allclose(np.abs(basis[0] @ direction) / np.linalg.norm(basis[0]), 1, rtol=1e-5)


def test_ridge_is_the_ridge_of_scikit_learn():
    from sklearn.linear_model import Ridge

    random = np.random.default_rng(0)
    inputs = random.normal(size=(50, 6))
    inputs -= inputs.mean(axis=0)
    targets = random.normal(size=(50, 3)) + 4
    weights, offset = ridge(torch.from_numpy(inputs), torch.from_numpy(targets), 0.3)
    theirs = Ridge(alpha=0.3 * 50).fit(inputs, targets)  # its sum of squares is our mean times N
    np.testing.assert_allclose(weights.T, theirs.coef_, atol=1e-12)
    np.testing.assert_allclose(offset, theirs.intercept_, atol=1e-12)


def test_the_ridge_encoder_is_scikit_learns_pca_and_ridge(tiny_scans):
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge

    config = LinearConfig(identity_size=3, expression_size=2, neutrals="known", components=6, ridge_weight=0.05)
    neutrals = tiny_scans.neutrals()[0].astype(np.float64)
    rows = tiny_scans.rows("train")
    shown = tiny_scans.vertices(rows).reshape(20, -1).astype(np.float64)
    parts = solve(tiny_scans, neutrals, config)
    bases = [basis.numpy() for basis in (parts.identity_basis, parts.expression_basis)]
    at_rest = neutrals.reshape(6, -1)[tiny_scans.subject[rows]]
    wanted = np.concatenate(
        [
            (at_rest - parts.rest.numpy()) @ bases[0].T / np.square(bases[0]).sum(axis=1),
            (shown - at_rest) @ bases[1].T / np.square(bases[1]).sum(axis=1),
        ],
        axis=1,
    )
    pca = PCA(6, whiten=True).fit(shown)
    whitened = pca.transform(shown) * np.sqrt(20 / 19)
    theirs = Ridge(alpha=0.05 * 20).fit(whitened, wanted).predict(whitened)
    ours = (shown - parts.center.numpy()) @ parts.encoder.numpy() + parts.offset.numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_least_squares_encoder_is_numpys_lstsq():
    random = np.random.default_rng(1)
    basis, rest, shown = random.normal(size=(5, 30)), random.normal(size=30), random.normal(size=(7, 30))
    for weight in (0.0, 2.5):
        config = LinearConfig(encoder="least_squares", prior_weight=weight)
        nothing = torch.empty(0)
        parts = (torch.from_numpy(part) for part in (rest, basis))
        center, encoder, offset = least_squares_encoder(nothing, nothing, *parts, config)
        ours = (torch.from_numpy(shown) - center) @ encoder + offset
        # The penalty is five more equations: sqrt(weight) * code = 0.
        stacked = np.concatenate([basis.T, weight**0.5 * np.eye(5)])
        theirs = np.linalg.lstsq(stacked, np.concatenate([(shown - rest).T, np.zeros((5, 7))]), rcond=None)[0].T
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_fewer_codes_are_given_where_the_scans_span_fewer_directions(exact_scans):
    model = LinearModel.fit(exact_scans, LinearConfig(identity_size=40, expression_size=50, neutrals="known"))
    assert (model.identity_size, model.expression_size) == (3, 2)
    codes = model.encode(torch.from_numpy(exact_scans.vertices()[:2]))
    assert (codes.identity.shape, codes.expression.shape) == ((2, 3), (2, 2))


def test_mirrored_people_make_the_identity_basis_symmetric(tiny_scans):
    plain = LinearConfig(identity_size=7, expression_size=2, neutrals="known")
    model = LinearModel.fit(tiny_scans, dataclasses.replace(plain, mirrored=True))
    assert model.identity_size == 7, "four people and their mirror images span seven directions about their mean"
    assert LinearModel.fit(tiny_scans, plain).identity_size == 3
    neutrals = tiny_scans.neutrals()[0][:4].astype(np.float64)
    mirror = mirror_map(Topology(neutrals.mean(axis=0), tiny_scans.topology.faces))
    rest = model.rest.double().numpy().reshape(162, 3)
    np.testing.assert_allclose(rest, (neutrals.mean(axis=0) + mirror.apply(neutrals).mean(axis=0)) / 2, atol=1e-4)
    basis = model.identity_basis.double().numpy()
    directions = basis / np.linalg.norm(basis, axis=1, keepdims=True)
    people = np.concatenate([neutrals, mirror.apply(neutrals)]).reshape(8, -1) - rest.reshape(-1)
    left = people - people @ directions.T @ directions
    assert np.abs(left).max() < 1e-3, "the basis spans every person and every mirror image"


def test_mirroring_an_asymmetric_face_is_refused(shapes):
    vertices, faces = shapes.sphere(2)
    vertices = 80 * vertices
    vertices[vertices[:, 0] > 0] *= 1.5
    random = np.random.default_rng(0)
    scans = vertices + random.normal(size=(6, 1, 1, 3)) + random.normal(size=(6, 3, 162, 3))
    dataset = ScanDataset.from_arrays(
        scans.reshape(18, 162, 3), faces, np.repeat(list("abcdef"), 3).tolist(), ["?"] * 18, split=["train"] * 18
    )
    with pytest.raises(RecipeError, match=r"mirrored subjects.*mm from its mirror image.*Set mirrored to false"):
        LinearModel.fit(dataset, LinearConfig(identity_size=2, expression_size=2, neutrals="mean", mirrored=True))


def test_subjects_without_training_scans_do_not_take_part(tiny_scans, tiny_config):
    rows = tiny_scans.rows("train")
    alone = ScanDataset.from_arrays(
        tiny_scans.vertices(rows),
        tiny_scans.topology.faces,
        [tiny_scans.subjects[s] for s in tiny_scans.subject[rows]],
        [tiny_scans.expressions[e] for e in tiny_scans.expression[rows]],
        template=tiny_scans.topology.template,
        split=["train"] * len(rows),
    )
    shown = torch.from_numpy(tiny_scans.vertices())
    one, two = (LinearModel.fit(scans, tiny_config["linear"]).encode(shown) for scans in (tiny_scans, alone))
    assert torch.equal(one.identity, two.identity)
    assert torch.equal(one.expression, two.expression)


def test_known_neutrals_that_are_missing_are_asked_for(tiny_scans):
    unlabeled = ScanDataset.from_arrays(
        tiny_scans.vertices(),
        tiny_scans.topology.faces,
        np.repeat(["x", "y", "z"], 10).tolist(),
        ["?"] * 30,
        split=["train"] * 30,
    )
    with pytest.raises(DataError, match=r"3 training subjects have no known neutral \(first: x\)"):
        LinearModel.fit(unlabeled, LinearConfig(neutrals="known"))


#: 300 people with 20 expressions each on 1,200 vertices, 82 MiB of scans; prints CPU seconds of fitting, and by how
#: many times these 82 MiB it raised the peak of memory.
FIT_6000 = """
import resource, time
import numpy as np
import torch
from meshdisent.data.dataset import ScanDataset
from meshdisent.morphable.linear import LinearModel

torch.set_num_threads(1)
random = np.random.default_rng(0)
y, x = np.mgrid[:30, :40]
template = np.stack([4.0 * x - 80, 4.0 * y - 60, 40 - 0.01 * (x - 20.0) ** 2], axis=-1).reshape(-1, 3)
corner = (np.arange(29)[:, None] * 40 + np.arange(39)).ravel()
triangles = [[corner, corner + 1, corner + 41], [corner, corner + 41, corner + 40]]
faces = np.concatenate([np.stack(triangle, axis=1) for triangle in triangles])
who = (random.normal(size=(300, 60)) @ random.normal(size=(60, 3600)) * 0.4).astype(np.float32)
what = random.normal(size=(20, 3600)).astype(np.float32)
vertices = np.empty((6000, 1200, 3), np.float32)
for person in range(300):
    noise = random.normal(0, 0.1, size=(20, 3600)).astype(np.float32)
    own = template.reshape(-1).astype(np.float32) + who[person] + what + noise
    vertices[20 * person : 20 * person + 20] = own.reshape(20, 1200, 3)
names = [f"person {number}" for number in range(300)]
scans = ScanDataset.from_arrays(vertices, faces, [name for name in names for _ in range(20)], template=template)
del vertices
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.process_time()
model = LinearModel.fit(scans)
seconds = time.process_time() - started
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(seconds, (after - before) * 1024 / (6000 * 3600 * 4), model.identity_size, model.expression_size)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is counted in other units elsewhere")
def test_fitting_6000_scans_of_1200_vertices_takes_ten_seconds_and_a_few_times_their_memory():
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", FIT_6000], env=environment, capture_output=True, text=True, check=True)
    seconds, times, *sizes = map(float, done.stdout.split())
    assert sizes == [32, 32]
    assert seconds < 10, "CPU seconds on one thread; 6 were measured"
    assert times < 6, "a matrix of 6,000 x 6,000 in double precision alone is 3.3 times the scans; 4.5 were measured"


def test_impossible_settings_are_refused():
    with pytest.raises(RecipeError, match=r"identity_size is 0; wanted at least 1"):
        LinearConfig(identity_size=0)
    with pytest.raises(RecipeError, match=r"components is -1; wanted at least 1"):
        LinearConfig(components=-1)
    with pytest.raises(RecipeError, match=r"ridge_weight is 0.0 and prior_weight 1.0; wanted above 0, at least 0"):
        LinearConfig(ridge_weight=0.0)
    with pytest.raises(RecipeError, match=r"prior_weight -1.0"):
        LinearConfig(prior_weight=-1.0)
