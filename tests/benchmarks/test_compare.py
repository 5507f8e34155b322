"""The comparison makes what is missing, goes on where it stopped, and says which records hold no more."""

import importlib
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from tiny_autoencoder import TinyAutoencoder

from meshdisent.errors import RecipeError, UsageError
from meshdisent.training.recipe import read_recipe


@pytest.fixture
def compare(program):
    return program("compare")


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory) -> Path:
    """OUT/faces.h5, made once."""
    from meshdisent.cli.main import main

    data = tmp_path_factory.mktemp("prepared") / "faces.h5"
    assert main(["prepare", "folder", str(raw), "--split-by", str(raw / "split.json"), "--out", str(data)]) == 0
    return data


@pytest.fixture
def job(compare, raw, prepared, zoo, tmp_path):
    """Compare some rows in a folder that has the scans already; gives the exit code."""
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(prepared, out / "faces.h5")

    def run(rows, *arguments: str, folder: Path = out) -> int:
        places = {"records": tmp_path / "records", "table": tmp_path / "table.md"}
        return compare.compare([str(raw), str(folder), *arguments], rows=rows, **places)

    run.out, run.records, run.table = out, tmp_path / "records", tmp_path / "table.md"
    return run


@pytest.fixture
def rows(compare):
    return [
        compare.Row(name="the mean", group="linear", recipe="closed"),
        compare.Row(name="+ tiny", group="own choices", recipe="tiny", seed=3, set=("config.beta=0.8",)),
        compare.Row(name="wide", group="own choices", recipe="tiny/wide", minutes=1),
    ]


def record(job, slug: str) -> dict:
    return json.loads((job.records / f"{slug}.json").read_text())


