"""The table of the linear models: baselines, linear rows, runs that are given, each from its own evaluation."""

import json


def test_the_table_has_baselines_linear_rows_and_the_runs_that_are_given(program, raw, tmp_path, monkeypatch, capsys):
    room, rows = program("ict300"), program("rows")
    sizes = ("config.identity_size=3", "config.expression_size=2")
    chosen = [
        rows.Row(name="mode", group="linear", recipe="linear", set=sizes),
        rows.Row(name="mean", group="linear", recipe="linear", set=(*sizes, "config.neutrals=mean")),
        rows.Row(name="deep", group="published", recipe="wsdf-published"),
    ]
    monkeypatch.setattr(room, "read_rows", lambda: chosen)
    out = tmp_path / "out"
    room.main(raw, out, [])
    (out / "mean").rename(tmp_path / "elsewhere")
    room.main(raw, out, [tmp_path / "elsewhere"])
    lines = [line.split(" | ") for line in (out / "table.md").read_text().splitlines() if line.startswith("| ")]
    names = [line[0].removeprefix("| ") for line in lines]
    assert names[:2] == ["method", "---"]
    assert {"input", "mean face", "ridge to mean", "ridge to median", "ridge to mode"} <= set(names[2:-3])
    assert names[-3:] == ["mode", "mean", "elsewhere"]
    figures = json.loads((out / "mode.json").read_text())
    assert lines[-3][1] == f"{figures['E_avd']['mean']:.3f}"
    assert lines[-2][1:-1] == lines[-1][1:-1], "the same model"
    assert lines[-3][-1] == "`train linear --set config.identity_size=3 config.expression_size=2` |"
    assert f"E_exp of the truth: {figures['E_exp']['truth']['b']['mean']:.3f} mm." in capsys.readouterr().out
