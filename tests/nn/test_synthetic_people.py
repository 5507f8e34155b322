"""Synthetic people: how they spread, what they do, and what of the training subjects stays as it is."""

import numpy as np
import pytest
import torch

from meshdisent.errors import RecipeError
from meshdisent.mesh.local_maps import map_derivatives
from meshdisent.mesh.topology import Topology
from meshdisent.nn import synthetic_people as module
from meshdisent.nn.synthetic_people import NewPeople, SyntheticPeople, smooth_modes

SUBJECTS = 8


@pytest.fixture(scope="module")
def topology(shapes):
    vertices, faces = shapes.sphere(1)
    return Topology(80 * vertices, faces)


@pytest.fixture(scope="module")
def faces(topology):
    """Eight faces at rest, (8, 42, 3) mm, that differ in more ways than eight faces can say."""
    random = np.random.default_rng(0)
    return topology.template + 3 * np.einsum("sfx,fv->svx", random.normal(size=(SUBJECTS, 20, 3)), smooth(topology))


def smooth(topology):
    unit, random = topology.template / 80, np.random.default_rng(1)
    return np.sin(unit @ random.normal(size=(3, 20)) * 2 + random.normal(size=20)).T


@pytest.fixture(scope="module")
def people(faces, topology):
    return SyntheticPeople(faces, topology)


@pytest.fixture(scope="module")
def plain(faces, topology):
    return SyntheticPeople(faces, topology, has_tail=False)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def shown(faces):
    """Scans of subjects 5, 0, 0, 3, 1, 2, 7, and these at rest."""
    who = [5, 0, 0, 3, 1, 2, 7]
    at_rest = torch.from_numpy(faces[who]).float()
    return at_rest + 2 * torch.randn(at_rest.shape, generator=generator(9)), at_rest


def test_directions_hold_mean_and_covariance_of_the_faces(plain, faces):
    flat = faces.reshape(SUBJECTS, -1)
    np.testing.assert_allclose(plain.mean.numpy(), flat.mean(axis=0), rtol=1e-6)
    covariance = np.cov(flat.T, bias=True)
    np.testing.assert_allclose(plain.basis.T @ plain.basis, covariance, rtol=0, atol=1e-5 * covariance.max())
    products = (plain.basis @ plain.basis.T).numpy()
    np.testing.assert_allclose(products, np.diag(np.diag(products)), rtol=0, atol=1e-5 * products.max())
    assert products.shape == (SUBJECTS - 1, SUBJECTS - 1)
    assert (np.diff(np.diag(products)) < 0).all(), "the longest first"
    assert len(plain.tail) == 0


@pytest.mark.parametrize("has_tail", [False, True])
def test_many_people_have_the_mean_and_the_covariance_of_the_gaussian(plain, people, faces, has_tail):
    drawn = (people if has_tail else plain).draw(40_000, generator()).neutral.flatten(start_dim=1).double().numpy()
    flat = faces.reshape(SUBJECTS, -1)
    expected = np.cov(flat.T, bias=True)
    if has_tail:
        tail = people.tail.double().numpy()
        expected = expected + np.kron(tail.T @ tail, np.eye(3))  # each coordinate has noise of its own
    deviation = np.sqrt(np.diag(expected))
    # Five standard errors: of a mean, and of a product of two normal numbers.
    assert (np.abs(drawn.mean(axis=0) - flat.mean(axis=0)) < 5 * deviation / 200).all()
    bound = 5 * np.sqrt(2) * np.outer(deviation, deviation) / 200
    assert (np.abs(np.cov(drawn.T) - expected) < bound).all()


def test_coefficients_say_the_face_but_for_the_tail(plain, people):
    drawn = plain.draw(3, generator())
    said = plain.mean + drawn.coefficients @ plain.basis
    torch.testing.assert_close(drawn.neutral.flatten(start_dim=1), said, rtol=0, atol=1e-5)
    with_tail = people.draw(3, generator())
    assert torch.equal(with_tail.coefficients, drawn.coefficients)
    # What is added is smooth: nothing but the modes.
    added = (with_tail.neutral - drawn.neutral).double()
    modes = people.tail.double() / people.tail.double().norm(dim=1, keepdim=True)
    torch.testing.assert_close(torch.einsum("mv,mw,bwx->bvx", modes, modes, added), added, rtol=0, atol=1e-4)
    assert added.abs().max() > 0.1


