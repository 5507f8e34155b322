"""Leading directions of codes: independent under the prior, ordered by what they do to a face."""

import numpy as np
import pytest
import torch

from meshdisent.morphable.code_directions import leading_directions


@pytest.fixture(scope="module")
def model(example_model):
    return example_model


@pytest.mark.parametrize("factor", ["identity", "expression"])
def test_directions_are_one_deviation_long_and_independent(model, factor):
    found = leading_directions(model, factor)
    root = getattr(model.prior(), f"{factor}_factor").double()
    white = torch.linalg.solve(root, found.directions.T)
    np.testing.assert_allclose(white.T @ white, np.eye(len(root)), atol=1e-9)


def test_the_first_direction_moves_the_face_most_and_by_what_it_says(model):
    found, prior = leading_directions(model, "identity"), model.prior()

    def moved(direction):
        steps = torch.stack([prior.identity_mean + direction, prior.identity_mean - direction])
        faces = model.neutral(steps.float())
        return float(((faces[0] - faces[1]) / 2).square().sum(1).mean().sqrt())

    for number in range(len(found.moved_mm)):
        assert moved(found.directions[number]) == pytest.approx(float(found.moved_mm[number]), rel=1e-3)
    random = torch.nn.functional.normalize(torch.randn(20, len(found.mean), generator=torch.Generator().manual_seed(0)))
    assert max(moved(row.double() @ found.directions) for row in random) <= float(found.moved_mm[0]) + 1e-6


def test_coordinates_and_codes_undo_each_other(model):
    found = leading_directions(model, "expression")
    wanted = torch.randn(5, len(found.mean), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(found.coordinates(found.code(wanted)), wanted, atol=1e-9)


def test_the_sign_moves_the_most_moved_coordinate_up(model):
    found, prior = leading_directions(model, "expression"), model.prior()
    for direction in found.directions:
        from meshdisent.morphable.contract import Codes

        code = torch.stack([prior.expression_mean + direction, prior.expression_mean - direction]).float()
        faces = model.decode(Codes(prior.identity_mean.expand(2, -1), code))
        change = (faces[0] - faces[1]).flatten()
        assert change[change.abs().argmax()] > 0
