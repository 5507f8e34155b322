"""No file of LatentFace's published data is forgotten."""

from pathlib import Path

HERE = Path(__file__).parent
#: The key lists come in one file for both sizes, and the networks in one for each.
BY_PATTERN = {"networks_64.npz": "networks_", "networks_128.npz": "networks_"}


def test_every_file_of_published_data_is_used(shared):
    tests = "".join(path.read_text(encoding="utf-8") for path in HERE.glob("test_latentface_*.py"))
    names = sorted(path.name for path in (shared / "golden" / "latentface").iterdir() if path.suffix != ".md")
    assert len(names) >= 10
    wanted = {name: BY_PATTERN.get(name, name.removesuffix(".npz")) for name in names}
    assert [name for name, text in wanted.items() if f'"{text}' not in tests] == []
