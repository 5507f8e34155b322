"""The multilinear model: exact where the data is, cells that are empty, and encoding against another program."""

import time

import numpy as np
import pytest
import torch

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError, RecipeError
from meshdisent.metrics import e_avd
from meshdisent.morphable.cell_tensor import TOLERANCE_MM, complete, factorize, gather_cells, with_one
from meshdisent.morphable.contract import Codes
from meshdisent.morphable.model_file import load
from meshdisent.morphable.multilinear import MultilinearConfig, MultilinearModel, MultilinearParts, solve

SMALL = MultilinearConfig(identity_size=3, expression_size=2)


class World:
    """Faces that are exactly multilinear: ten people, 3 directions of them; six expressions, 2 directions."""

    def __init__(self, shapes):
        vertices, self.faces = shapes.sphere(2)
        random = np.random.default_rng(5)
        self.people = random.normal(size=(10, 3))
        self.shown = np.concatenate([np.zeros((1, 2)), random.normal(size=(5, 2))])
        self.core = random.normal(size=(4, 3, 486))
        self.core[1:, 1:] *= 0.3
        self.core[0, 0] = 80 * vertices.reshape(-1)

    def face(self, person, expression):
        one, other = np.append(1.0, self.people[person]), np.append(1.0, self.shown[expression])
        return np.einsum("i,j,ijc->c", one, other, self.core).reshape(162, 3)

    def scans(self, left_out=(), labels=True, **settings):
        pairs = [(p, e) for p in range(10) for e in range(6) if (p, e) not in left_out]
        return ScanDataset.from_arrays(
            np.stack([self.face(*pair) for pair in pairs]),
            self.faces,
            [f"s{p}" for p, _ in pairs],
            [f"e{e}" if labels else None for _, e in pairs],
            split=["train" if p < 8 else "test" for p, _ in pairs],
            **({"neutral": "e0"} | settings),
        )


@pytest.fixture(scope="module")
def world(shapes):
    return World(shapes)


@pytest.fixture(scope="module")
def exact(world):
    """A model of the world; of what is exact, next to nothing is noise."""
    return MultilinearModel.fit(world.scans(), SMALL)


def test_on_multilinear_scans_of_new_people_everything_is_exact(world, exact):
    shown = torch.from_numpy(np.stack([world.face(p, e) for p in (8, 9) for e in range(6)])).float()
    codes = exact.encode(shown)
    assert e_avd(exact.decode(codes).numpy(), shown.numpy()).max() < 2e-3
    rest = np.stack([world.face(p, 0) for p in (8, 9) for _ in range(6)]).astype(np.float32)
    assert e_avd(exact.neutral(codes.identity).numpy(), rest).max() < 2e-3
    swapped = exact.decode(Codes(codes.identity[:1], codes.expression[7:8])).numpy()
    assert e_avd(swapped, world.face(8, 1)[None].astype(np.float32)).max() < 2e-3
    neutral = codes.expression[::6]
    torch.testing.assert_close(neutral, torch.zeros_like(neutral), rtol=0, atol=1e-3)


def test_codes_have_unit_mean_square_over_subjects_and_expressions(world, exact):
    codes = exact.encode(torch.from_numpy(world.scans().vertices(np.arange(48))))
    torch.testing.assert_close(codes.identity[::6].mean(dim=0), torch.zeros(3), rtol=0, atol=2e-3)
    torch.testing.assert_close(codes.identity.square().mean(dim=0), torch.ones(3), rtol=2e-3, atol=0)
    torch.testing.assert_close(codes.expression.square().mean(dim=0), torch.ones(2), rtol=2e-3, atol=0)


