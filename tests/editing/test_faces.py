"""What editing makes: exact identities of the formulas, every kind of scan, and what is refused."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent import editing
from meshdisent.editing import as_scans, blend, express, interpolate, neutralize, sample, transfer
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


@pytest.fixture
def named(scans):
    """A model that knows two expressions by name."""
    model = small_faces.linear(scans)
    model.named_expressions = {"jawOpen": torch.tensor([1.5, -0.5]), "smile.L": torch.tensor([0.0, 2.0])}
    return model


def test_samples_of_a_named_expression_have_its_code(named):
    drawn = named.prior().sample(3, torch.Generator().manual_seed(2)).identity
    for name, code in named.named_expressions.items():
        expected = decoded(named, drawn, code.expand(3, -1))
        assert stacked(sample(named, 3, seed=2, expression=name)) == pytest.approx(expected, abs=1e-4)


def test_a_scan_does_the_expressions_it_is_told(named, shown):
    own, codes = codes_of(named, shown[1:2]).identity.expand(2, -1), torch.stack(list(named.named_expressions.values()))
    for strength in (1.0, 0.25, -1.0):
        made = express(named, shown[1], ["jawOpen", "smile.L"], strength)
        assert stacked(made) == pytest.approx(decoded(named, own, strength * codes), abs=1e-4)
    assert stacked(express(named, shown[1], "smile.L")) == pytest.approx(decoded(named, own[:1], codes[1:]), abs=1e-4)
    at_rest = stacked(neutralize(named, shown[1]))
    assert stacked(express(named, shown[1], "jawOpen", strength=0.0)) == pytest.approx(at_rest, abs=1e-4)


def test_the_mean_subject_does_an_expression(named, monkeypatch):
    named.identity_mean.copy_(torch.tensor([0.5, -1.0]))
    expected = decoded(named, named.identity_mean[None], named.named_expressions["jawOpen"][None])
    assert stacked(express(named, "mean", ["jawOpen"])) == pytest.approx(expected, abs=1e-4)


def test_a_file_is_a_scan_and_no_name_unless_it_is_one(named, shown, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Mesh(shown[1].astype(np.float64), model.topology.faces).write("smile.ply")
    expected = stacked(sample(named, 2, expression=shown[1]))
    assert stacked(sample(named, 2, expression="smile.ply")) == pytest.approx(expected, abs=1e-3)
    for name in ("absent.ply", "notes.txt"):
        (tmp_path / "notes.txt").write_text("no mesh")
        with pytest.raises(MeshError, match=name):
            sample(named, 2, expression=name)
    named.named_expressions["smile.ply"] = torch.tensor([5.0, 0.0])
    assert np.abs(stacked(sample(named, 2, expression="smile.ply")) - expected).max() > 1


@pytest.mark.parametrize(
    "call", [lambda m, s: sample(m, expression="jawOpne"), lambda m, s: express(m, s[0], ["jawOpne"])]
)
def test_an_unknown_name_is_refused_with_the_nearest(named, model, shown, call):
    with pytest.raises(UsageError, match=r"no expression 'jawOpne'; it has 2 under names. Did you mean 'jawOpen'"):
        call(named, shown)
    with pytest.raises(UsageError, match="no expression 'jawOpne'; it has none under any name"):
        call(model, shown)


def test_a_named_code_of_the_wrong_size_is_refused_with_both_sizes(named, shown):
    named.named_expressions["jawOpen"] = torch.zeros(3)
    with pytest.raises(UsageError, match=r"expression code has shape \(1, 3\); this linear model wants \(batch, 2\)"):
        express(named, shown[0], "jawOpen")


def test_the_number_of_scans_at_once_changes_nothing(model, shown, monkeypatch):
    before = [
        stacked(neutralize(model, shown, True)),
        stacked(transfer(model, shown[0], shown)),
        stacked(sample(model, 5)),
    ]
    monkeypatch.setattr(editing.scans, "BLOCK", 2)
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s / 10, r"the scan looks like centimeters: its size is 1/9\.65 of the template's .*--unit cm"),
        (lambda s: s[:, [0, 2, 1]] * [1, 1, -1], "the scan is turned: a turn by 90 degrees about x brings it"),
        (lambda s: s * [-1, 1, 1], "the scan is a mirror image: .* the sign of x changed"),
        (
            lambda s: s + np.array([0, 500, 0]),
            r"the scan lies 499 mm from .*align\(vertices, model.topology.template\)",
        ),
        (lambda s: s * 0 + 3, "the scan has all its vertices at one place"),
    ],
)
def test_a_scan_in_another_unit_or_frame_is_refused_with_a_guess(model, shown, change, message):
    with pytest.raises(MeshError, match=message):
        neutralize(model, change(shown[0].astype(np.float64)))
    with pytest.raises(MeshError, match=message.replace("the scan ", "the expression scan 1 ")):
        transfer(model, shown[0], [shown[1], change(shown[0].astype(np.float64))])


def test_a_model_whose_template_lies_elsewhere_takes_scans_as_those_it_was_trained_on(shown):
    away = small_faces.scans(template=small_faces.TEMPLATE[:, [0, 2, 1]] / 10)
    model = small_faces.linear(away)
    assert as_scans(model, shown) == pytest.approx(shown)
    for wrong in (shown[0] / 100, shown[0] * [1, -1, -1], shown[0] + 900):
        with pytest.raises(MeshError, match=r"^the scan "):
            as_scans(model, wrong)


def test_a_model_whose_mean_face_has_no_size_goes_by_its_template(scans, shown):
    oracle = small_faces.Oracle(scans)
    assert as_scans(oracle, shown) == pytest.approx(shown)
    with pytest.raises(MeshError, match="looks like meters"):
        as_scans(oracle, shown / 1000)


@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_people_that_the_model_makes_are_never_refused(model, spread):
    made = sample(model, 50, seed=3, spread=spread)
    assert len(as_scans(model, made)) == 50


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
        (lambda m, s: express(m, s[:2], []), "got no names; wanted at least one key"),
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
        lambda m, s: express(m, s[0], "jawOpen"),
    ],
)
def test_a_model_with_one_code_cannot_separate(scans, shown, call):
    with pytest.raises(UsageError, match="autoencoder model does not separate identity from expression"):
        call(small_faces.Unsplit(scans), shown)


def test_a_blend_decodes_the_mean_of_the_codes(model, shown):
    codes = codes_of(model, shown[:3])
    shares = np.array([[1.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    mixed = torch.from_numpy(shares / shares.sum(axis=1, keepdims=True)).float() @ codes.identity
    with torch.no_grad():
        expected = model.neutral(mixed).numpy()
    assert stacked(blend(model, shown[:3], shares.tolist())) == pytest.approx(expected, abs=1e-3)
    smile = codes_of(model, shown[3:4]).expression.expand(2, -1)
    moved = decoded(model, mixed, smile)
    made = stacked(blend(model, shown[:3], shares.tolist(), expression=shown[3]))
    assert made == pytest.approx(moved, abs=1e-3)
    made = stacked(blend(model, shown[:3], shares.tolist(), expression=shown[3], strength=0.5))
    assert made == pytest.approx((expected + moved) / 2, abs=1e-3)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [[1.0, 1.0], [0.0, 0.0]], [1.0, float("nan")]])
def test_weights_that_mean_nobody_are_refused(model, shown, weights):
    with pytest.raises(UsageError, match="for 2 scans; wanted a finite number for each scan, whose sum is not 0"):
        blend(model, shown[:2], weights)
