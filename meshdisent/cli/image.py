"""``meshdisent image MODEL IMAGE... --out DIR``: photographs to depth, albedo, light, view, and a mesh."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from meshdisent.cli.photographs import folder_names, made_of_each
from meshdisent.errors import MeshdisentError, UsageError
from meshdisent.files import refuse_existing, writing_folder

if TYPE_CHECKING:
    from meshdisent.latentface.face_views import FaceViews
    from meshdisent.latentface.latentface import LatentFace
    from meshdisent.render.shading import Light

#: Degrees about the vertical axis of the views that the sheet shows.
TURNS = (-40.0, -20.0, 20.0, 40.0)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Explain photographs of faces: depth, skin, light, view, who it is, and the face as a mesh with a texture.

    For example: meshdisent image run photo.jpg --out photo --box 120 80 480 440

    Without --box and --detector the whole picture is taken as the face. A photograph that cannot be used is named and
    left out; the exit code is then 3, and the others are written.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run folder, a model file, or a name that `meshdisent models` lists."""
    images: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE", help_behavior_hint="(required)")
    ]
    """Photographs (JPEG, PNG)."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for meshes and pictures, a folder a photograph."""
    box: Annotated[tuple[float, float, float, float] | None, tyro.conf.arg(metavar="LEFT TOP RIGHT BOTTOM")] = None
    """Where the face is, pixels; of all photographs."""
    detector: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Find the face with mediapipe: its face_landmarker.task."""
    topology: Annotated[str | None, tyro.conf.arg(metavar="T")] = None
    """Write the face as a scan of this topology, too (a model, a faces.h5, a template in mm): scan.ply."""
    prior: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """With --topology: the scan is the likeliest face of this model."""
    noise: Annotated[float | None, tyro.conf.arg(metavar="MM")] = None
    """With --topology: how wrong the depth is (30 mm unless given); less follows it more and the likely face less."""
    seed: int = 0
    """Of the noise that identities are drawn from."""
    draws: int = 1
    """Take the mean identity of so many draws."""
    overwrite: bool = False
    """Replace the folder if it exists."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent image", config=(tyro.conf.FlagCreatePairsOff,))
    refuse_existing(given.out, given.overwrite)
    if not given.images:
        raise UsageError("No photograph is named; wanted at least one IMAGE, a JPEG or PNG file.")
    if given.box is not None and given.detector is not None:
        raise UsageError("--box and --detector both say where the face is; give one of them.")
    if given.prior is not None and given.topology is None:
        raise UsageError("--prior belongs to --topology, which is not given.")
    if given.noise is not None and (given.topology is None or not given.noise > 0):
        raise UsageError("--noise belongs to --topology, and is more than 0 mm.")
    from meshdisent.latentface.latentface import load_latentface

    model = load_latentface(given.model)
    register = None if given.topology is None else _registrar(model, given)
    crops, left_out = _read(given, model.image_size)
    names = folder_names([path for path, _ in crops])
    with writing_folder(given.out, given.overwrite) as folder:
        for (path, pixels), name in zip(crops, names, strict=True):
            depth = _write(model, pixels, folder / name, path.name, given)
            left_out += 0 if register is None else register(depth, folder / name, str(path))
    what = f"{len(crops)} photograph{'s' if len(crops) > 1 else ''}"
    print(f"{given.out}: {what}, each with sheet.png, pictures, face.obj, face.glb and face.json")
    return 3 if left_out else 0


def _read(given: Arguments, size: int) -> tuple[list[tuple[Path, np.ndarray]], int]:
    """The faces of the photographs that can be used, and how many cannot."""
    from meshdisent.data.images.face_detection import largest_face
    from meshdisent.data.images.image_reading import read_photo
    from meshdisent.latentface.crop import cropped, face_box

    if given.box is None and given.detector is None:
        print("No --box and no --detector: each picture is taken as the face itself.", file=sys.stderr)

    def face(path: Path) -> np.ndarray:
        photo = read_photo(path)
        box = given.box
        if given.detector is not None:
            box = face_box(largest_face(photo, given.detector, str(path)))
        return cropped(photo, size, box, str(path))

    return made_of_each(given.images, face)


