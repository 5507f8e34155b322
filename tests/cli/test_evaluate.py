"""meshdisent evaluate, as it is called: what is printed, what is left, and the exit codes."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.cli.main import main
from meshdisent.show import evaluation_pictures


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A model, a dataset and pairs of transfers; gives the folder."""
    folder = tmp_path_factory.mktemp("evaluate job")  # with a space in its name
    scans = small_faces.scans()
    scans.save(folder / "faces.h5")
    small_faces.linear(scans).save(folder / "model.safetensors")
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


WITH_REPORT = ["evaluate", "model.safetensors", "--data", "faces.h5"]
COMMAND = [*WITH_REPORT, "--no-report"]


def test_a_person_reads_tables_warnings_and_leaks(capsys):
    assert main([*COMMAND, "--transfer", "pairs/pairs.csv"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == "linear on 20 scans of 4 subjects"
    head = lines.index("Means over all vertices, mm:")
    assert lines[head + 1].split() == ["E_avd", "E_id", "E_exp", "E_neu", "E_neu", "kept", "E_tra", "E_tra", "kept"]
    rows = {line.split("  ")[0]: line for line in lines[head + 2 : head + 11]}
    assert list(rows) == [
        "linear", "input", "mean face", "PCA 4", "ridge to mode", "subject's mean scan", "true neutral",
        "true displacement", "the truth",
    ]  # fmt: skip
    assert rows["PCA 4"].split()[2].startswith("*")  # better than the model
    assert rows["PCA 4"].split()[3:] == ["–"] * 6
    assert "Means over the 30 % of vertices that expressions move most, mm:" in lines
    assert "* better than the model" in lines
    warnings = [line for line in lines if line.startswith("WARNING: ")]
    assert any(line.startswith("WARNING: linear loses to PCA 4 on E_avd: ") for line in warnings)
    assert any(line.startswith("leak: the nearest scan by expression code is of the same subject") for line in lines)
    assert "by chance 21.1 %" in printed.out
    assert "Less E_exp is not better below the spread of" in printed.out
    assert printed.err.split() == ["linear", "input", "mean", "face", "PCA", "4", "ridge", "to", "mode"]


def test_the_same_numbers_go_to_a_file_as_json(capsys, tmp_path):
    from meshdisent import load
    from meshdisent.data.dataset import ScanDataset
    from meshdisent.evaluation.protocol import evaluate

    assert main([*COMMAND, "--json", str(tmp_path / "new" / "figures.json")]) == 0
    found = json.loads((tmp_path / "new" / "figures.json").read_text())
    expected = evaluate(load("model.safetensors"), ScanDataset.open("faces.h5")).figures
    assert found["E_neu"] == pytest.approx(expected["E_neu"], rel=1e-5)
    assert found["baselines"].keys() == expected["baselines"].keys()
    assert (found["scans"], found["subjects"], found["E_tra"]) == (20, 4, None)
    assert f"{found['E_neu']['mean']:.3f}" in capsys.readouterr().out


def test_json_on_standard_output_is_nothing_but_json(capsys):
    assert main([*COMMAND, "--json", "-", "--ridge", "mean", "median"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [name for name in found["baselines"] if "ridge" in name] == ["ridge to mean", "ridge to median"]


def test_another_split_is_measured(capsys):
    assert main([*COMMAND, "--split", "train"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("linear on 60 scans of 12 subjects")
    assert "note: these are the training scans: the figures say how well they are remembered" in printed


def test_a_report_is_one_page_with_its_pictures_beside_it(capsys, tmp_path):
    out = tmp_path / "the report"
    assert main([*WITH_REPORT, "--report", str(out), "--transfer", "pairs/pairs.csv"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{out / 'report.html'}: open it in a browser"
    assert sorted(path.name for path in out.iterdir()) == [
        "error-maps.png", "figures.json", "interpolation.gif", "neutrals.png", "reconstructions.png", "report.html",
        "samples.png", "transfer.png",
    ]  # fmt: skip
    page = (out / "report.html").read_text()
    for text in (
        "linear loses to PCA 4 on E_avd",
        "beats the model",
        "faces.h5",
        "meshdisent evaluate model.safetensors",
    ):
        assert text in page
    assert page.count("data:image/png;base64") == 5
    assert page.count("data:image/gif;base64") == 1
    assert 'src="http' not in page
    assert json.loads((out / "figures.json").read_text())["scans"] == 20
    assert not [path for path in tmp_path.iterdir() if path != out]  # nothing left beside it


def test_evidence_is_printed_and_written_where_it_is_asked_for(capsys, tmp_path):
    assert (
        main([*WITH_REPORT, "--evidence", "--json", str(tmp_path / "figures.json"), "--report", str(tmp_path / "r")])
        == 0
    )
    printed = " ".join(capsys.readouterr().out.split())
    assert "Who it is, read from the expression code: % of scans." in printed
    assert "Rank-1 recognition of expressive scans in a gallery of neutral ones" in printed
    evidence = json.loads((tmp_path / "figures.json").read_text())["evidence"]
    assert evidence["recognition"]["identity_code"]["chance"] == 0.25
    page = (tmp_path / "r" / "report.html").read_text()
    assert "A probe is a classifier" in page
    assert f"{evidence['specificity']['mean']:.3f}" in page


def test_predictions_can_be_placed_on_the_truth_first(capsys):
    found = []
    for align in ("none", "rigid"):
        assert main([*COMMAND, "--align", align, "--json", "-"]) == 0
        found.append(json.loads(capsys.readouterr().out)["E_avd"]["mean"])
    assert found[1] < found[0]


def test_an_output_that_exists_is_refused_before_any_work(capsys, tmp_path):
    (tmp_path / "figures.json").write_text("mine")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").write_text("mine")
    for option, path in (("--json", tmp_path / "figures.json"), ("--report", tmp_path / "report")):
        assert main([*WITH_REPORT, option, str(path)]) == 2
        printed = capsys.readouterr()
        assert f"{path} exists already" in printed.err
        assert printed.out == ""
    assert (tmp_path / "figures.json").read_text() == "mine"
    assert main([*COMMAND, "--json", str(tmp_path / "figures.json"), "--overwrite"]) == 0
    assert json.loads((tmp_path / "figures.json").read_text())["scans"] == 20


def test_a_report_that_fails_leaves_nothing(monkeypatch, tmp_path):
    from meshdisent.errors import MeshdisentError
    from meshdisent.show import evaluation_report

    def fail(*arguments):
        raise MeshdisentError("no picture today")

    monkeypatch.setattr(evaluation_report, "add_error_maps", fail)
    assert main([*WITH_REPORT, "--report", str(tmp_path / "report")]) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["evaluate", "nobody", "--data", "faces.h5"], 3, "neither a file, a run folder nor a zoo model"),
        (["evaluate", "model.safetensors", "--data", "absent.h5"], 3, "absent.h5"),
        ([*COMMAND, "--split", "val"], 3, "no scans in its val split"),
        ([*COMMAND, "--transfer", "none.csv"], 3, "none.csv could not be read as a table"),
        ([*COMMAND, "--split", "exam"], 2, "exam"),
        (["evaluate", "model.safetensors"], 2, "--data"),
    ],
)
def test_what_cannot_work_is_one_clear_line(capsys, arguments, code, message):
    assert main(arguments) == code
    assert message in capsys.readouterr().err


def test_another_topology_is_refused_with_both_hashes(capsys, tmp_path):
    scans = small_faces.scans()
    other = type(scans).from_arrays(
        scans.vertices()[60:],
        np.ascontiguousarray(scans.topology.faces[1:]),
        ["a"] * 20,
        [None] * 20,
        split=["test"] * 20,
    )
    other.save(tmp_path / "other.h5")
    assert main(["evaluate", "model.safetensors", "--data", str(tmp_path / "other.h5")]) == 3
    message = capsys.readouterr().err
    assert scans.topology.topology_hash in message
    assert other.topology.topology_hash in message


def test_a_run_folder_is_a_model_too(capsys, job):
    assert main(["evaluate", str(job), "--data", "faces.h5", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["scans"] == 20


def test_a_report_is_left_beside_a_model_and_in_a_run_folder(job, tmp_path, capsys):
    """Without being asked for; an older one is replaced, anything else there is not."""
    shutil.copy(job / "model.safetensors", tmp_path / "mine.safetensors")
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(job / "model.safetensors", run / "model.safetensors")
    for model, place in ((tmp_path / "mine.safetensors", tmp_path / "evaluation-mine"), (run, run / "evaluation")):
        command = ["evaluate", str(model), "--data", "faces.h5"]
        assert main(command) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"{place / 'report.html'}: open it in a browser"
        first = (place / "report.html").read_text()
        assert main([*command, "--seed", "3"]) == 0
        assert (place / "report.html").read_text() != first
        assert (place / "figures.json").is_file()
        (place / "report.html").unlink()
        capsys.readouterr()
        assert main(command) == 2
        assert f"{place} exists already" in capsys.readouterr().err
    assert main([*command, "--split", "train"]) == 0
    assert (run / "evaluation-train" / "report.html").is_file()
    before = sorted(tmp_path.rglob("*"))
    assert main([*command, "--json", "-"]) == 0
    assert sorted(tmp_path.rglob("*")) == before, "who wants JSON alone gets nothing else"
    assert main([*command, "--report", str(tmp_path / "r"), "--no-report"]) == 2