def test_the_same_seed_draws_the_same_people(people):
    one, two, other = (people.draw(3, generator(seed)) for seed in (4, 4, 5))
    assert torch.equal(one.neutral, two.neutral)
    assert torch.equal(one.coefficients, two.coefficients)
    assert (one.coefficients != other.coefficients).all()


def explained(faces):
    """Mean and orthonormal directions of some faces, by another way than the module's."""
    rows = faces.reshape(len(faces), -1)
    left = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return rows.mean(axis=0), left[2][left[1] > 1e-6 * left[1][0]]


@pytest.mark.parametrize(("mirrored", "folds"), [(False, 8), (False, 3), (True, 8), (True, 3)])
def test_the_tail_is_as_large_as_what_others_do_not_say_of_those_left_out(
    faces, topology, mirrored, folds, monkeypatch
):
    monkeypatch.setattr(module, "_FOLDS", folds)
    given = np.concatenate([faces, faces * [-1, 1, 1]]) if mirrored else faces
    modes, squares = smooth_modes(topology, 10), []
    for fold in range(folds):
        own = [row for row in range(len(given)) if row % SUBJECTS % folds == fold]
        mean, directions = explained(np.delete(given, own, axis=0))
        away = given[own].reshape(len(own), -1) - mean
        beyond = (away - away @ directions.T @ directions).reshape(len(own), -1, 3)
        squares.append(np.square(np.einsum("mv,svx->smx", modes, beyond)).mean(axis=(0, 2)))
    sizes = np.sqrt(np.mean(squares, axis=0))
    tail = SyntheticPeople(given, topology, mirrored).tail.double().numpy()
    assert sizes.min() > 0.1
    np.testing.assert_allclose(tail, sizes[:, None] * modes, rtol=0, atol=1e-5)
    np.testing.assert_allclose(tail @ tail.T, np.diag(sizes**2), rtol=0, atol=1e-4)


def test_few_subjects_are_left_out_one_by_one_and_many_in_six_groups(faces, topology, monkeypatch):
    seen = []
    principal = module._principal
    monkeypatch.setattr(module, "_principal", lambda flat: seen.append(len(flat)) or principal(flat))
    SyntheticPeople(faces[:4], topology)
    assert seen == [4, 3, 3, 3, 3]
    seen.clear()
    SyntheticPeople(faces, topology)
    assert seen == [8, 6, 6, 7, 7, 7, 7]


def test_modes_are_the_smoothest_eigenvectors_of_the_graph(topology):
    modes = smooth_modes(topology, 9)
    adjacency = topology.adjacency.toarray().astype(float)
    laplacian = np.diag(adjacency.sum(axis=1)) - adjacency
    values = np.linalg.eigvalsh(laplacian)[:9]
    np.testing.assert_allclose(modes @ modes.T, np.eye(9), rtol=0, atol=1e-12)
    np.testing.assert_allclose(laplacian @ modes.T, modes.T * values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.abs(modes[0]), 42**-0.5, rtol=1e-12)


def test_modes_of_a_large_mesh_are_those_of_the_exact_way(shapes, monkeypatch):
    vertices, faces = shapes.sphere(2)
    mesh = Topology(vertices * (1 + 0.1 * vertices), faces)
    exact = smooth_modes(mesh, 9)  # 1 + 3 + 5, so that no set of equal eigenvalues is cut
    monkeypatch.setattr(module, "_DENSE", 100)
    found = smooth_modes(mesh, 9)
    assert np.array_equal(found, smooth_modes(mesh, 9)), "always the same"
    np.testing.assert_allclose(found @ found.T, np.eye(9), rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.T @ found, exact.T @ exact, rtol=0, atol=1e-8)
    adjacency = mesh.adjacency.toarray()
    energy = [mode @ (np.diag(adjacency.sum(axis=1)) - adjacency) @ mode for mode in found]
    assert (np.diff(energy) > -1e-9).all()


def test_a_scan_taken_to_the_mean_and_back_to_its_subject_is_what_it_was(plain, people, shown):
    scans, at_rest = shown
    for made in (plain, people):
        own = (at_rest.flatten(start_dim=1) - made.mean) @ made.basis.T / made.basis.square().sum(dim=1)
        again = made.carry(made.at_the_mean(scans, at_rest), NewPeople(own, at_rest))
        torch.testing.assert_close(again, scans, rtol=0, atol=1e-4)