def test_factors_are_singular_vectors_of_the_unfoldings_and_the_core_is_least_squares():
    random = np.random.default_rng(1)
    tensor = random.normal(size=(7, 5, 30))
    found = factorize(torch.from_numpy(tensor), 2, (3, 2))
    for codes, unfolding in (
        (found.identity, (tensor - tensor.mean(axis=0)).reshape(7, -1)),
        (found.expression, (tensor - tensor[:, 2:3]).transpose(1, 0, 2).reshape(5, -1)),
    ):
        size = codes.shape[1]
        left = np.linalg.svd(unfolding, full_matrices=False)[0][:, :size] * len(unfolding) ** 0.5
        np.testing.assert_allclose(np.abs((codes.numpy() * left).mean(axis=0)), 1, rtol=1e-9)
    assert torch.equal(found.expression[2], torch.zeros(2, dtype=torch.float64))
    design = np.kron(with_one(found.identity).numpy(), with_one(found.expression).numpy())  # (S E, I1 E1)
    theirs = np.linalg.lstsq(design, tensor.reshape(35, 30), rcond=None)[0].reshape(4, 3, 30)
    np.testing.assert_allclose(found.core.numpy(), theirs, atol=1e-10)
    assert torch.allclose(found.cells(), torch.from_numpy((design @ theirs.reshape(12, 30)).reshape(7, 5, 30)))


def test_with_all_sizes_the_factors_are_the_tensor():
    tensor = torch.from_numpy(np.random.default_rng(1).normal(size=(7, 5, 30)))
    found = factorize(tensor, 0, (99, 99))
    assert (found.identity.shape[1], found.expression.shape[1]) == (6, 4)
    torch.testing.assert_close(found.cells(), tensor)


EMPTY = ((0, 0), (0, 3), (1, 1), (2, 4), (2, 5), (3, 2), (4, 0), (5, 5), (6, 1), (6, 3), (7, 2))


def test_empty_cells_are_filled_with_the_faces_that_were_left_out(world):
    scans = world.scans(EMPTY)
    parts, filled = solve(gather_cells(scans), SMALL)
    assert filled.change_mm < TOLERANCE_MM
    assert 1 < filled.rounds < 100
    faces = (parts.center + filled.tensor @ parts.directions).numpy().reshape(8, 6, 162, 3)
    order = [int(name[1]) for name in scans.expressions]
    truth = np.stack([[world.face(p, e) for e in order] for p in range(8)])
    left = np.linalg.norm(faces - truth, axis=3).mean(axis=2)[:, np.argsort(order)]
    assert max(left[pair] for pair in EMPTY) < 0.05, "people differ by millimeters"
    assert np.delete(left.reshape(-1), [6 * p + e for p, e in EMPTY]).max() < 1e-3, "cells that were seen stay"
    model = MultilinearModel.fit(scans, SMALL)
    noted = model.card.notes["cells"]
    assert (noted["empty"], noted["scans"], noted["rounds of filling in"]) == (11, 37, filled.rounds)
    assert noted["last change, mm"] < TOLERANCE_MM


def test_filled_cells_keep_what_codes_cannot_say_of_a_person(world):
    scans = world.scans(EMPTY)
    detail = np.random.default_rng(4).normal(0, 0.5, (8, 162, 3)).astype(np.float32)
    rows = scans.rows("train")
    scans._memory[rows] += detail[scans.subject[rows]]
    parts, filled = solve(gather_cells(scans), SMALL)
    faces = (parts.center + filled.tensor @ parts.directions).numpy().reshape(8, 6, 162, 3)
    order = [int(name[1]) for name in scans.expressions]
    truth = np.stack([[world.face(p, e) + detail[p] for e in order] for p in range(8)])
    left = np.linalg.norm(faces - truth, axis=3).mean(axis=2)[:, np.argsort(order)]
    assert np.mean([left[pair] for pair in EMPTY]) < 0.5 * np.linalg.norm(detail, axis=2).mean()


def test_filling_in_that_has_not_arrived_is_said(world):
    hasty = MultilinearConfig(identity_size=3, expression_size=2, rounds=1)
    with pytest.warns(UserWarning, match=r"Filling in 11 of 48 cells still moves them by .* mm after 1 rounds.*rounds"):
        MultilinearModel.fit(world.scans(EMPTY), hasty)