def table_rows(job) -> list[list[str]]:
    lines = [line for line in job.table.read_text().splitlines() if line.startswith("| ") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# Rows


def test_the_rows_that_come_along_can_be_made(program):
    rows = program("rows").read_rows()
    assert [row.name for row in rows if row.group == "paper ablation"] == [
        "baseline",
        "+ bank",
        "+ jacobian",
        "+ compactness",
    ]
    assert sum(row.group == "linear" for row in rows) == 10
    assert all(read_recipe(row.recipe, row.settings).description for row in rows if row.group != "shipped")
    (published,) = (row for row in rows if row.name == "wsdf-published")
    assert read_recipe(published.recipe, published.settings).training.minutes == 60.0


def test_a_row_is_one_line_and_two_of_one_name_are_refused(program, tmp_path):
    room, file = program("rows"), tmp_path / "rows.yaml"
    line = "  - {group: own choices, name: No tail!, recipe: wsdf/no-tail, seed: 2}\n"
    file.write_text("rows:\n" + line)
    (row,) = room.read_rows(file)
    assert (row.slug, row.settings) == ("no-tail", ("seed=2",))
    file.write_text("rows:\n" + line + line.replace("No tail!", "no tail"))
    with pytest.raises(RecipeError, match=r"the row 'No tail!' is saved as 'no-tail'; wanted a name of its own"):
        room.read_rows(file)
    file.write_text("rows:\n" + line.replace("own choices", "theirs"))
    with pytest.raises(RecipeError, match=r"rows\[0\].group is 'theirs'; wanted one of linear, published"):
        room.read_rows(file)


def test_rows_are_chosen_by_group_or_name_and_the_nearest_is_named(compare, rows):
    assert compare.chosen_rows(rows, []) == rows
    assert compare.chosen_rows(rows, ["own choices"]) == rows[1:]
    assert compare.chosen_rows(rows, ["+ tiny", "the-mean"]) == rows[:2]
    with pytest.raises(UsageError, match=r"'wid' is no row and no group of rows\. Did you mean 'wide'"):
        compare.chosen_rows(rows, ["wid"])


# Making them


def test_a_report_shows_the_chosen_rows_side_by_side(job, rows):
    assert job(rows[:2], "--report") == 0
    page = job.out / "report" / "report.html"
    text = (job.out / "report" / "comparison.md").read_text()
    assert "the-mean" in text
    assert "tiny" in text
    before = page.stat().st_mtime_ns
    assert job(rows[:2], "--only", "own choices", "--report") == 0
    assert page.stat().st_mtime_ns > before
    assert "the-mean" not in (job.out / "report" / "comparison.md").read_text()


def test_every_row_is_made_recorded_and_laid_out(job, rows, raw, capsys):
    (job.out / "faces.h5").unlink()
    assert job(rows) == 0
    assert (job.out / "faces.h5").is_file(), "prepared from the raw scans"
    made = record(job, "tiny")
    assert {key: made[key] for key in ("name", "group", "recipe_name", "set", "seed", "steps", "stopped_because")} == {
        "name": "+ tiny",
        "group": "own choices",
        "recipe_name": "tiny",
        "set": ["config.beta=0.8", "seed=3"],
        "seed": 3,
        "steps": 6,
        "stopped_because": "steps",
    }
    assert made["recipe"] == read_recipe("tiny", ["config.beta=0.8", "seed=3"]).plain()
    assert made["machine"].endswith((" CPU core", " CPU cores"))
    assert made["utc"].endswith("+00:00")
    assert made["commit"] is None or re.fullmatch("[0-9a-f]{40}", made["commit"])
    assert "is_smoke_test" not in made
    assert "baselines" not in made["figures"]
    assert (record(job, "the-mean")["steps"], record(job, "wide")["recipe"]["training"]["minutes"]) == (0, 1.0)
    for file in job.records.iterdir():
        assert not any(str(folder) in file.read_text() for folder in (job.out, raw, Path.home())), "no folder's name"
    head, mean, _, tiny, wide = table_rows(job)
    assert [head[0], *head[-3:]] == ["method", "leak who / what, %", "steps", "minutes"]
    figures = made["figures"]
    transfer = figures["E_tra"]["plain"]
    assert tiny[:3] == ["+ tiny", f"{figures['E_avd']['mean']:.3f}", f"{figures['E_id']['b']['mean']:.3f}"]
    assert tiny[6] == f"{transfer['mean']:.3f}\u00a0/\u00a0{transfer['moving']:.3f}", "on one line of a page"
    assert (tiny[9], mean[0], mean[9], wide[0]) == ("6", "the mean", "-", "wide")
    assert f"E_exp of the truth: {figures['E_exp']['truth']['b']['mean']:.3f} mm" in job.table.read_text()
    assert job.table.read_text() in capsys.readouterr().out


def test_what_is_done_is_not_made_again_unless_asked_for(job, rows, monkeypatch):
    assert job(rows, "--only", "the mean", "wide") == 0
    before = {slug: record(job, slug) for slug in ("the-mean", "wide")}
    called = []
    command = importlib.import_module("jobs").command
    monkeypatch.setattr("jobs.command", lambda *given: called.append(given[0]) or command(*given))
    assert job(rows, "--only", "the mean", "wide") == 0
    assert called == []
    assert job(rows, "--only", "the mean", "--again", "wide") == 0
    assert called == ["train", "evaluate"]
    assert record(job, "the-mean") == before["the-mean"]
    assert record(job, "wide")["figures"] == before["wide"]["figures"], "the seed is the same"
    assert "Not measured yet: + tiny." in job.table.read_text()


def test_a_stopped_row_goes_on_and_ends_as_if_it_had_not_been(job, rows, prepared, monkeypatch, capsys):
    reconstruct, waiting = TinyAutoencoder.reconstruct, [4]

    def stopped(self, batch, generator):
        if waiting == [self.calls + 1]:
            waiting.clear()
            os.kill(os.getpid(), signal.SIGINT)
        return reconstruct(self, batch, generator)

    monkeypatch.setattr(TinyAutoencoder, "reconstruct", stopped)
    with pytest.raises(SystemExit) as end:
        job(rows[1:2])
    assert end.value.code == 130
    assert not job.records.exists()
    capsys.readouterr()
    assert job(rows[1:2], "--list") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("tiny  own choices     0.0 of 2 minutes trained, 2.0 minutes to go")
    assert out[-1].startswith("1 of 1 rows to make: 2.0 minutes of training")
    assert job(rows[1:2]) == 0
    assert "Going on from step 4." in capsys.readouterr().err
    made = record(job, "tiny")
    assert (made["steps"], len(made["training_sessions"])) == (6, 2)
    (job.records / "tiny.json").unlink()
    straight = job.out.with_name("straight")
    straight.mkdir()
    shutil.copy(prepared, straight / "faces.h5")
    assert job(rows[1:2], folder=straight) == 0
    assert record(job, "tiny")["figures"] == made["figures"]
    assert len(record(job, "tiny")["training_sessions"]) == 1


def test_stopped_while_measuring_it_is_not_trained_twice(job, rows, monkeypatch, capsys):
    command = importlib.import_module("jobs").command

    def no_evaluation(verb, *given):
        if verb == "evaluate":
            raise SystemExit(130)
        command(verb, *given)

    monkeypatch.setattr("jobs.command", no_evaluation)
    with pytest.raises(SystemExit):
        job(rows[2:])
    model = job.out / "wide" / "model.safetensors"
    before = model.stat().st_mtime_ns
    capsys.readouterr()
    assert job(rows[2:], "--list") == 0
    assert "trained, to be measured\n\n1 of 1 rows to make: no training" in capsys.readouterr().out
    monkeypatch.setattr("jobs.command", command)
    assert job(rows[2:]) == 0
    assert model.stat().st_mtime_ns == before
    assert len(record(job, "wide")["training_sessions"]) == 1


# Records that do not hold any more


def test_a_record_of_another_recipe_is_outdated_and_made_anew(job, rows, zoo, capsys):
    assert job(rows[2:]) == 0
    file = zoo / "tiny" / "variants" / "wide.yaml"
    file.write_text("base: tiny\nconfig: {expression_size: 3}\ntraining: {steps: 4}\n")
    capsys.readouterr()
    assert job(rows[2:], "--list") == 0
    changed = "config.expression_size, training.steps"
    assert f"outdated ({changed}), to be made, 1.0 minutes to go" in capsys.readouterr().out
    assert job(rows[2:], "--table") == 0
    assert table_rows(job)[1][0] == f"wide (outdated: {changed} changed since)"
    assert record(job, "wide")["steps"] == 6, "nothing is made by looking"
    assert job(rows[2:]) == 0
    assert (record(job, "wide")["steps"], table_rows(job)[1][0]) == (4, "wide")


def test_what_decides_nothing_makes_no_record_outdated(job, rows, zoo, capsys):
    assert job(rows[2:]) == 0
    made = record(job, "wide")
    del made["recipe"]["config"]["breaks"]  # as if it had been recorded before that option existed
    (job.records / "wide.json").write_text(json.dumps(made))
    file = zoo / "tiny" / "variants" / "wide.yaml"
    file.write_text(file.read_text() + "description: other words\ntraining: {checkpoint_minutes: 9}\n")
    capsys.readouterr()
    assert job(rows[2:], "--list") == 0
    assert f"wide  own choices     done {made['utc'][:10]}\n" in capsys.readouterr().out


def test_a_smoke_test_keeps_apart_and_says_what_it_is(job, rows, prepared):
    (job.out / "smoke").mkdir()
    shutil.copy(prepared, job.out / "smoke" / "faces.h5")
    assert job(rows[:2], "--minutes", "0.0001") == 0
    assert not job.records.exists()
    assert not job.table.exists()
    made = json.loads((job.out / "smoke" / "records" / "tiny.json").read_text())
    assert (made["is_smoke_test"], made["recipe"]["training"]["minutes"], made["stopped_because"]) == (
        True,
        0.0001,
        "minutes",
    )
    assert "| + tiny (smoke test) |" in (job.out / "smoke" / "accuracy-table.md").read_text()


def test_weights_that_come_along_are_measured_as_they_are(job, rows, compare, zoo, capsys):
    shipped = compare.Row(name="tiny as it comes", group="shipped", recipe="tiny")
    assert job([shipped], "--list") == 0
    assert "there are no weights\n\n0 of 1 rows to make" in capsys.readouterr().out
    assert job([rows[1], shipped]) == 0
    assert not (job.records / "tiny-as-it-comes.json").exists()
    shutil.copy(job.out / "tiny" / "model.safetensors", zoo / "tiny" / "weights.safetensors")
    assert job([rows[1], shipped]) == 0
    made = record(job, "tiny-as-it-comes")
    assert (made["seed"], made["steps"], made["figures"]) == (3, 6, record(job, "tiny")["figures"])
    assert made["recipe"] == record(job, "tiny")["recipe"]
    other = (zoo / "tiny" / "weights.safetensors").read_bytes()
    (zoo / "tiny" / "weights.safetensors").write_bytes(other[:-4] + b"\0\0\0\0")
    capsys.readouterr()
    assert job([shipped], "--list") == 0
    assert "outdated (weights), to be measured" in capsys.readouterr().out


def test_scans_without_true_transfers_are_refused_before_any_work(job, rows, compare, tmp_path, capsys):
    (tmp_path / "lonely").mkdir()
    assert compare.compare([str(tmp_path / "lonely"), str(job.out)], rows=rows) == 2
    error = capsys.readouterr().err
    assert "lonely-transfer/pairs.csv is absent; wanted the true transfers beside" in error
    assert len(error.splitlines()) == 1


def test_other_people_have_tables_of_their_own_and_equal_time(job, rows, program):
    assert job(rows, "--people", "synthetic", "--each", "0.01", "--only", "+ tiny") == 0
    record = json.loads((job.records / "synthetic" / "tiny.json").read_text())
    assert record["recipe"]["training"]["minutes"] == 0.01
    assert "is_smoke_test" not in record
    table = job.table.with_name("table-synthetic.md").read_text()
    assert "Unseen people of the set synthetic, mm" in table
    assert "Made by `benchmarks/compare.py --people synthetic` on" in table
    assert "Not measured yet: wide." in table  # of the group that was begun
    assert not job.table.exists()
