"""One of each file that the library reads, and what reads it: all of it, so that nothing damaged is left unseen."""

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sparse

SHARED = Path(__file__).resolve().parents[3] / "shared"


@dataclass(frozen=True)
class Kind:
    """A kind of file: how whole ones are made, and what reads one (and all that is in it)."""

    make: Callable[[Path], list[Path]]
    read: Callable[[Path], Any]


def meshes(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    from meshdisent.mesh.mesh import Mesh

    vertices, faces = sphere()
    made = [folder / f"mesh{ending}" for ending in endings]
    for path in made:
        Mesh(vertices, faces).write(path)
    return made


def sphere() -> tuple[np.ndarray, np.ndarray]:
    """An octahedron, once divided."""
    import trimesh

    made = trimesh.creation.icosphere(subdivisions=1, radius=50.0)
    return np.asarray(made.vertices), np.asarray(made.faces)


def make_obj(folder: Path) -> list[Path]:
    quads = folder / "quads.obj"
    quads.write_text(
        "mtllib a.mtl\no head\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0 1.0\nvt 0 0\nvt 1 1\nvn 0 0 1\nusemtl skin\n"
        "g face\ns off\nf 1/1/1 2/2/1 3/1/1 4/2/1\nf -1//1 -2//1 -3//1\n"
    )
    return [*meshes(folder, (".obj",)), quads]


def make_ply(folder: Path) -> list[Path]:
    text = folder / "text.ply"
    text.write_text(
        "ply\nformat ascii 1.0\ncomment made\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
        "0 0 0 1\n1 0 0 2\n0 1 0 3\n3 0 1 2\n"
    )
    return [*meshes(folder, (".ply",)), text]


def make_wrl(folder: Path) -> list[Path]:
    path = folder / "face.wrl"
    path.write_text(
        "#VRML V2.0 utf8\nShape { geometry IndexedFaceSet { coord Coordinate { point [ 0 0 0, 1 0 0, 0 1 0, 1 1 0 ] }\n"
        "coordIndex [ 0, 1, 2, -1, 1, 3, 2, -1 ] } }\n"
    )
    return [path]


def read_mesh(path: Path) -> Any:
    from meshdisent.mesh.mesh import Mesh

    return Mesh.read(path)


def scans() -> Any:
    from meshdisent.data.dataset import ScanDataset

    vertices, faces = sphere()
    random = np.random.default_rng(0)
    return ScanDataset.from_arrays(
        vertices + random.normal(size=(12, *vertices.shape)),
        faces,
        [f"s{k // 3}" for k in range(12)],
        ["neutral", "smile", "open"] * 4,
        template=vertices,
        split=["train"] * 9 + ["test"] * 3,
    )


def make_faces(folder: Path) -> list[Path]:
    scans().save(folder / "faces.h5")
    return [folder / "faces.h5"]


def read_faces(path: Path) -> Any:
    from meshdisent.data.dataset import ScanDataset

    found = ScanDataset.open(path)
    found.vertices()
    found.full_resolution()
    return found.topology.regions, found.attributes


def make_images(folder: Path) -> list[Path]:
    from meshdisent.render.faces import FaceConfig, write_faces
    from meshdisent.render.people import SyntheticPeople

    config = FaceConfig(people=3, sequences=1, frames=2, size=16, val_share=0.0, test_share=0.0)
    write_faces(SyntheticPeople(), folder / "images.h5", config)
    return [folder / "images.h5"]


def read_images(path: Path) -> Any:
    from meshdisent.data.images.image_dataset import ImageDataset

    found = ImageDataset.open(path)
    found.images(found.rows("train"))
    return found


def make_model(folder: Path) -> list[Path]:
    from meshdisent.morphable.linear import LinearConfig, LinearModel

    model = LinearModel.fit(scans(), LinearConfig(identity_size=2, expression_size=2))
    model.save(folder / "model.safetensors")
    return [folder / "model.safetensors"]


def read_model(path: Path) -> Any:
    from meshdisent import load

    model = load(path)
    return model.decode(model.prior().sample(1, _generator()))


def _generator() -> Any:
    import torch

    return torch.Generator().manual_seed(0)


def make_checkpoint(folder: Path) -> list[Path]:
    from meshdisent.training.loop import run_recipe
    from meshdisent.training.recipe import read_recipe

    run_recipe(read_recipe("coma", _TINY_COMA), scans(), folder / "run", progress=False)
    return [folder / "run" / "checkpoint.safetensors"]


_TINY_COMA = [
    "training.minutes=null",
    "training.steps=1",
    "config.factors=[2, 2]",
    "config.encoder.channels=[4,4]",
    "config.code_size=4",
]


def read_checkpoint(path: Path) -> Any:
    from meshdisent.training import checkpoint
    from meshdisent.training.run_folder import RunFolder

    class Alone(RunFolder):
        def __init__(self, file: Path):
            super().__init__(file.parent)
            self.checkpoint = file
            self.previous = file.with_name("none")

    return checkpoint.read_checkpoint(Alone(path))


def make_recipes(folder: Path) -> list[Path]:
    from meshdisent.zoo_index import zoo_folder

    made = []
    for name in ("wsdf", "fed-published", "latentface-rendered", "linear"):
        path = folder / f"{name}.yaml"
        path.write_bytes((zoo_folder() / name / "recipe.yaml").read_bytes())
        made.append(path)
    return made


def read_recipe_file(path: Path) -> Any:
    from meshdisent.training.recipe import read_recipe

    return read_recipe(str(path))


def make_flame(folder: Path) -> list[Path]:
    vertices, faces = sphere()
    content = {"v_template": vertices / 1000, "f": faces.astype(np.uint32), "J": sparse.eye_array(4, format="csc")}
    for protocol in (0, 2, 4):
        (folder / f"flame{protocol}.pkl").write_bytes(pickle.dumps(content, protocol))
    np.savez(folder / "flame.npz", v_template=vertices / 1000, f=faces)
    return [*(folder / f"flame{protocol}.pkl" for protocol in (0, 2, 4)), folder / "flame.npz"]


def read_flame(path: Path) -> Any:
    from meshdisent.mesh.flame import read_flame_template

    return read_flame_template(path)


def make_photos(folder: Path) -> list[Path]:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (24, 20, 3), np.uint8)
    made = [folder / f"photo{ending}" for ending in (".png", ".jpg", ".bmp", ".webp", ".tiff", ".gif")]
    for path in made:
        Image.fromarray(pixels).save(path)
    return made


