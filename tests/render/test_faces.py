"""Rendered faces: pictures of painted heads, and a truth that fits them."""

import numpy as np
import pytest
import torch

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.data.synthetic import SyntheticHead
from meshdisent.errors import UsageError
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.linear import LinearModel
from meshdisent.render.camera import Camera
from meshdisent.render.faces import FaceConfig, lights, shoot, write_faces
from meshdisent.render.fillings import Fillings
from meshdisent.render.heads import in_camera_frame, outer_normals, picture_heads
from meshdisent.render.paint import FacePaint
from meshdisent.render.people import ModelPeople, SyntheticPeople
from meshdisent.render.shading import Light
from meshdisent.render.view import View

CONFIG = FaceConfig(people=4, sequences=2, frames=3, size=32, val_share=0.25, test_share=0.25, seed=7)


@pytest.fixture(scope="module")
def people():
    return SyntheticPeople(1200, ("neutral", "smile", "mouth_stretch"))


@pytest.fixture(scope="module")
def images(people, tmp_path_factory):
    path = tmp_path_factory.mktemp("faces") / "images.h5"
    return ImageDataset.open(write_faces(people, path, CONFIG))


def test_everybody_is_there_and_nobody_is_in_two_splits(images):
    assert images.summary() == {
        "images": 24,
        "image_size": 32,
        "subjects": 4,
        "expressions": 3,
        "sequences": 8,
        "splits": {"train": 12, "val": 6, "test": 6, "dropped": 0},
    }
    assert images.expressions == ("neutral", "smile", "mouth_stretch")
    assert [len(rows) for rows in images.sequences_of(np.arange(24))] == [3] * 8


def test_the_number_of_processes_and_of_people_changes_nobody(people, images, tmp_path):
    more = FaceConfig(**(vars(CONFIG) | {"people": 5}))
    again = ImageDataset.open(write_faces(people, tmp_path / "again.h5", more, workers=2))
    assert np.array_equal(again.pixels(np.arange(24)), images.pixels())
    assert np.array_equal(again.truth("depth", np.arange(24)), images.truth("depth"))
    other = shoot(people, FaceConfig(**(vars(CONFIG) | {"seed": 8})), 0)
    assert not np.array_equal(other.pixels, images.pixels(np.arange(6)))


def test_the_true_depth_and_view_give_the_head_back(people):
    """Points of the depth map, taken back to the frontal frame, lie on the head that was rendered."""
    random = np.random.default_rng(0)
    head = in_camera_frame(torch.from_numpy(people.actor(random)({})[None]))
    view = View.of(torch.tensor([[0.1, 0.3, -0.05, 0.004, -0.003, 0.0]]).double())
    light = Light.of(torch.zeros(1, 4).double())
    camera = Camera.of_field_of_view(32)
    colors, behind = torch.full_like(head, 0.5), torch.zeros(1, 32, 32, 3).double()
    faces = torch.from_numpy(people.topology.faces)
    found = picture_heads(head, faces, colors, light, view, behind, camera)
    assert 0.4 < found.mask.double().mean() < 0.95
    points = view.undo(found.depth[..., None] * camera.rays(head))[found.mask]
    distance = closest_points(points.numpy(), head[0].numpy(), people.topology.faces)[2]
    assert distance.max() < 1e-9
    # Normals point away from the camera, and turn with the head.
    looking = (found.normals * camera.rays(head)).sum(-1)[found.mask]
    assert (looking > -0.05).double().mean() > 0.97
    assert (found.normals.norm(dim=-1) - 1).abs().max() < 1e-9


def test_light_from_one_side_lights_that_side(people):
    head = in_camera_frame(torch.from_numpy(people.topology.template[None]))
    faces = torch.from_numpy(people.topology.faces)
    camera, view = Camera.of_field_of_view(32), View.of(torch.zeros(1, 6).double())
    colors, behind = torch.ones_like(head), torch.zeros(1, 32, 32, 3).double()
    sides = []
    for dx in (-0.8, 0.8):
        light = lights(torch.tensor([[0.2, 0.6, dx, 0.0]]).double())
        picture = picture_heads(head, faces, colors, light, view, behind, camera).picture[0, 8:24, :, 0]
        sides.append(float(picture[:, 16:].mean() - picture[:, :16].mean()))
    # The direction is that of the normals, which look away from the camera: dx > 0 is light from the left.
    assert sides[0] > 0.05
    assert sides[1] < -0.05
    assert sides[0] == pytest.approx(-sides[1], rel=0.05)


