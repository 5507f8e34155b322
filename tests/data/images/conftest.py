"""Small photographs, trees of them in the layouts of data sets, and a small dataset with everything in it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.data.images.image_labels import ImageLabels, VerificationPairs

#: What lies about in folders that people unpacked.
STRAYS = ("{}/._{}", "__MACOSX/{}/{}", "{}/.DS_Store", "{}/Thumbs.db")


class Album:
    """Writes photographs below a folder whose name has a space and letters beyond ASCII; each has its own color."""

    def __init__(self, root: Path):
        self.root = root
        self.colors: dict[str, tuple[int, int, int]] = {}

    def __call__(self, *names: str, size: tuple[int, int] = (40, 40), mode: str = "RGB") -> None:
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            k = len(self.colors)
            self.colors[name] = (20 + 37 * k % 200, 30 + 83 * k % 190, 40 + 61 * k % 180)
            image = Image.new("RGB", size, self.colors[name])
            (image if mode == "RGB" else image.convert(mode)).save(path, quality=95)

    def text(self, name: str, *lines: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def strays(self, folder: str, name: str) -> None:
        for stray in STRAYS:
            path = self.root / stray.format(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\x00\x05\x16\x07")

    def cut(self, name: str) -> None:
        """Shorten a file, so that it ends in the middle of its image."""
        path = self.root / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@pytest.fixture
def album(tmp_path) -> Album:
    return Album(tmp_path / "Fotos für später")


@pytest.fixture
def shown(album) -> Callable[..., list[str]]:
    """What a listing says of each image: path below the root, subject, expression, sequence, frame, split."""

    def show(listing) -> list[str]:
        return [
            f"{Path(r.path).relative_to(album.root)}: {r.subject} {r.expression} {r.sequence} {r.frame} {r.split}"
            for r in listing.records
        ]

    return show


@pytest.fixture
def truth() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {
        "depth": random.normal(1, 0.01, (7, 6, 6)).astype(np.float32),
        "normal": random.normal(size=(7, 6, 6, 3)).astype(np.float32),
        "albedo": random.integers(0, 256, (7, 6, 6, 3), np.uint8),
        "mask": random.random((7, 6, 6)) < 0.5,
        "light": random.normal(size=(7, 4)).astype(np.float32),
        "view": random.normal(size=(7, 6)).astype(np.float32),
        "vertices": random.normal(size=(7, 11, 3)).astype(np.float32),
    }


@pytest.fixture
def labels() -> ImageLabels:
    return ImageLabels.from_names(
        ["anna", "anna", "jörg", None, "jörg", "anna", "jörg"],
        expressions=["smile", None, "neutral", "smile", None, None, "smile"],
        sequences=["anna/a", "anna/a", "jörg/b", None, "jörg/b", "anna/a", None],
        frames=[1, 7, 3, -1, 3, 20, -1],
        splits=["train", "train", "test", "val", "test", "train", "dropped"],
        expression_table=["neutral", "smile", "never seen"],
        lists={"turned": [2, 4], "nobody": []},
        pairs=VerificationPairs(
            rows=np.array([[0, 1], [0, 2], [2, 4]]), is_same=np.array([True, False, True]), fold=np.array([0, 0, 1])
        ),
    )


@pytest.fixture
def dataset(labels, truth) -> ImageDataset:
    """Seven images of 6 pixels with labels, lists, pairs and every truth, in memory."""
    pixels = np.random.default_rng(0).integers(0, 256, (7, 6, 6, 3), np.uint8)
    return ImageDataset.from_arrays(pixels, labels, truth=truth, attributes={"camera": "kitchen", "rate": 2.5})
