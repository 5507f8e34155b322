"""Small trees of scans in the layouts of published data sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from meshdisent.mesh.mesh import Mesh

#: What lies about in folders that people unpacked.
STRAYS = ("{}/._{}", "__MACOSX/{}/._{}", "__MACOSX/{}/{}", "{}/.DS_Store", "{}/readme of the data.txt", "{}/{}.zip")


class Plant:
    """Writes meshes below a raw folder; each is another one, and remembered in mm by the name of its file."""

    def __init__(self, raw: Path, sheet: Mesh):
        self.raw, self.sheet = raw, sheet
        self.vertices: dict[str, np.ndarray] = {}

    def __call__(self, *names: str, unit_mm: float = 1.0, vertices: np.ndarray | None = None) -> None:
        for name in names:
            path = self.raw / name
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(len(self.vertices)).normal(size=self.sheet.vertices.shape)
            shape = self.sheet.vertices + noise if vertices is None else vertices
            self.vertices[name] = shape
            write_mesh(path, self.sheet.with_vertices(shape / unit_mm))

    def strays(self, folder: str, name: str) -> None:
        """Leave side files of macOS, notes and archives beside a scan."""
        for stray in STRAYS:
            path = self.raw / stray.format(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\x00\x05\x16\x07")


def write_mesh(path: Path, mesh: Mesh) -> None:
    extension = path.suffix.lower()
    if extension == ".bin":
        path.write_bytes(mesh.vertices.astype("<f4").tobytes())
    elif extension == ".wrl":
        points = ", ".join(" ".join(map(repr, row)) for row in mesh.vertices.tolist())
        corners = ", ".join(", ".join([*map(str, row), "-1"]) for row in mesh.faces.tolist())
        shape = f"coord Coordinate {{ point [ {points} ] }} coordIndex [ {corners} ]"
        path.write_text(f"#VRML V2.0 utf8\nShape {{ geometry IndexedFaceSet {{ {shape} }} }}\n")
    else:
        mesh.write(path)


@pytest.fixture
def plant(tmp_path, sheet) -> Plant:
    """Write scans into a folder whose name has a space and letters beyond ASCII."""
    return Plant(tmp_path / "Gesichter für später", sheet)


@pytest.fixture
def shown() -> Callable[..., list[str]]:
    """The names of scans in their order; true neutrals in brackets."""

    def show(listing) -> list[str]:
        names = [f"{r.subject}/{r.expression}" + (f"/{r.frame}" if r.frame >= 0 else "") for r in listing.records]
        return [f"({name})" if r.is_truth else name for name, r in zip(names, listing.records, strict=True)]

    return show
