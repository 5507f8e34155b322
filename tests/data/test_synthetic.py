"""The procedural head: one sound mesh, plausible people, expressions that move what they name."""

import time
from functools import lru_cache

import numpy as np
import pytest

from meshdisent.data.synthetic import Manner, SyntheticHead, synthetic_dataset, write_synthetic_folder
from meshdisent.data.synthetic_chart import EYEBALL, IRIS, SKIN, UPPER_LID, face_chart
from meshdisent.errors import UsageError
from meshdisent.mesh.mesh import Mesh

AVERAGE = np.zeros(30)
chart_of = lru_cache(face_chart)


@pytest.fixture(scope="module")
def head() -> SyntheticHead:
    return SyntheticHead(2500)


def people(head: SyntheticHead, count: int, seed: int = 7):
    return [head.person(np.random.default_rng([seed, k])) for k in range(count)]


def face_normals(vertices, faces):
    """Unit normals (F, 3) and areas (F,)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    return normal / length[:, None], length / 2


def skin_faces(head: SyntheticHead):
    chart = chart_of(head.vertex_count)
    return head.topology.faces[(chart.kind[head.topology.faces] == SKIN).all(axis=1)]


def lips(head: SyntheticHead):
    """Upper and lower lip at the middle of the mouth, and the left and right corner."""
    chart = chart_of(head.vertex_count)
    middle = chart.lip_ring & (chart.position[:, 0] == 0)
    upper, lower = (int(np.flatnonzero(middle & (chart.side == side))[0]) for side in (1, -1))
    ring = np.flatnonzero(chart.lip_ring)
    u = chart.position[ring, 0]
    return upper, lower, int(ring[np.argmax(u)]), int(ring[np.argmin(u)])


def lid_gap(head: SyntheticHead, vertices) -> float:
    """Widest opening of the lids in mm."""
    chart = chart_of(head.vertex_count)
    left = chart.lid_ring & (chart.position[:, 0] > 0)
    upper, lower = left & (chart.position[:, 1] > 0.01), left & (chart.position[:, 1] < -0.01)
    distance = np.linalg.norm(vertices[upper][:, None] - vertices[lower][None], axis=2)
    return float(distance.min(axis=1).max())


@pytest.mark.parametrize("count", [1200, 1777, 2500, 6000])
def test_the_mesh_is_a_manifold_with_two_borders_and_exactly_the_vertices_asked_for(count):
    topology = SyntheticHead(count).topology
    faces = topology.faces
    assert topology.vertex_count == count
    assert np.array_equal(np.unique(faces), np.arange(count))
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed), "two faces run along an edge in the same direction"
    edges, uses = np.unique(np.sort(directed, axis=1), axis=0, return_counts=True)
    assert set(uses) == {1, 2}
    assert count - len(edges) + len(faces) == 0, "a disk with one hole, the mouth"
    border = edges[uses == 1]
    assert (np.bincount(border.ravel())[np.unique(border)] == 2).all()


@pytest.mark.parametrize("count", [1200, 2500, 6000])
def test_faces_look_outwards_and_none_is_degenerate(count):
    head = SyntheticHead(count)
    topology = head.topology
    normal, area = face_normals(topology.template, topology.faces)
    assert normal[:, 2].mean() > 0.5
    assert area.min() > 0.05  # mm^2
    skin = skin_faces(head)
    a, b, c = (topology.template[skin[:, k]] for k in range(3))
    edges = sum(((p - q) ** 2).sum(axis=1) for p, q in ((a, b), (b, c), (c, a)))
    quality = 4 * np.sqrt(3) * face_normals(topology.template, skin)[1] / edges  # 1 for an equilateral triangle
    assert quality.min() > 0.25
    assert np.quantile(quality, 0.01) > 0.5


def test_the_average_face_has_human_measures(head):
    width, height, depth = np.ptp(head.topology.template, axis=0)
    assert 135 < width < 150
    assert 180 < height < 205
    assert 90 < depth < 115
    chart = chart_of(head.vertex_count)
    pupils = (chart.kind == EYEBALL) & (chart.ball == IRIS).all(axis=1)
    assert np.ptp(head.topology.template[pupils, 0]) == pytest.approx(63, abs=1.5)


def test_the_average_face_is_symmetric(head):
    mirrored = head.topology.template[head.mirror] * (-1, 1, 1)
    assert np.abs(mirrored - head.topology.template).max() < 1e-9


def test_the_same_numbers_give_the_same_face_to_the_last_bit():
    first = synthetic_dataset(2, seed=3, vertex_count=1200, expressions=("neutral", "grin"))
    second = synthetic_dataset(2, seed=3, vertex_count=1200, expressions=("neutral", "grin"))
    other = synthetic_dataset(2, seed=4, vertex_count=1200, expressions=("neutral", "grin"))
    assert first.data_hash == second.data_hash
    assert first.data_hash != other.data_hash
    assert first.topology.topology_hash == other.topology.topology_hash
    chart, again = face_chart(1300), face_chart(1300)
    assert np.array_equal(chart.faces, again.faces)
    assert np.array_equal(chart.position, again.position)


def test_a_person_does_not_depend_on_who_and_what_else_is_drawn():
    few = synthetic_dataset(2, vertex_count=1200, expressions=("smile",))
    many = synthetic_dataset(4, vertex_count=1200, expressions=("neutral", "smile"))
    a = few.vertices(np.array([few.scan("person_001/smile")]))
    b = many.vertices(np.array([many.scan("person_001/smile")]))
    assert np.array_equal(a, b)


@pytest.mark.parametrize("count", [1200, 2500])
def test_no_skin_triangle_turns_over_in_any_face(count):
    head = SyntheticHead(count)
    skin = skin_faces(head)
    at_rest = face_normals(head.topology.template, skin)[0]
    for identity, manner in people(head, 8):
        neutral, area = face_normals(head.neutral(identity), skin)
        assert area.min() > 0.02
        assert (neutral * at_rest).sum(axis=1).min() > 0
        for expression in head.expressions:
            normal, area = face_normals(head.face(identity, expression, manner), skin)
            assert area.min() > 1e-3, expression
            # Skin that rolls in at the lips may turn by a little more than a right angle.
            assert (normal * neutral).sum(axis=1).min() > -0.2, expression


def test_people_differ_by_millimeters(head):
    faces = np.stack([head.neutral(identity) for identity, _ in people(head, 10)])
    faces = faces - faces.mean(axis=1, keepdims=True)
    distance = np.linalg.norm(faces[:, None] - faces[None], axis=3).mean(axis=2)
    apart = distance[np.triu_indices(10, 1)]
    assert apart.min() > 1.5
    assert 2 < apart.mean() < 10


def test_every_identity_parameter_changes_the_face_and_is_cut_off_at_its_limit(head):
    for k, name in enumerate(head.identity_parameters):
        identity = np.zeros(head.identity_size)
        identity[k] = 2.5
        moved = np.linalg.norm(head.neutral(identity) - head.topology.template, axis=1)
        assert moved.max() > 1.0, name
        identity[k] = 9.0
        assert np.linalg.norm(head.neutral(identity) - head.topology.template, axis=1).max() == moved.max()


def test_the_neutral_expression_is_the_neutral_face(head):
    for identity, manner in people(head, 3):
        assert np.abs(head.face(identity, "neutral", manner) - head.neutral(identity)).max() < 1e-9


def test_every_expression_moves_its_vertices(head):
    for identity, manner in people(head, 3):
        neutral = head.neutral(identity)
        for expression in head.expressions[1:]:
            moved = np.linalg.norm(head.face(identity, expression, manner) - neutral, axis=1)
            assert (moved > 0.1).sum() > 50, expression
            assert moved[moved > 0.1].mean() > 0.3, expression
            assert moved.max() < 60, expression


def test_expressions_differ_from_each_other(head):
    faces = np.stack([head.face(AVERAGE, expression) for expression in head.expressions])
    apart = np.linalg.norm(faces[:, None] - faces[None], axis=3).max(axis=2)
    assert apart[np.triu_indices(len(faces), 1)].min() > 1.5


def test_the_stretched_mouth_is_open_and_the_neutral_one_closed(head):
    upper, lower, *_ = lips(head)
    for identity, manner in people(head, 8):
        neutral = head.neutral(identity)
        assert np.linalg.norm(neutral[upper] - neutral[lower]) < 0.01
        stretched = head.face(identity, "mouth_stretch", manner)
        assert stretched[upper, 1] - stretched[lower, 1] > 15


def test_closed_eyes_are_closed_and_open_ones_open(head):
    for identity, manner in people(head, 8):
        assert lid_gap(head, head.neutral(identity)) > 6
        assert lid_gap(head, head.face(identity, "eye_closed", manner)) < 1.5


def test_closed_lids_cover_the_eyeball(head):
    chart = chart_of(head.vertex_count)
    ring, ball = chart.lid_ring, head.topology.regions["eyeballs"]
    closed = head.face(AVERAGE, "eye_closed")
    assert np.abs(closed - head.topology.template)[ball].max() < 1e-9, "the eyeball itself stays"
    upper = ring & (chart.position[:, 1] > 0.8 * UPPER_LID)
    dropped = head.topology.template[upper, 1] - closed[upper, 1]
    assert dropped.min() > 5
    assert closed[upper, 2].min() > closed[ball, 2].max() - 0.5, "in front of the eyeball"


def test_left_is_the_mirror_of_right(head):
    for left, right in (("jaw_left", "jaw_right"), ("mouth_left", "mouth_right")):
        mirrored = head.face(AVERAGE, right)[head.mirror] * (-1, 1, 1)
        assert np.abs(head.face(AVERAGE, left) - mirrored).max() < 1e-6
    chin = np.argmin(head.topology.template[:, 1])
    assert head.face(AVERAGE, "jaw_left")[chin, 0] > 4, "the person's left is at positive x"


def test_each_part_goes_where_its_expression_says(head):
    _, _, left, right = lips(head)
    neutral, regions = head.topology.template, head.topology.regions
    width = neutral[left, 0] - neutral[right, 0]

    def wide(name):
        face = head.face(AVERAGE, name)
        return (face[left, 0] - face[right, 0]) / width

    assert wide("smile") > 1.1
    assert wide("lip_puckerer") < 0.75
    assert head.face(AVERAGE, "smile")[left, 1] > neutral[left, 1] + 4
    assert head.face(AVERAGE, "sadness")[left, 1] < neutral[left, 1] - 2
    brow = regions["brow"]
    assert (head.face(AVERAGE, "brow_raiser") - neutral)[brow, 1].mean() > 2
    assert (head.face(AVERAGE, "brow_lower") - neutral)[brow, 1].mean() < -1
    assert (head.face(AVERAGE, "jaw_forward") - neutral)[regions["jaw"], 2].mean() > 2
    puffed = head.face(AVERAGE, "cheek_blowing") - neutral
    assert np.linalg.norm(puffed, axis=1).max() > 6


def test_what_is_called_stable_hardly_moves(head):
    stable = head.topology.regions["stable"]
    assert len(stable) > 100
    for expression in head.expressions:
        if not expression.startswith(("brow", "sadness", "anger")):
            moved = np.linalg.norm(head.face(AVERAGE, expression) - head.topology.template, axis=1)
            assert moved[stable].mean() < 0.5, expression


def test_an_expression_adds_something_else_to_each_face(head):
    identities = [identity for identity, _ in people(head, 6)]
    for expression in head.expressions[1:]:
        moves = np.stack([head.face(i, expression) - head.neutral(i) for i in identities])
        moving = np.linalg.norm(moves, axis=2).mean(axis=0) > 0.5
        size, spread = (np.linalg.norm(m[:, moving], axis=2).mean() for m in (moves, moves - moves.mean(axis=0)))
        assert spread / size > 0.05, expression


def test_manner_scales_and_leans(head):
    _, _, left, right = lips(head)
    moved = {
        name: head.face(AVERAGE, "smile", manner) - head.topology.template
        for name, manner in {
            "plain": Manner(),
            "half": Manner(strength=0.5),
            "left": Manner(asymmetry=0.3),
            "no cheeks": Manner(habits={"cheek_raise": 0.0}),
        }.items()
    }
    assert moved["half"][left, 1] == pytest.approx(0.5 * moved["plain"][left, 1], rel=0.02)
    assert moved["left"][left, 1] > 1.5 * moved["left"][right, 1]
    assert np.abs(moved["plain"] - moved["no cheeks"]).max() > 1


def test_a_mixture_of_one_is_that_expression_and_mixtures_add_up(head):
    assert np.array_equal(head.face(AVERAGE, {"grin": 1.0}), head.face(AVERAGE, "grin"))
    both = head.face(AVERAGE, {"brow_raiser": 1.0, "lip_puckerer": 1.0}) - head.topology.template
    brow = head.face(AVERAGE, "brow_raiser") - head.topology.template
    members = head.topology.regions["brow"]
    assert np.abs(both - brow)[members].max() < 0.2


def test_the_dataset_knows_its_neutrals_and_splits_by_subject():
    scans = synthetic_dataset(10, vertex_count=1200, expressions=("smile", "neutral"), noise_mm=0.05)
    assert len(scans) == 20
    assert [len(np.unique(scans.subject[scans.rows(name)])) for name in ("train", "val", "test")] == [7, 1, 2]
    neutrals, known = scans.neutrals()
    assert known.all()
    noise = scans.vertices(scans.neutral_row) - neutrals
    assert noise.std() == pytest.approx(0.05, rel=0.02)
    quiet = synthetic_dataset(1, vertex_count=1200, expressions=("neutral",), noise_mm=0.0)
    assert np.abs(quiet.vertices()[0] - quiet.neutrals()[0][0]).max() < 1e-4


def test_the_folder_holds_the_same_scans_as_the_dataset(tmp_path):
    expressions = ("neutral", "lip_roll")
    write_synthetic_folder(tmp_path / "raw", 2, seed=5, expressions=expressions)
    scans = synthetic_dataset(2, seed=5, vertex_count=1200, expressions=expressions)
    assert sorted(p.relative_to(tmp_path / "raw").as_posix() for p in (tmp_path / "raw").rglob("*.ply")) == [
        f"person_{k:03d}/{name}.ply" for k in range(2) for name in sorted(expressions)
    ]
    mesh = Mesh.read(tmp_path / "raw" / "person_001" / "lip_roll.ply")
    assert np.array_equal(mesh.faces, scans.topology.faces)
    assert np.array_equal(mesh.vertices, scans.vertices(np.array([scans.scan("person_001/lip_roll")]))[0])
    with pytest.raises(UsageError, match="exists already"):
        write_synthetic_folder(tmp_path / "raw", 2)


def test_wrong_requests_say_what_was_wanted(head):
    with pytest.raises(UsageError, match=r"900 vertices .* wanted 1200 to 6000"):
        SyntheticHead(900)
    with pytest.raises(UsageError, match=r"'smiel'.*\nDid you mean|'smiel'.*Did you mean 'smile'"):
        head.face(AVERAGE, "smiel")
    with pytest.raises(UsageError, match=r"shape \(3,\).*wanted \(30,\)"):
        head.neutral(np.zeros(3))


def test_eight_hundred_scans_take_seconds():
    start = time.process_time()
    scans = synthetic_dataset(40)
    assert len(scans) == 800
    assert time.process_time() - start < 15, "about 2 s where nothing else runs"