def test_displacements_go_through_the_local_maps_of_both_people(plain, faces, topology, shown):
    scans, at_rest = (part.double().numpy() for part in shown)
    mean, basis = plain.mean.double().numpy(), plain.basis.double().numpy()
    derivatives = map_derivatives(Topology(mean.reshape(-1, 3), topology.faces), basis.reshape(len(basis), -1, 3))

    def maps(neutral):
        coefficients = np.linalg.lstsq(basis.T, (neutral - mean.reshape(-1, 3)).flatten(), rcond=None)[0]
        return np.eye(3) + np.tensordot(coefficients, derivatives, axes=1)

    new = plain.draw(len(scans), generator())
    found = plain.carry(plain.at_the_mean(*shown), new)
    for scan, rest, neutral, made in zip(scans, at_rest, new.neutral.double().numpy(), found, strict=True):
        moved = maps(neutral) @ np.linalg.solve(maps(rest), (scan - rest)[..., None])
        np.testing.assert_allclose(made.numpy(), neutral + moved[..., 0], rtol=0, atol=1e-3)


def test_only_the_leading_directions_are_carried(faces, topology, shown, monkeypatch):
    monkeypatch.setattr(module, "_CARRIED", 2)
    made = SyntheticPeople(faces, topology)
    assert len(made.transfer.growth) == 2
    assert len(made.basis) == SUBJECTS - 1
    scans, rest, chosen = made.replace(*shown, 1.0, generator())
    assert chosen.all()
    drawn = made.draw(len(rest), generator())
    assert torch.equal(rest, drawn.neutral)
    moved = made.transfer(drawn.coefficients[:, :2], made.at_the_mean(*shown))
    assert torch.equal(scans, drawn.neutral + moved)


def test_nobody_is_replaced_at_a_share_of_0_and_everybody_at_1(people, shown):
    scans, rest, chosen = people.replace(*shown, 0.0, generator())
    assert torch.equal(scans, shown[0])
    assert torch.equal(rest, shown[1])
    assert not chosen.any()
    scans, rest, chosen = people.replace(*shown, 1.0, generator())
    drawn = people.draw(len(rest), generator())
    assert chosen.all()
    assert torch.equal(rest, drawn.neutral)
    assert torch.equal(scans, people.carry(people.at_the_mean(*shown), drawn))


def test_a_share_of_the_scans_is_replaced_and_the_rest_stays_bit_for_bit(people, shown):
    scans, at_rest = (part.repeat(300, 1, 1) for part in shown)
    found, rest, chosen = people.replace(scans, at_rest, 0.3, generator())
    assert chosen.float().mean().item() == pytest.approx(0.3, abs=5 * (0.21 / 2100) ** 0.5)
    assert torch.equal(found[~chosen], scans[~chosen])
    assert torch.equal(rest[~chosen], at_rest[~chosen])
    assert (rest[chosen] != at_rest[chosen]).any(dim=2).any(dim=1).all()
    again = people.replace(scans, at_rest, 0.3, generator())
    assert all(torch.equal(one, two) for one, two in zip(again, (found, rest, chosen), strict=True))


def test_each_group_of_scans_goes_to_one_person(people, shown):
    scans, rest, chosen = people.replace(*shown, 1.0, generator(), group=3)
    assert chosen.all()
    drawn = people.draw(3, generator()).neutral
    assert torch.equal(rest, drawn[[0, 0, 0, 1, 1, 1, 2]])
    assert (drawn[0] != drawn[1]).any()
    moved = (scans - rest).flatten(start_dim=1)
    assert (moved[0] != moved[1]).any(), "each with its own expression"


def test_fewer_than_four_subjects_are_refused(faces, topology):
    message = (
        r"there are 3 training subjects; wanted at least 4, better a hundred\. Set config\.people\.share to 0.*scans"
    )
    with pytest.raises(RecipeError, match=message):
        SyntheticPeople(faces[:3], topology)
    with pytest.raises(RecipeError, match=message):
        SyntheticPeople(faces[:6], topology, mirrored=True)
    SyntheticPeople(faces[:4], topology)


def test_people_follow_the_model_and_stand_in_no_file(faces, topology, shown):
    made = SyntheticPeople(faces, topology)
    assert made.state_dict() == {}
    assert list(made.parameters()) == []
    single = made.replace(*shown, 1.0, generator())
    double = made.double().replace(*(part.double() for part in shown), 1.0, generator())
    for one, two in zip(single[:2], double[:2], strict=True):
        assert two.dtype == torch.float64
        torch.testing.assert_close(one.double(), two, rtol=0, atol=1e-3)
    elsewhere = made.to("meta").replace(*(part.to("meta") for part in shown), 1.0, generator())
    assert {part.device.type for part in elsewhere} == {"meta"}
