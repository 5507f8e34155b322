"""``meshdisent combine``: what is printed, how sets are named, and what ends it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from meshdisent.cli.combine import named_files
from meshdisent.cli.main import main
from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import UsageError

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Two folders of four and of twelve people each, both called faces.h5."""
    folder = tmp_path_factory.mktemp("two sets")
    scans = small_faces.scans()
    for name, people in (("few", [0, 1, 14, 15]), ("many", range(2, 14))):
        rows = np.flatnonzero(np.isin(scans.subject, list(people)))
        part = ScanDataset.from_arrays(
            scans.vertices(rows) + np.float32(4.0 * (name == "many")),
            small_faces.FACES,
            [scans.subjects[s] for s in scans.subject[rows]],
            [scans.expressions[e] for e in scans.expression[rows]],
            template=small_faces.TEMPLATE,
            split=["train" if scans.split[row] == 0 else "test" for row in rows],
        )
        part.save(folder / name / "faces.h5")
    return folder


def test_two_files_become_one(files, tmp_path, capsys):
    out = tmp_path / "all.h5"
    assert main(["combine", str(files / "few/faces.h5"), str(files / "many/faces.h5"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{out}: 80 scans of 16 subjects, 5 expressions, 2 sets" in said
    assert "  few          20 scans of 4 subjects\n" in said
    assert "  many         60 scans of 12 subjects, 5 expressions known before" in said
    assert "WARNING: the mean face of many lies " in said
    assert "give --align rigid, unless that is meant" in said
    assert ScanDataset.open(out).sets == ("few", "many")
    assert main(["inspect", str(out)]) == 0
    assert "set          few: 20 scans of 4 subjects (10 train, 10 test)" in capsys.readouterr().out
    assert main(["inspect", str(out), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["sets"]["many"]["scans"] == 60


def test_names_and_options(files, tmp_path, capsys):
    out = tmp_path / "all.h5"
    given = [f"a={files / 'few/faces.h5'}", str(files / "many/faces.h5")]
    assert main(["combine", *given, "--out", str(out), "--align", "rigid", "--expressions", "apart"]) == 0
    assert "WARNING" not in capsys.readouterr().out
    both = ScanDataset.open(out)
    assert both.sets == ("a", "faces")
    assert both.expressions[0] == "a-neutral"
    assert both.transforms is not None
    assert main(["combine", *given, "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["combine", *given, "--out", str(out), "--overwrite"]) == 0


def test_names_stand_before_an_equals_sign():
    assert named_files(("x/a.h5", "b=y/a.h5")) == {"a": "x/a.h5", "b": "y/a.h5"}
    assert named_files(("x/a=1.h5", "y/b.h5")) == {"a=1": "x/a=1.h5", "b": "y/b.h5"}, "not in the name of a file"
    with pytest.raises(UsageError, match="Two of the sets are called 'a'"):
        named_files(("a=1.h5", "x/a.h5"))


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda few, many: [few], 2, "1 dataset given; wanted at least two to combine."),
        (lambda few, many: [few, f"b={few}"], 3, "holds the same scans as"),
        (lambda few, many: [few, "none.h5"], 3, "none.h5 is absent"),
        (lambda few, many: [f"a/b={few}", many], 3, "is absent"),
    ],
)
def test_bad_input_gets_one_line(files, tmp_path, capsys, change, code, message):
    given = change(str(files / "few/faces.h5"), str(files / "many/faces.h5"))
    assert main(["combine", *given, "--out", str(tmp_path / "all.h5")]) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_figures_for_each_set(files, tmp_path, capsys):
    out = tmp_path / "all.h5"
    assert main(["combine", str(files / "few/faces.h5"), str(files / "many/faces.h5"), "--out", str(out)]) == 0
    assert main(["train", "linear", "--data", str(out), "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    figures = tmp_path / "figures.json"
    assert main(["evaluate", str(tmp_path / "run"), "--data", str(out), "--json", str(figures)]) == 0
    said = capsys.readouterr().out
    assert "the model on the scans of each set alone" in said
    assert "few: 10 scans of 2 subjects; many: 10 scans of 2 subjects" in said
    found = json.loads(figures.read_text())
    alone = [found["sets"][name]["E_avd"]["mean"] for name in ("few", "many")]
    assert found["E_avd"]["mean"] == pytest.approx(np.mean(alone), rel=1e-6), "as many scans in both"
    assert f"{alone[0]:.3f}" in said
