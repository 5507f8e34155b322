"""No file of FED's published data about networks, losses and training is forgotten."""

from pathlib import Path

HERE = Path(__file__).parent
#: Rules of datasets and figures, which are compared beside what follows them: in tests/data and tests/metrics.
ELSEWHERE = {"data_rules.npz", "preparation.npz", "metrics.npz"}


def test_every_file_of_published_data_is_used(shared):
    tests = "".join(path.read_text(encoding="utf-8") for path in HERE.glob("test_fed_*.py"))
    names = sorted(path.name for path in (shared / "golden" / "fed").iterdir() if path.suffix != ".md")
    assert len(names) >= 21
    steps = {f"step_{case}.npz" for case in _cases()}
    assert steps == {name for name in names if name.startswith("step_")}
    others = [name for name in names if name not in steps | ELSEWHERE]
    assert [name for name in others if f'"{name.removesuffix(".npz")}"' not in tests] == []


def _cases():
    text = (HERE / "test_fed_steps.py").read_text(encoding="utf-8")
    listed = text.partition("CASES = [")[2].partition("]")[0]
    return [line.strip(' ",') for line in listed.splitlines() if line.strip()]
