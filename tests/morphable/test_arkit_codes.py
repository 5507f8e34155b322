"""The shapes of a clone on a model's vertices, and the codes that do them."""

import numpy as np
import pytest
import torch

from meshdisent.errors import DataError
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable import arkit_codes
from meshdisent.morphable.arkit_codes import read_cloned_shapes, solve_arkit_codes
from meshdisent.morphable.contract import Codes
from meshdisent.morphable.linear import LinearModel

ROWS = np.arange(162) * 2  # a model of every other vertex of the head


@pytest.fixture
def model(tiny_scans, tiny_config):
    return LinearModel.fit(tiny_scans, tiny_config["linear"])


@pytest.fixture
def clone(model, tmp_path, monkeypatch):
    """Three shapes on a head of 324 vertices: one that the model can do, one elsewhere, one hardly there."""
    with torch.no_grad():
        rest = model.neutral(model.prior().identity_mean[None])[0]
        open_mouth = model.decode(Codes(model.prior().identity_mean[None], torch.tensor([[0.5, -0.3]])))[0] - rest
    head = np.repeat(rest.double().numpy(), 2, axis=0)
    moves = {name: np.zeros_like(head) for name in ("jawOpen", "eyeElsewhere", "mouthFaint")}
    moves["jawOpen"][ROWS] = open_mouth.double().numpy()
    moves["eyeElsewhere"][1] = 5.0
    moves["mouthFaint"][0, 0] = 0.09
    monkeypatch.setattr(arkit_codes, "read_generic", lambda clone: Mesh(head))
    monkeypatch.setattr(arkit_codes, "read_displacement", lambda path, generic: moves[path.stem])
    monkeypatch.setattr(arkit_codes, "find_rows", lambda face, clone: ROWS)
    for name in ("generic_neutral_mesh", "identity000", *moves):
        (tmp_path / f"{name}.obj").touch()
    return tmp_path


def test_shapes_are_those_of_the_models_vertices_and_still_ones_have_no_code(model, clone):
    shapes = read_cloned_shapes(model, clone)
    assert shapes.displacements.keys() == {"jawOpen"}
    assert shapes.still == ("eyeElsewhere", "mouthFaint")
    assert shapes.generic.shape == (162, 3)
    found = solve_arkit_codes(model, shapes, weight=1e-9)
    torch.testing.assert_close(found.codes["jawOpen"], torch.tensor([0.5, -0.3]), rtol=0, atol=1e-3)


def test_a_clone_without_shapes_is_refused(model, tmp_path):
    (tmp_path / "generic_neutral_mesh.obj").touch()
    with pytest.raises(DataError, match="holds the generic face and no expression; wanted a whole clone"):
        read_cloned_shapes(model, tmp_path)