def _write(model: "LatentFace", pixels: np.ndarray, folder: Path, title: str, given: Arguments) -> np.ndarray:
    """Write everything about one photograph; gives the depth of its frontal face."""
    import torch

    from meshdisent.export.textured import write_textured_glb, write_textured_obj
    from meshdisent.latentface.face_views import face_mesh, look
    from meshdisent.show.pictures import write_png
    from meshdisent.show.sheets import sheet

    image = torch.tensor(pixels).permute(2, 0, 1)[None].to(model.like) / 255
    seen = look(model, image, seed=given.seed, draws=given.draws)
    folder.mkdir()
    pictures = _pictures(model, image, seen)
    for name, picture in pictures.items():
        write_png(folder / f"{name.replace(' ', '-')}.png", picture)
    scene = model.config.scene
    depth = seen.depth[0].double().cpu().numpy()
    camera = scene.camera(model.image_size)
    mesh = face_mesh(depth, camera, unit_mm=scene.unit_mm, middle=scene.middle, border=scene.border_width)
    write_textured_obj(mesh, pictures["albedo"], folder / "face.obj")
    write_textured_glb(mesh, pictures["albedo"], folder / "face.glb")
    (folder / "face.json").write_text(json.dumps(_numbers(seen), indent=2) + "\n", encoding="utf-8")
    large = {
        name: np.kron(picture, np.ones((192 // len(picture) or 1,) * 2 + (1,), np.uint8))
        for name, picture in pictures.items()
    }
    names = list(large)
    rows = [names[start : start + 4] for start in range(0, len(names), 4)]
    page = sheet([[large[name] for name in row] for row in rows], title=title, below=rows)
    write_png(folder / "sheet.png", page)
    return depth


def _registrar(model: "LatentFace", given: Arguments) -> Callable[[np.ndarray, Path, str], int]:
    """What writes the scan of a frontal depth; it gives how many (one or none) could not be made."""
    from meshdisent.cli.register import prior_of, report_of
    from meshdisent.cli.resample import read_topology
    from meshdisent.latentface.to_scan import GUESS_MM, face_ellipse, guessed_scan
    from meshdisent.mesh.mesh import Mesh

    assert given.topology is not None
    topology = read_topology(given.topology)
    prior = prior_of(given.prior, topology, given.topology)
    scene, size = model.config.scene, model.image_size
    camera, mask = scene.camera(size), face_ellipse(size)
    known: dict[str, Any] = {"unit_mm": scene.unit_mm, "noise_mm": given.noise or GUESS_MM, "prior": prior}

    def register(depth: np.ndarray, folder: Path, where: str) -> int:
        try:
            found, relief = guessed_scan(depth, topology, camera, mask, **known)
        except MeshdisentError as error:
            print(f"{where}: no scan.ply: {' '.join(str(error).split())}", file=sys.stderr)
            return 1
        Mesh(found.in_template_frame, topology.faces).write(folder / "scan.ply")
        report = json.dumps({"relief": relief, **report_of(found)}, indent=2)
        (folder / "scan.json").write_text(report + "\n", encoding="utf-8")
        residual = found.residual
        apart = f"{residual.median_mm:.2f} mm from the depth (95 % below {residual.most_mm:.2f})"
        print(f"{where}: scan.ply, {apart}, whose relief was taken {relief:g} times")
        return 0

    return register


def _pictures(model: "LatentFace", image: Any, seen: "FaceViews") -> dict[str, np.ndarray]:
    """Everything that is shown, (S, S, 3) uint8 by name."""
    import torch

    from meshdisent.latentface.face_views import front_light, relit, reposed

    scene = model.config.scene
    relief = (scene.farthest - seen.depth) / (scene.farthest - scene.nearest)
    gray = relit(model, seen.depth, torch.full_like(seen.albedo, 0.75), front_light(1, seen.depth))
    colors = {
        "photo": image,
        "rebuilt": seen.rebuilt * seen.mask + (1 - seen.mask),
        "frontal": seen.frontal,
        "albedo": seen.albedo,
        "depth": relief[:, None].expand(-1, 3, -1, -1).clamp(0, 1),
        "normals": (seen.normals * seen.normals.new_tensor([1, -1, -1]) / 2 + 0.5).permute(0, 3, 1, 2),
        "shape": gray,
    }
    if seen.identity is not None:
        colors["identity"] = seen.identity
    for side, dx in (("left", 1.0), ("right", -1.0)):
        colors[f"lit from the {side}"] = relit(model, seen.depth, seen.albedo, _side_light(seen.depth, dx))
    for turn in TURNS:
        angles = torch.zeros_like(seen.angles)
        angles[:, 1] = np.deg2rad(turn)
        side = "left" if turn < 0 else "right"
        colors[f"turned {side} {abs(turn):.0f}"] = reposed(model, seen.depth, seen.frontal, angles)
    return {name: (255 * value[0]).round().byte().permute(1, 2, 0).cpu().numpy() for name, value in colors.items()}


def _side_light(like: Any, dx: float) -> "Light":
    """A third of the light from everywhere, the rest from one side; normals and light look away from the camera."""
    from meshdisent.render.shading import Light

    direction = like.new_tensor([[dx, 0.0, 0.7]])
    third = like.new_full((1,), 1 / 3)
    return Light(ambient=third, diffuse=2 * third, direction=direction / direction.norm(dim=1, keepdim=True))


def _numbers(seen: "FaceViews") -> dict[str, Any]:
    """Light, view and codes as plain numbers."""
    angles = seen.angles[0].double()
    numbers: dict[str, Any] = {
        "light": {
            "ambient": float(seen.light.ambient[0]),
            "diffuse": float(seen.light.diffuse[0]),
            "direction": seen.light.direction[0].tolist(),
        },
        "view": {"degrees": angles[:3].rad2deg().tolist(), "moves": angles[3:].tolist()},
    }
    if seen.codes is not None:
        numbers["codes"] = {name: value[0].tolist() for name, value in vars(seen.codes).items()}
    return numbers
