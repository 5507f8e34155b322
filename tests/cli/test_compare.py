"""meshdisent compare, as it is called: names, outputs, refusals."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.cli.compare import told_apart
from meshdisent.cli.main import main
from meshdisent.errors import UsageError
from meshdisent.show import evaluation_pictures


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Two runs of one name, a model file, a dataset and pairs of transfers; gives the folder."""
    folder = tmp_path_factory.mktemp("compare job")  # with a space in its name
    scans = small_faces.scans()
    scans.save(folder / "faces.h5")
    for number, parent in enumerate(("a", "b"), start=1):
        small_faces.linear(scans, identity_size=number, expression_size=2).save(
            folder / parent / "run" / "model.safetensors"
        )
    small_faces.linear(scans, identity_size=3, expression_size=4).save(folder / "mine.safetensors")
    small_faces.write_pairs(folder / "pairs", [(12, 0, 13, 1), (13, 1, 14, 2)])
    return folder


@pytest.fixture(autouse=True)
def in_job(job, monkeypatch):
    monkeypatch.chdir(job)
    monkeypatch.setenv("MESHDISENT_RENDERER", "software")
    monkeypatch.setattr(evaluation_pictures, "SIZE", (60, 72))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_one_table_one_page_and_the_same_numbers_as_json_and_markdown(capsys, tmp_path):
    out = tmp_path / "the comparison"
    command = ["compare", "a/run", "b/run", "mine.safetensors", "--data", "faces.h5", "--out", str(out)]
    assert main([*command, "--transfer", "pairs/pairs.csv"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("3 models on 20 scans of 4 subjects\n")
    assert printed.out.splitlines()[-1] == f"{out / 'report.html'}: open it in a browser"
    assert printed.err.splitlines()[:5] == [
        "  a/run: figures", "  a/run: recognition", "  a/run: probes", "  a/run: factors and shapes",
        "  b/run: figures",
    ]  # fmt: skip
    assert printed.err.splitlines()[-1] == "  report"
    numbers = json.loads((out / "comparison.json").read_text())
    assert list(numbers["models"]) == ["a/run", "b/run", "mine"]
    mean = numbers["models"]["mine"]["E_tra"]["plain"]["mean"]
    for text in (printed.out, (out / "comparison.md").read_text(), (out / "report.html").read_text()):
        assert f"{mean:.3f}" in text
    assert "compare a/run b/run mine.safetensors --data faces.h5" in (out / "report.html").read_text()
    assert (out / "extremes.png").is_file()
    assert not [path for path in tmp_path.iterdir() if path != out]  # nothing left beside it


def test_the_same_seed_gives_the_same_files(tmp_path):
    for name, seed in (("first", "0"), ("again", "0"), ("other", "1")):
        assert main(["compare", "a/run", "--data", "faces.h5", "--out", str(tmp_path / name), "--seed", seed]) == 0
    first, again, other = ((tmp_path / name / "comparison.json").read_text() for name in ("first", "again", "other"))
    assert first == again != other


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a/run", "a/run/model.safetensors"], 2, "a/run/model.safetensors is the same model as one before it"),
        (["nobody"], 3, "neither a file, a run folder nor a zoo model"),
        (["a/run", "--split", "val"], 3, "no scans in its val split"),
        (["a/run", "--transfer", "none.csv"], 3, "none.csv could not be read as a table"),
        ([], 2, ""),
    ],
)
def test_what_cannot_work_is_one_clear_line_and_leaves_nothing(capsys, tmp_path, arguments, code, message):
    assert main(["compare", *arguments, "--data", "faces.h5", "--out", str(tmp_path / "out")]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_refused_before_any_work(capsys, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["compare", "a/run", "--data", "faces.h5", "--out", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert "exists already" in printed.err
    assert printed.out == ""


def test_another_topology_is_refused_by_name(capsys, tmp_path):
    scans = small_faces.scans()
    other = type(scans).from_arrays(
        scans.vertices()[60:], np.ascontiguousarray(scans.topology.faces[1:]), ["a"] * 20, None, split=["test"] * 20
    )
    other.save(tmp_path / "other.h5")
    assert main(["compare", "a/run", "mine.safetensors", "--data", str(tmp_path / "other.h5"), "--out", "x"]) == 3
    message = capsys.readouterr().err
    assert "but not so run (" in message
    assert "mine (" in message
    assert not Path("x").exists()


def test_models_are_named_by_folder_file_or_zoo_and_told_apart(job):
    def names(*given):
        files = [Path(one) / "model.safetensors" if Path(one).is_dir() else Path(one) for one in given]
        return told_apart(given, files)

    assert names("a/run", "mine.safetensors", "wsdf-ict") == ["run", "mine", "wsdf-ict"]
    assert names("a/run", "b/run") == ["a/run", "b/run"]
    assert names("a/run/model.safetensors", "b/run") == ["a/run", "b/run"]
    assert names("a/run", "b/run", "mine.safetensors") == ["a/run", "b/run", "mine"]
    with pytest.raises(UsageError, match="give each model once"):
        names("a/run", str(job / "b" / ".." / "a" / "run"))


def test_a_run_named_like_a_zoo_model_is_told_apart_from_it(job):
    (job / "c" / "wsdf-ict").mkdir(parents=True, exist_ok=True)
    given = ["wsdf-ict", "c/wsdf-ict"]
    found = told_apart(given, [Path("zoo") / "weights", Path("c/wsdf-ict/model.safetensors")])
    assert found == ["wsdf-ict", "c/wsdf-ict"]
