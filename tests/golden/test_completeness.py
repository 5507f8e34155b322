"""No file of published data is forgotten, and the copies beside the tests are true."""

from pathlib import Path

HERE = Path(__file__).parent


def test_copies_are_equal_to_the_originals(golden_wsdf):
    copies = sorted((HERE / "arrays").iterdir())
    assert len(copies) >= 10
    assert [c.name for c in copies if c.read_bytes() != (golden_wsdf / c.name).read_bytes()] == []


def test_every_file_of_published_data_is_checked_array_by_array(golden_wsdf):
    tests = [path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py")]
    checking = "".join(text for text in tests if ".check(" in text)
    files = [path.name for path in golden_wsdf.iterdir() if path.suffix != ".md"]
    assert len(files) >= 17
    forgotten = [name for name in files if f'("{name.removesuffix(".npz")}' not in checking]
    assert forgotten == []


def test_copies_stay_small():
    sizes = {path.name: path.stat().st_size for path in (HERE / "arrays").iterdir()}
    assert max(sizes.values()) < 100_000
    assert sum(sizes.values()) < 600_000
