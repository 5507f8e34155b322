"""Pictures of faces of wsdf-ict with known codes, small enough for tests."""

from functools import lru_cache

import numpy as np
import torch

from meshdisent.fitting.appearance import painted_albedo
from meshdisent.fitting.face_points import face_points
from meshdisent.fitting.image_windows import Photo
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.morphable.model_file import load_morphable
from meshdisent.render.camera import Camera
from meshdisent.render.faces import lights
from meshdisent.render.fillings import Fillings
from meshdisent.render.heads import in_camera_frame, picture_heads
from meshdisent.render.view import View

DEGREES = 14.0


@lru_cache(maxsize=1)
def model() -> MorphableModel:
    return load_morphable("wsdf-ict")


@lru_cache(maxsize=16)
def picture(
    person: int = 0, yaw: float = 12.0, expression: int = 0, size: int = 128
) -> tuple[Photo, np.ndarray, np.ndarray]:
    """A photo with landmarks and mask, its vertices in mm, and its colors."""
    face = model()
    codes = face.prior().sample(1, torch.Generator().manual_seed(person))
    shown = face.prior().sample(1, torch.Generator().manual_seed(100 + expression)).expression
    with torch.no_grad():
        vertices = face.decode(Codes(codes.identity, shown if expression else codes.expression))[0].double().numpy()
    prior = painted_albedo(face.topology)
    numbers = torch.randn(len(prior.basis), generator=torch.Generator().manual_seed(person))
    albedo = prior.albedo(numbers).clamp(0.02, 1).double().numpy()
    fillings = Fillings.of(face.topology)
    head = in_camera_frame(torch.from_numpy(fillings.fill(vertices[None])).float(), (0.0, 0.0, 60.0))
    view = View.of(torch.deg2rad(torch.tensor([[4.0, yaw, 2.0, 0.0, 0.0, 0.0]])))
    camera = Camera.of_field_of_view(size, DEGREES)
    colors = torch.from_numpy(fillings.color(albedo, vertices)).float()
    light = lights(torch.tensor([[0.45, 0.5, 0.4, -0.3]]))
    behind = torch.linspace(0.2, 0.6, size)[:, None, None].expand(size, size, 3)[None]
    found = picture_heads(head, torch.from_numpy(fillings.faces), colors[None], light, view, behind, camera)
    places = camera.project(view.apply(head))[0].double().numpy()
    photo = Photo(
        pixels=(found.picture[0] * 255).round().byte().numpy(),
        landmarks={name: places[k] for name, k in face_points(face.topology).items()},
        mask=found.mask[0].numpy(),
        field_of_view=DEGREES,
        name=f"person{person}.png",
    )
    return photo, vertices, albedo