def test_with_nothing_empty_nothing_is_filled_in():
    tensor = torch.from_numpy(np.random.default_rng(1).normal(size=(7, 5, 30)))
    found = complete(tensor, torch.ones(7, 5, dtype=torch.bool), 0, (3, 2), 10, 100)
    assert (found.rounds, found.change_mm) == (0, 0.0)
    assert torch.equal(found.tensor, tensor)
    left = (tensor - found.factors.cells()).square().mean()
    torch.testing.assert_close(found.noise, left)


def test_several_scans_of_a_cell_count_as_their_mean(world):
    once = world.scans()
    vertices = once.vertices()
    apart = np.random.default_rng(2).normal(size=vertices[5:9].shape).astype(np.float32)
    vertices[5:9] += apart
    names, labels = ([table[i] for i in index] for table, index in zip(*_labels(once), strict=True))
    twice = ScanDataset.from_arrays(
        np.concatenate([vertices, vertices[5:9] - 2 * apart]),
        world.faces,
        names + names[5:9],
        labels + labels[5:9],
        template=once.topology.template,
        split=["train" if name < "s8" else "test" for name in names + names[5:9]],
        neutral="e0",
    )
    cells = gather_cells(twice)
    assert (cells.scan_count, len(cells.faces)) == (52, 48)
    torch.testing.assert_close(cells.faces, gather_cells(once).faces, rtol=0, atol=1e-4)


def _labels(scans):
    return (scans.subjects, scans.expressions), (scans.subject, scans.expression)


def test_a_true_neutral_stands_in_for_a_scan_at_rest(world):
    scans = world.scans([(3, 0)], truth={"s3": world.face(3, 0)})
    cells = gather_cells(scans)
    assert len(cells.faces) == 48
    np.testing.assert_allclose(cells.faces[-1].reshape(162, 3), world.face(3, 0), atol=1e-4)
    assert (int(cells.subject[-1]), int(cells.expression[-1]), cells.rest) == (3, 0, 0)
    assert len(gather_cells(world.scans([(3, 0)])).faces) == 47


def test_encoding_finds_the_minimum_that_another_program_finds(tiny_scans):
    from scipy.optimize import least_squares

    model = MultilinearModel.fit(tiny_scans, SMALL).double()
    shown = torch.from_numpy(tiny_scans.vertices(tiny_scans.rows("test"))).double()
    found = torch.cat(model.encode(shown), dim=1).numpy()
    core, directions, usual = (t.numpy() for t in (model.core, model.directions, model.usual))
    weight = float(model.noise) ** 0.5
    root = np.linalg.cholesky(model.precision.numpy()).T
    for scan, ours in zip(shown.numpy(), found, strict=True):
        seen = directions @ (scan.reshape(-1) - model.center.numpy())

        def lacking(codes, seen=seen):
            face = np.einsum("i,j,ijk->k", np.append(1.0, codes[:3]), np.append(1.0, codes[3:]), core)
            return np.concatenate([seen - face, weight * codes[:3], weight * (root @ (codes[3:] - usual))])

        theirs = least_squares(lacking, np.zeros(5), xtol=1e-14, ftol=1e-14, gtol=1e-14)
        np.testing.assert_allclose(ours, theirs.x, atol=1e-5)