def test_a_head_before_nothing_shows_the_background(people):
    head = in_camera_frame(torch.from_numpy(people.topology.template[None])) + torch.tensor([9.0, 0, 0])
    behind = torch.rand(1, 32, 32, 3).double()
    found = picture_heads(
        head,
        torch.from_numpy(people.topology.faces),
        torch.ones_like(head),
        Light.of(torch.zeros(1, 4).double()),
        View.of(torch.zeros(1, 6).double()),
        behind,
        Camera.of_field_of_view(32),
    )
    assert torch.allclose(found.picture, behind)
    assert not found.mask.any()
    assert (found.depth == 0).all()


def test_normals_of_a_ball_point_outside():
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=2)
    vertices = torch.from_numpy(np.asarray(ball.vertices))[None]
    normals = outer_normals(vertices, torch.from_numpy(np.asarray(ball.faces)))
    assert ((normals * vertices).sum(-1) > 0.99).all()


def test_skin_is_symmetric_but_for_marks_and_eyes_are_not_skin():
    head, paint = SyntheticHead(1200), FacePaint.of_synthetic_head(1200)
    for seed in range(5):
        colors = paint.albedo(np.random.default_rng(seed))
        assert colors.min() >= 0.02
        assert colors.max() <= 1
        differing = np.abs(colors - colors[head.mirror]).max(axis=1) > 1e-9
        assert differing.mean() < 0.1
    assert not np.allclose(paint.albedo(np.random.default_rng(1)), paint.albedo(np.random.default_rng(2)))
    lips, brows = (paint.place[share > 0.5] for share in (paint.lips, paint.brows))
    assert (np.abs(lips[:, 0]) < 28).all()
    assert ((lips[:, 1] > -77) & (lips[:, 1] < -55)).all()
    assert ((brows[:, 1] > 8) & (brows[:, 1] < 28)).all()
    assert len(brows) > 10


def test_an_open_mouth_is_dark_behind(people):
    fillings = Fillings.of(people.topology)
    assert (len(fillings.eyes), len(fillings.mouth)) == (0, 1)
    face = people.actor(np.random.default_rng(0))({"mouth_stretch": 1.0})
    whole = fillings.fill(face[None])[0]
    assert np.array_equal(whole[: len(face)], face)
    assert fillings.faces.max() == len(whole) - 1
    inside = whole[len(face) :]
    assert np.abs(inside[:, 0]).max() < 30
    colors = fillings.color(np.ones_like(face), face)
    assert colors.shape == whole.shape
    assert colors[len(face) :].max() < 0.3


def test_a_mesh_without_openings_is_left_alone():
    topology = Topology(np.eye(4, 3) * 50, np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]]))
    fillings = Fillings.of(topology)
    assert (fillings.eyes, fillings.mouth) == ((), ())
    assert np.array_equal(fillings.fill(np.zeros((1, 4, 3))), np.zeros((1, 4, 3)))


def test_people_of_a_model_do_what_its_named_expressions_say():
    from meshdisent.data.synthetic import synthetic_dataset

    model = LinearModel.fit(synthetic_dataset(subjects=6, seed=0, vertex_count=1200))
    with pytest.raises(UsageError, match="no named expressions"):
        ModelPeople(model)
    model.named_expressions = {"grin": model.prior().expression_mean + 1.0}
    people = ModelPeople(model)
    assert people.expressions == ("neutral", "grin")
    actor = people.actor(np.random.default_rng(3))
    rest, half, full = (actor(amounts) for amounts in ({}, {"grin": 0.5}, {"grin": 1.0}))
    assert rest.shape == (1200, 3)
    assert np.allclose(half, (rest + full) / 2, atol=1e-3)
    assert np.abs(full - rest).max() > 0.1
    assert people.paint.lips.max() > 0.5
    assert np.array_equal(people.actor(np.random.default_rng(3))({}), rest)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"people": 0}, "people is 0"),
        ({"size": 4}, "size is 4 pixels"),
        ({"yaw": -1.0}, "yaw is -1"),
        ({"val_share": 0.6, "test_share": 0.6}, "more than 1 together"),
    ],
)
def test_impossible_numbers_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        FaceConfig(**wrong)


def test_unknown_expressions_are_refused():
    with pytest.raises(UsageError, match="wanted neutral first"):
        SyntheticPeople(1200, ("smile",))
    with pytest.raises(UsageError, match="wanted neutral first"):
        SyntheticPeople(1200, ("neutral", "sneeze"))
