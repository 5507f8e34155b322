"""The layout ``ict``: people who make faces, on a small face made here and on the real one where it lies beside us."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.ict_people import EXPRESSIONS, HABITS, SHAPES, IctPeople, IctShapes, express, turn
from meshdisent.data.layouts import IctLayout, ict
from meshdisent.data.layouts.base import ScanRecord
from meshdisent.data.preparation import prepare
from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.topology import Topology


@pytest.fixture(scope="module")
def small(shapes) -> IctShapes:
    """A sheet of 12 x 12 vertices with 6 identity modes and random smooth shapes, about as large as a face."""
    vertices, faces = shapes.grid(11, 11)
    generic = (vertices - vertices.mean(axis=0)) * 18.0
    generic[:, 2] = 60 - 0.006 * (generic**2).sum(axis=1)
    rng = np.random.default_rng(0)

    def smooth(size):
        waves = rng.normal(size=(3, 3)) / 60
        return size * np.sin(generic @ waves + rng.uniform(0, 6, 3))

    return IctShapes(
        generic=generic,
        faces=faces,
        identity=np.stack([smooth(2.0) for _ in range(6)]),
        expression={name: smooth(4.0) for name in SHAPES},
        eyes=np.array([[30.0, 35, 70], [-30.0, 35, 70]]),
        identity_eyes=rng.normal(size=(6, 2, 3)),
        jaw_ends=(60, 71),
    )


FACESCAPE = [
    *(
        "neutral",
        "smile",
        "mouth_stretch",
        "anger",
        "jaw_left",
        "jaw_right",
        "jaw_forward",
        "mouth_left",
        "mouth_right",
    ),
    *("dimpler", "chin_raiser", "lip_puckerer", "lip_funneler", "sadness", "lip_roll", "grin", "cheek_blowing"),
    *("eye_closed", "brow_raiser", "brow_lower"),
]


class TestPeople:
    def test_expressions_have_the_names_of_facescape(self):
        assert list(EXPRESSIONS) == FACESCAPE
        assert EXPRESSIONS["neutral"] == {}
        assert set(HABITS) <= set(SHAPES)

    def test_the_generic_face_is_not_deformed(self, small):
        carry = IctPeople(small).local_deformation(small.generic)
        assert np.allclose(carry, np.eye(3), atol=1e-9)

    def test_deformation_follows_rotation_and_scale(self, small):
        turned = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
        turned *= np.sign(np.linalg.det(turned)) * 1.3
        carry = IctPeople(small).local_deformation(small.generic @ turned.T)
        assert np.allclose(carry, turned, atol=1e-9)

    def test_people_depend_on_seed_and_number_only(self, small):
        first = IctPeople(small, seed=3)
        people = {number: first.person(number) for number in (5, 2)}
        again = IctPeople(small, seed=3).person(2)
        assert np.array_equal(again.neutral, people[2].neutral)
        assert not np.allclose(people[5].neutral, people[2].neutral)
        assert not np.allclose(IctPeople(small, seed=4).person(2).neutral, again.neutral)

    def test_personal_displacement_has_the_size_asked_for(self, small):
        bare, detailed = IctPeople(small, detail=0.0), IctPeople(small, detail=0.6)
        for number in range(3):
            extra = detailed.person(number).neutral - bare.person(number).neutral
            assert np.sqrt((extra**2).sum(axis=1).mean()) == pytest.approx(0.6)

    def test_bare_people_are_mixtures_of_the_modes(self, small):
        modes = small.identity.reshape(6, -1)
        for number in range(3):
            offset = (IctPeople(small, detail=0.0).person(number).neutral - small.generic).ravel()
            weights, residual, *_ = np.linalg.lstsq(modes.T, offset, rcond=None)
            assert residual.sum() < 1e-18
            assert np.abs(weights).max() <= 2.5

    def test_everyone_performs_in_an_own_way(self, small):
        people = IctPeople(small)
        mixtures = [people.mixture(number, "smile") for number in range(40)]
        strengths = [mixture["mouthSmile_L"] + mixture["mouthSmile_R"] for mixture in mixtures]
        tilts = [mixture["mouthSmile_L"] - mixture["mouthSmile_R"] for mixture in mixtures]
        assert len(set(strengths)) == 40
        assert 0.6 < np.mean(strengths) / 1.7 < 1.4
        assert 0.1 < np.std(strengths) / 1.7 < 0.35
        assert 0.08 < np.std(tilts) / 0.85 < 0.45
        assert all(people.mixture(number, "neutral") == {} for number in range(5))
        assert people.mixture(7, "smile") == mixtures[7]

    def test_the_neutral_is_the_face_at_rest(self, small):
        person = IctPeople(small).person(0)
        assert np.array_equal(express(person, {}), person.neutral)

    def test_shapes_without_a_hinge_add_up(self, small):
        person = IctPeople(small).person(0)
        both = express(person, {"mouthSmile_L": 0.5, "browDown_R": 0.2}) - person.neutral
        assert np.allclose(both, 0.5 * person.moves["mouthSmile_L"] + 0.2 * person.moves["browDown_R"])

    def test_the_same_expression_is_not_the_same_displacement(self, small):
        people = IctPeople(small)
        moved = [express(p, {"mouthSmile_L": 1.0}) - p.neutral for p in (people.person(0), people.person(1))]
        assert np.linalg.norm(moved[0] - moved[1], axis=1).mean() > 0.02 * np.linalg.norm(moved[0], axis=1).mean()


class TestTurn:
    points = np.random.default_rng(2).normal(size=(50, 3)) * 60

    @pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 1.4])
    def test_a_turned_point_stays_on_its_circle(self, weight):
        hinge = np.array([3.0, -4.0, 5.0])
        arm = (self.points - hinge)[:, 1:]
        angle = 0.4
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        displacement = np.zeros_like(self.points)
        displacement[:, 1:] = arm @ rotation.T - arm
        moved = turn(self.points, displacement, hinge, weight)
        part = np.array(
            [[np.cos(weight * angle), -np.sin(weight * angle)], [np.sin(weight * angle), np.cos(weight * angle)]]
        )
        radius = np.linalg.norm(arm, axis=1)
        share = (radius**2 / (radius**2 + 4))[:, None]
        expected = share * (arm @ part.T - arm) + (1 - share) * weight * displacement[:, 1:]
        assert np.allclose(moved[:, 1:], expected)
        assert np.allclose(moved[:, 0], 0)

    def test_full_weight_gives_the_shape_itself(self):
        displacement = np.random.default_rng(3).normal(size=(50, 3)) * 5
        assert np.allclose(turn(self.points, displacement, np.zeros(3), 1.0), displacement)
        assert np.allclose(turn(self.points, displacement, np.zeros(3), 0.0), 0.0)

    def test_points_on_the_line_move_straight(self):
        line = np.array([[5.0, 0, 0], [-2, 0, 0]])
        displacement = np.array([[1.0, 2, 3], [0, 1, 0]])
        assert np.allclose(turn(line, displacement, np.zeros(3), 0.5), 0.5 * displacement)


class TestArguments:
    def test_one_folder(self, tmp_path):
        with pytest.raises(UsageError, match="got 2 folders; wanted one: the clone of ICT-FaceKit"):
            IctLayout(raw=(tmp_path, tmp_path))

    @pytest.mark.parametrize("wrong", [{"subjects": 0}, {"noise": -0.1}, {"detail": float("nan")}])
    def test_numbers(self, tmp_path, wrong):
        with pytest.raises(UsageError, match="wanted at least one subject and nothing below 0"):
            IctLayout(raw=(tmp_path,), **wrong)

    def test_a_folder_without_the_model(self, tmp_path):
        with pytest.raises(
            DataError, match=r"has no FaceXModel/generic_neutral_mesh.obj; wanted a clone of ICT-FaceKit"
        ):
            IctLayout(raw=(tmp_path,)).find()

    def test_another_model(self, tmp_path, shapes):
        Mesh(*shapes.triangle()).write(tmp_path / "generic_neutral_mesh.obj")
        with pytest.raises(DataError, match="has 3 vertices; wanted the 26719 of ICT-FaceKit's light model"):
            prepare(IctLayout(raw=(tmp_path,), subjects=1), tmp_path / "faces.h5")
        assert not (tmp_path / "faces.h5").exists()


@pytest.fixture(scope="module")
def unpacked(shared, tmp_path_factory) -> tuple:
    """A clone with the neutral and one shape as files, and all displacements in cm: the text of all would take long."""
    spec = importlib.util.spec_from_file_location("unpack", shared / "data" / "ict-facekit" / "unpack.py")
    unpack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unpack)
    shapes = unpack.shapes()
    unpack.shapes = lambda: shapes
    folder = tmp_path_factory.mktemp("ict") / "a clone"
    unpack.main(str(folder), ["generic_neutral_mesh", "jawOpen"])
    return folder, *shapes


@pytest.fixture
def clone(unpacked, monkeypatch) -> Path:
    """The clone; shapes that are not there as files are served from memory."""
    folder, _, deltas = unpacked

    def displacement(path, generic):
        return read(path, generic) if path.exists() else deltas[path.stem] * 10.0

    read = ict.read_displacement
    monkeypatch.setattr(ict, "read_displacement", displacement)
    return folder


class TestRealFace:
    def test_shapes_are_displacements_in_millimeters(self, clone, unpacked):
        _, neutral, deltas = unpacked
        found = ict._shapes(clone, "face")
        assert np.allclose(found.generic, neutral[:9409] * 10, atol=1e-4)
        assert np.allclose(found.expression["jawOpen"], deltas["jawOpen"][:9409] * 10, atol=2e-4)
        assert np.allclose(found.eyes[0] - found.eyes[1], [63.9, 0, 0], atol=0.5)
        assert np.abs(found.generic[list(found.jaw_ends)].mean(axis=0)[0]) < 0.5

    @pytest.mark.parametrize(("region", "vertices", "faces"), [("face", 9409, 18461), ("narrow_face", 6706, 13120)])
    def test_regions(self, clone, region, vertices, faces):
        layout = IctLayout(raw=(clone,), region=region)
        template = layout.template()
        assert template.vertices.shape == (vertices, 3)
        assert len(template.faces) == faces
        assert layout.regions(template).keys() == {"face": {"face", "narrow_face"}}.get(region, {"narrow_face"})

    def test_from_the_clone_to_a_dataset(self, clone, tmp_path):
        layout = IctLayout(raw=(clone,), subjects=3, noise=0.05)
        result = prepare(layout, tmp_path / "faces.h5", vertices=900, seed=7)
        assert (result.scans, result.subjects, result.rejected) == (60, 3, ())
        scans = ScanDataset.open(tmp_path / "faces.h5")
        assert list(scans.expressions) == FACESCAPE
        neutrals, known = scans.neutrals()
        assert known.all()
        noise = scans.vertices(scans.neutral_row) - neutrals
        assert np.std(noise) == pytest.approx(0.05, rel=0.03)
        distance = np.linalg.norm(scans.vertices() - neutrals[scans.subject], axis=2).mean(axis=1)
        assert (distance[scans.expression != 0] > 0.1).all()
        assert 250 < np.ptp(scans.topology.template[:, 1]) < 300
        full = scans.full_resolution()
        assert full.template.shape == (9409, 3)
        again = layout.read([ScanRecord("0002", "grin", -1, "x")], seed=7)[0]
        assert np.allclose(full.map @ again.vertices, scans.vertices(np.array([scans.scan("0002/grin")]))[0], atol=1e-4)

    def test_closed_eyes_turn_on_the_eyeball(self, clone):
        people = IctPeople(ict._shapes(clone, "face"))
        person = people.person(0)
        lid = np.linalg.norm(person.moves["eyeBlink_L"], axis=1) > 4.0
        half = express(person, {"eyeBlink_L": 0.5})
        straight = person.neutral + 0.5 * person.moves["eyeBlink_L"]

        def radius(vertices):
            return np.linalg.norm((vertices[lid] - person.eyes[0])[:, 1:], axis=1).mean()

        ends = 0.5 * (radius(person.neutral) + radius(express(person, {"eyeBlink_L": 1.0})))
        assert radius(half) == pytest.approx(ends, abs=0.05)
        assert radius(straight) < ends - 0.4
        still = ~np.any(person.moves["eyeBlink_L"], axis=1)
        assert np.allclose(half[still], person.neutral[still], rtol=0, atol=1e-9)

    def test_the_topology_is_that_of_the_model(self, clone):
        template = IctLayout(raw=(clone,), region="full").template()
        topology = Topology(template.vertices, template.faces)
        assert topology.vertex_count == 26_719
        assert topology.face_count == 2 * 25_836 + 548