def read_photo_file(path: Path) -> Any:
    from meshdisent.data.images.image_reading import read_photo

    return read_photo(path)


def make_landmarks(folder: Path) -> list[Path]:
    points = {"nose": [1.5, -2, 30], "chin": [0, -80, 10]}
    labels = [{"label": "nose", "mask": [0]}, {"label": "chin", "mask": [1]}]
    texts = {
        "a.json": json.dumps(points),
        "b.csv": "name,x,y,z\nnose,1.5,-2,30\nchin,0,-80,10\n",
        "c.pp": '<PickedPoints><point x="1" y="2" z="3" name="nose" active="1"/></PickedPoints>',
        "d.ljson": json.dumps({"version": 2, "labels": labels, "landmarks": {"points": list(points.values())}}),
        "e.pts": "version: 1\nn_points: 2\n{\n1 2\n3 4\n}\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


def read_landmarks(path: Path) -> Any:
    from meshdisent.mesh.landmark_files import read_landmark_file

    return read_landmark_file(path)


def make_splits(folder: Path) -> list[Path]:
    (folder / "split.json").write_text(json.dumps({"train": ["anna", "ben"], "val": ["cleo"], "test": ["dora"]}))
    return [folder / "split.json"]


def read_split_file(path: Path) -> Any:
    from meshdisent.data.splits import read_split

    return read_split(path, ["anna", "ben", "cleo", "dora"])


def make_maps(folder: Path) -> list[Path]:
    """A map from the octahedron to itself."""
    from meshdisent.mesh.resampling import resampling_map, save_map
    from meshdisent.mesh.topology import Topology

    vertices, faces = sphere()
    topology = Topology(vertices, faces.astype(np.int64), {"front": np.flatnonzero(vertices[:, 2] > 0)})
    save_map(resampling_map(topology, topology), folder / "map.npz")
    return [folder / "map.npz"]


def read_map_file(path: Path) -> None:
    from meshdisent.mesh.resampling import read_map

    found = read_map(path)
    found.matrix @ found.source.template


def golden(*parts: str) -> Callable[[Path], list[Path]]:
    """A published file, where the shared folder has it."""

    def make(folder: Path) -> list[Path]:
        source = SHARED.joinpath("golden", *parts)
        if not source.is_file():
            return []
        copy = folder / source.name
        copy.write_bytes(source.read_bytes())
        return [copy]

    return make


def read_published_wsdf(path: Path) -> Any:
    from meshdisent.mesh.mesh import Mesh
    from meshdisent.morphable.published import load_published

    with np.load(SHARED / "golden" / "wsdf" / "hierarchy.npz") as levels:
        template = Mesh(levels["L0.vertices"] * 1000)
        return load_published(path, template, levels["L0.faces"])


def read_published_fed(path: Path) -> Any:
    from meshdisent.morphable.published_fed import read_state

    return read_state(path)


def read_published_latentface(path: Path) -> Any:
    from meshdisent.latentface.published import load_published_latentface

    return load_published_latentface(path)


KINDS = {
    "obj": Kind(make_obj, read_mesh),
    "ply": Kind(make_ply, read_mesh),
    "wrl": Kind(make_wrl, read_mesh),
    "faces.h5": Kind(make_faces, read_faces),
    "images.h5": Kind(make_images, read_images),
    "model": Kind(make_model, read_model),
    "checkpoint": Kind(make_checkpoint, read_checkpoint),
    "recipe": Kind(make_recipes, read_recipe_file),
    "flame": Kind(make_flame, read_flame),
    "map": Kind(make_maps, read_map_file),
    "photo": Kind(make_photos, read_photo_file),
    "landmarks": Kind(make_landmarks, read_landmarks),
    "split": Kind(make_splits, read_split_file),
    "published fed": Kind(golden("fed", "published_dev.pth"), read_published_fed),
    "published latentface": Kind(golden("latentface", "published_dev.pth"), read_published_latentface),
    "published wsdf": Kind(golden("wsdf", "published_dev.zip"), read_published_wsdf),
}