def test_the_gradient_of_encoding_is_that_of_finite_differences(tiny_scans):
    model = MultilinearModel.fit(tiny_scans, SMALL).double()
    shown = torch.from_numpy(tiny_scans.vertices(tiny_scans.rows("test")[:1])).double().requires_grad_()
    along = torch.randn(shown.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.arange(1.0, 6.0, dtype=torch.float64)
    (torch.cat(model.encode(shown), dim=1) * weights).sum().backward()
    with torch.no_grad():
        ends = [(torch.cat(model.encode(shown + h * along), dim=1) * weights).sum() for h in (1e-3, -1e-3)]
    torch.testing.assert_close((shown.grad * along).sum(), (ends[0] - ends[1]) / 2e-3, rtol=1e-4, atol=1e-7)


def test_a_face_that_is_none_of_anyone_is_encoded_finitely(exact):
    shown = 500 * torch.randn(4, 162, 3, generator=torch.Generator().manual_seed(3))
    codes = exact.encode(shown)
    assert all(code.isfinite().all() for code in codes)
    again = exact.encode(shown)
    assert torch.equal(codes.identity, again.identity)
    assert torch.equal(codes.expression, again.expression)


def test_no_scans_have_no_codes(exact):
    codes = exact.encode(torch.zeros(0, 162, 3))
    assert (codes.identity.shape, codes.expression.shape) == ((0, 3), (0, 2))


def test_128_scans_of_1200_vertices_are_encoded_within_a_second_of_one_core(shapes):
    from meshdisent.mesh.topology import Topology

    vertices, faces = shapes.grid(29, 39)
    random = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(3600, 300, generator=random)).Q.T
    core = torch.randn(33, 20, 300, generator=random) * torch.linspace(1, 0.02, 300)
    core[1:, 1:] *= 0.05
    parts = MultilinearParts(
        torch.zeros(3600), directions, 10 * core, torch.tensor(0.5), torch.zeros(19), torch.eye(19)
    )
    model = MultilinearModel(MultilinearConfig(), Topology(vertices, faces), parts)
    truth = Codes(torch.randn(128, 32, generator=random), torch.randn(128, 19, generator=random))
    shown = model.decode(truth)
    started = time.process_time()
    codes = model.encode(shown)
    seconds = time.process_time() - started
    assert (codes.identity - truth.identity).abs().max() < 0.1
    assert seconds < 1.0


def test_fewer_codes_are_given_where_there_are_fewer_people_and_expressions(world):
    model = MultilinearModel.fit(world.scans(), MultilinearConfig())
    assert (model.identity_size, model.expression_size) == (3, 2), "the world has no more directions"
    noisy = world.scans()
    noisy._memory += np.random.default_rng(0).normal(0, 0.1, noisy._memory.shape).astype(np.float32)
    model = MultilinearModel.fit(noisy, MultilinearConfig())
    assert (model.identity_size, model.expression_size) == (7, 5), "one less than 8 people and 6 expressions"


def test_half_precision_moves_faces_by_little(world, exact, tmp_path):
    exact.save(tmp_path / "half.safetensors", half=True)
    shown = torch.from_numpy(world.scans().vertices(np.arange(48, 60)))
    again = load(tmp_path / "half.safetensors")
    apart = (again.decode(again.encode(shown)) - exact.decode(exact.encode(shown))).norm(dim=2)
    assert apart.max() < 0.05


def test_scans_without_labels_are_refused_or_left_out(world):
    with pytest.raises(DataError, match=r"no expression labels on its 48 training scans.*subject labels alone"):
        MultilinearModel.fit(world.scans(labels=False), SMALL)
    scans = world.scans()
    scans.expression[[1, 7, 8]] = -1
    model = MultilinearModel.fit(scans, SMALL)
    assert model.card.notes["cells"]["scans without label, left out"] == 3
    assert model.card.notes["cells"]["empty"] == 3


def test_data_that_cannot_make_a_tensor_are_refused(world):
    with pytest.raises(DataError, match=r"does not say which of its 6 expressions is the face at rest.*--neutral NAME"):
        MultilinearModel.fit(world.scans(neutral="asleep"), SMALL)
    only_rest = [(p, e) for p in range(10) for e in range(1, 6)]
    with pytest.raises(DataError, match=r"8 subjects and 1 expressions.*wants at least 2 of each"):
        MultilinearModel.fit(world.scans(only_rest), SMALL)
    only_one = [(p, e) for p in range(1, 8) for e in range(6)]
    with pytest.raises(DataError, match=r"1 subjects and 6 expressions"):
        MultilinearModel.fit(world.scans(only_one), SMALL)


def test_impossible_settings_are_refused():
    for name in ("identity_size", "expression_size", "components", "rounds"):
        with pytest.raises(RecipeError, match=rf"{name} is 0; wanted at least 1"):
            MultilinearConfig(**{name: 0})
    with pytest.raises(RecipeError, match=r"prior_weight is 0.0; wanted above 0"):
        MultilinearConfig(prior_weight=0.0)
