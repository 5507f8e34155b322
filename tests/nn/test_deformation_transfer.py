"""Displacements carried to faces and back, against one solve a vertex and against the local maps themselves."""

import copy

import numpy as np
import pytest
import torch

from meshdisent.mesh.local_maps import local_maps, map_derivatives
from meshdisent.mesh.topology import Topology
from meshdisent.nn.deformation_transfer import DeformationTransfer

SMOOTHING_MM = 40.0


@pytest.fixture(scope="module")
def faces(shapes):
    """A mean face, and three ways in which it can differ by some mm."""
    vertices, triangles = shapes.sphere(2)
    random = np.random.default_rng(0)
    directions = [
        5 * np.sin(vertices @ random.normal(size=(3, 3)) * 2 + random.normal(size=3)).flatten() for _ in range(3)
    ]
    return torch.from_numpy(80 * vertices), torch.from_numpy(np.stack(directions)), Topology(vertices, triangles)


@pytest.fixture(scope="module")
def transfer(faces):
    return DeformationTransfer(*faces, SMOOTHING_MM)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_no_identity_leaves_a_displacement_as_it_is_bit_for_bit(transfer):
    displacement = drawn(4, 162, 3)
    assert torch.equal(transfer(torch.zeros(4, 3).double(), displacement), displacement)
    assert torch.equal(transfer.undo(torch.zeros(4, 3).double(), displacement), displacement)


def test_displacements_are_multiplied_with_the_map_of_their_vertex(transfer, faces):
    rest, basis, topology = faces
    mean = Topology(rest.numpy(), topology.faces)
    derivatives = map_derivatives(mean, basis.unflatten(1, (-1, 3)).numpy(), SMOOTHING_MM)
    identity, displacement = drawn(2, 3), drawn(2, 162, 3, seed=1)
    maps = np.eye(3) + np.einsum("bi,ivxy->bvxy", identity.numpy(), derivatives)
    expected = np.einsum("bvxy,bvy->bvx", maps, displacement.numpy())
    np.testing.assert_allclose(transfer(identity, displacement).numpy(), expected, rtol=0, atol=1e-6)
    back = np.linalg.solve(maps, displacement.numpy()[..., None])[..., 0]
    np.testing.assert_allclose(transfer.undo(identity, displacement).numpy(), back, rtol=0, atol=1e-6)


def test_carried_back_it_is_what_it_was(transfer):
    identity, displacement = 3 * drawn(8, 3, seed=2), drawn(8, 162, 3, seed=3)
    determinant = torch.linalg.det(torch.eye(3).double() + transfer.maps(identity))
    assert 0.2 < determinant.min() < 0.7
    assert determinant.max() > 1.3
    carried = transfer(identity, displacement)
    assert (carried - displacement).abs().max() > 0.5
    torch.testing.assert_close(transfer.undo(identity, carried), displacement, rtol=0, atol=1e-12)
    torch.testing.assert_close(transfer(identity, transfer.undo(identity, displacement)), displacement)


def test_a_small_change_of_the_face_carries_as_its_local_maps_do(transfer, faces):
    rest, basis, topology = faces
    mean, identity, displacement = Topology(rest.numpy(), topology.faces), 1e-3 * drawn(1, 3), drawn(1, 162, 3, seed=1)
    face = rest + (identity @ basis)[0].unflatten(0, (-1, 3))
    maps = local_maps(mean, face.numpy(), SMOOTHING_MM)
    expected = np.einsum("vxy,vy->vx", maps, displacement[0].numpy())
    np.testing.assert_allclose(transfer(identity, displacement)[0].numpy(), expected, rtol=0, atol=1e-6)


def test_what_extreme_codes_say_does_not_blow_up(transfer):
    # A face that shrinks to nothing at the code 1: maps are (1 - z) times the unit map, and their determinant its cube.
    shrinking = copy.deepcopy(transfer)
    shrinking.growth = (-torch.eye(3).double()).expand(1, 162, 3, 3).flatten(start_dim=1)
    displacement = drawn(1, 162, 3)
    for code, size in ((0.25, 0.75), (0.375, 0.625), (0.875, 0.125), (1.0, 0.0), (2.0, -1.0)):
        found = shrinking.undo(torch.tensor([[code]]).double(), displacement)
        expected = size**2 / max(size**3, 0.2) * displacement
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_it_is_linear_in_the_displacement_and_to_first_order_in_the_person(transfer):
    identity, displacement = drawn(2, 3), drawn(2, 162, 3, seed=1)
    torch.testing.assert_close(transfer(identity, -3 * displacement), -3 * transfer(identity, displacement))
    change = transfer(identity, displacement) - displacement
    torch.testing.assert_close(transfer(2 * identity, displacement), displacement + 2 * change)


def test_gradients_are_those_of_finite_differences(shapes):
    vertices, triangles = shapes.sphere(0)
    small = DeformationTransfer(
        torch.from_numpy(80 * vertices), 5 * drawn(2, 36), Topology(vertices, triangles), SMOOTHING_MM
    )
    inputs = drawn(2, 2, seed=1).requires_grad_(), drawn(2, 12, 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(small, inputs, check_forward_ad=True)
    assert torch.autograd.gradcheck(small.undo, inputs, check_forward_ad=True)


def test_it_follows_the_model_and_stands_in_no_file(transfer, faces):
    assert transfer.state_dict() == {}
    assert list(transfer.parameters()) == []
    single = DeformationTransfer(faces[0].float(), faces[1].float(), faces[2], SMOOTHING_MM)
    assert single(torch.zeros(1, 3), torch.zeros(1, 162, 3)).dtype == torch.float32
    again = DeformationTransfer(faces[0].float(), faces[1].float(), faces[2], SMOOTHING_MM)
    assert torch.equal(single.growth, again.growth), "computed anew it is the same, bit for bit"
    elsewhere = again.to("meta")
    identity, displacement = torch.zeros(1, 3, device="meta"), torch.zeros(1, 162, 3, device="meta")
    assert elsewhere.undo(identity, elsewhere(identity, displacement)).device.type == "meta"
