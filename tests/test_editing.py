"""What editing makes: exact identities of the formulas, every kind of scan, and what is refused."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import small_faces

from meshdisent import editing
from meshdisent.editing import as_scans, interpolate, neutralize, sample, transfer
from meshdisent.errors import MeshError, TopologyError, UsageError
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.contract import Codes


@pytest.fixture(scope="module")
def scans():
    return small_faces.scans()


@pytest.fixture(scope="module")
def model(scans):
    return small_faces.linear(scans)


@pytest.fixture(scope="module")
def shown(scans):
    """Five test scans (5, V, 3), of two people."""
    return scans.vertices(scans.rows("test")[3:8])


def stacked(meshes):
    return np.stack([mesh.vertices for mesh in meshes])


@torch.no_grad()
def codes_of(model, scans):
    return model.encode(torch.from_numpy(scans))


@torch.no_grad()
def decoded(model, identity, expression):
    return model.decode(Codes(identity, expression)).numpy()


def test_neutralized_scans_are_the_model_s_neutrals(model, shown):
    with torch.no_grad():
        expected = model.neutral(codes_of(model, shown).identity).numpy()
    made = neutralize(model, shown)
    assert stacked(made) == pytest.approx(expected, abs=1e-4)
    assert all(mesh.faces is model.topology.faces or (mesh.faces == model.topology.faces).all() for mesh in made)


def test_a_neutral_with_detail_is_the_scan_less_what_the_model_sees_of_the_expression(model, shown):
    codes = codes_of(model, shown)
    with torch.no_grad():
        expected = shown - model.decode(codes).numpy() + model.neutral(codes.identity).numpy()
    assert stacked(neutralize(model, shown, keep_detail=True)) == pytest.approx(expected, abs=1e-4)


def test_each_expression_goes_to_the_one_person(model, shown):
    person, others = codes_of(model, shown[:1]), codes_of(model, shown[1:])
    expected = decoded(model, person.identity.expand(4, -1), others.expression)
    assert stacked(transfer(model, shown[0], shown[1:])) == pytest.approx(expected, abs=1e-4)
    kept = shown[:1] - decoded(model, *person) + expected
    assert stacked(transfer(model, shown[0], shown[1:], keep_detail=True)) == pytest.approx(kept, abs=1e-4)


def test_a_scan_s_own_expression_with_detail_kept_gives_the_scan_back(model, shown):
    made = transfer(model, shown[2], shown[2], keep_detail=True)
    assert stacked(made) == pytest.approx(shown[2:3], abs=1e-4)


def test_a_walk_begins_and_ends_at_the_reconstructions_in_equal_steps(model, shown):
    walk = stacked(interpolate(model, shown[0], shown[4], steps=5))
    codes = codes_of(model, shown[[0, 4]])
    ends = decoded(model, *codes)
    assert walk[[0, -1]] == pytest.approx(ends, abs=1e-4)
    for k in range(5):  # the model is linear, so the way is straight
        assert walk[k] == pytest.approx(ends[0] + k / 4 * (ends[1] - ends[0]), abs=1e-3)


@pytest.mark.parametrize(
    ("only", "kept", "moved"), [("identity", "expression", "identity"), ("expression", "identity", "expression")]
)
def test_a_walk_of_one_code_keeps_the_other(model, shown, only, kept, moved):
    first, second = shown[0], shown[4]
    walk = interpolate(model, first, second, steps=4, only=only)
    codes = codes_of(model, shown[[0, 4]])._asdict()
    last = {kept: codes[kept][:1], moved: codes[moved][1:]}
    assert walk[0].vertices == pytest.approx(
        decoded(model, codes["identity"][:1], codes["expression"][:1])[0], abs=1e-4
    )
    assert walk[-1].vertices == pytest.approx(decoded(model, last["identity"], last["expression"])[0], abs=1e-4)


def test_samples_come_from_the_prior_and_only_from_the_seed(model):
    made = stacked(sample(model, 6, seed=4))
    expected = model.prior().sample(6, torch.Generator().manual_seed(4))
    assert made == pytest.approx(decoded(model, *expected), abs=1e-4)
    torch.manual_seed(123)
    assert (stacked(sample(model, 6, seed=4)) == made).all()
    assert np.abs(stacked(sample(model, 6, seed=5)) - made).max() > 0.1


def test_no_spread_is_the_mean_and_half_the_spread_is_half_way(model):
    full, half, none = (stacked(sample(model, 3, seed=1, spread=spread)) for spread in (1.0, 0.5, 0.0))
    assert none == pytest.approx(np.repeat(none[:1], 3, axis=0), abs=1e-5)
    assert half == pytest.approx((full + none) / 2, abs=1e-3)


def test_samples_of_one_person_differ_only_in_their_expression(model, shown):
    made = stacked(sample(model, 4, seed=2, identity=shown[1]))
    own = codes_of(model, shown[1:2]).identity.expand(4, -1)
    drawn = model.prior().sample(4, torch.Generator().manual_seed(2)).expression
    assert made == pytest.approx(decoded(model, own, drawn), abs=1e-4)


def test_samples_of_one_expression_differ_only_in_the_person(model, shown):
    made = stacked(sample(model, 4, seed=2, expression=shown[1]))
    own = codes_of(model, shown[1:2]).expression.expand(4, -1)
    drawn = model.prior().sample(4, torch.Generator().manual_seed(2)).identity
    assert made == pytest.approx(decoded(model, drawn, own), abs=1e-4)


def test_samples_at_rest_are_neutrals(model):
    drawn = model.prior().sample(3, torch.Generator().manual_seed(0)).identity
    with torch.no_grad():
        expected = model.neutral(drawn).numpy()
    assert stacked(sample(model, 3, expression="neutral")) == pytest.approx(expected, abs=1e-4)


def test_the_number_of_scans_at_once_changes_nothing(model, shown, monkeypatch):
    before = [
        stacked(neutralize(model, shown, True)),
        stacked(transfer(model, shown[0], shown)),
        stacked(sample(model, 5)),
    ]
    monkeypatch.setattr(editing, "BLOCK", 2)
    after = [
        stacked(neutralize(model, shown, True)),
        stacked(transfer(model, shown[0], shown)),
        stacked(sample(model, 5)),
    ]
    for first, second in zip(before, after, strict=True):
        assert first == pytest.approx(second, abs=1e-4)


def forms(vertices, faces, folder):
    """One scan in every form that people have it in."""
    import pyvista
    import trimesh

    vertices = vertices.astype(np.float64)
    mesh = Mesh(vertices, faces)
    mesh.write(folder / "scan.ply")
    mesh.write(folder / "scan.obj")
    cells = np.column_stack([np.full(len(faces), 3), faces])
    return {
        "array": vertices,
        "float32": vertices.astype(np.float32),
        "tensor": torch.from_numpy(vertices),
        "batch": vertices[None],
        "batch of tensors": torch.from_numpy(vertices)[None],
        "list": [vertices],
        "pair": (vertices, faces),
        "Mesh": mesh,
        "path": folder / "scan.ply",
        "text": str(folder / "scan.obj"),
        "trimesh": trimesh.Trimesh(vertices, faces, process=False),
        "pyvista": pyvista.PolyData(vertices, cells.ravel()),
        "psbody": SimpleNamespace(v=vertices, f=faces.astype(np.uint32)),
        "points": SimpleNamespace(v=vertices),
    }


def test_every_kind_of_scan_is_the_same_scan(model, shown, tmp_path):
    every = forms(shown[0], model.topology.faces, tmp_path)
    for name, scan in every.items():
        found = as_scans(model, scan)
        assert found.shape == (1, 162, 3), name
        assert found.dtype == np.float32, name
        assert found[0] == pytest.approx(shown[0], abs=1e-5), name
    mixed = as_scans(model, [scan for name, scan in every.items() if "batch" not in name and name != "list"])
    assert mixed == pytest.approx(np.repeat(shown[:1], len(mixed), axis=0), abs=1e-5)


@pytest.mark.parametrize(
    ("scan", "error", "message"),
    [
        (np.zeros((161, 3)), TopologyError, "has 161 vertices; topology .* has 162"),
        (np.zeros((162, 2)), MeshError, r"shape \(162, 2\); wanted \(V, 3\)"),
        (np.zeros(486), MeshError, r"shape \(486,\); wanted \(V, 3\)"),
        (np.full((162, 3), "x"), MeshError, "wanted"),
        (np.full((162, 3), np.nan), MeshError, "finite"),
        ([np.zeros((162, 3)), np.full((162, 3), np.inf)], MeshError, "the scan 1 has a coordinate that is not finite"),
        ([], MeshError, "No scan was given"),
        (np.zeros((0, 162, 3)), MeshError, "No scan was given"),
        (object(), MeshError, "wanted a Mesh"),
        ("absent.ply", MeshError, "absent.ply"),
    ],
)
def test_what_is_no_scan_is_refused(model, scan, error, message):
    with pytest.raises(error, match=message):
        neutralize(model, scan)


def test_other_faces_are_refused_with_both_hashes(model, shown):
    turned = Mesh(shown[0].astype(np.float64), np.ascontiguousarray(model.topology.faces[::-1, ::-1]))
    with pytest.raises(TopologyError, match=f"other faces.*{model.topology.topology_hash}"):
        transfer(model, shown[0], turned)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, s: transfer(m, s[:2], s), "2 identity scans were given; wanted one"),
        (lambda m, s: interpolate(m, s[0], s[1], steps=1), "got 1 steps; wanted at least 2"),
        (lambda m, s: interpolate(m, s[:2], s[1]), "got 3 scans; wanted two"),
        (lambda m, s: sample(m, 0), "count of 0; wanted at least 1"),
        (lambda m, s: sample(m, 2, identity=s[:2]), "2 identity scans were given; wanted one"),
        (lambda m, s: sample(m, 2, expression=list(s[:3])), "3 expression scans were given; wanted one"),
    ],
)
def test_arguments_that_cannot_work_are_refused(model, shown, call, message):
    with pytest.raises(UsageError, match=message):
        call(model, shown)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, s: neutralize(m, s),
        lambda m, s: transfer(m, s[0], s),
        lambda m, s: interpolate(m, s[0], s[1]),
        lambda m, s: sample(m, 2, expression="neutral"),
        lambda m, s: sample(m, 2, identity=s[0]),
    ],
)
def test_a_model_with_one_code_cannot_separate(scans, shown, call):
    with pytest.raises(UsageError, match="autoencoder model does not separate identity from expression"):
        call(small_faces.Unsplit(scans), shown)
