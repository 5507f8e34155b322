"""The page about rigs: its commands parse, and its Python runs."""

import re
import shlex
from pathlib import Path

import numpy as np
import tyro

from meshdisent.cli.export import Arguments
from meshdisent.morphable.arkit_names import ARKIT_NAMES

PAGE = (Path(__file__).parents[2] / "docs" / "rigs.md").read_text()


def test_every_command_of_the_page_parses():
    lines = re.findall(r"^meshdisent export (.*)$", PAGE, re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        given = tyro.cli(Arguments, args=shlex.split(line), config=(tyro.conf.FlagCreatePairsOff,))
        assert given.model in ("wsdf-ict", "run")
    for option in re.findall(r"`(--[a-z-]+)", PAGE):
        name = option.removeprefix("--").replace("-", "_")
        assert name in Arguments.__dataclass_fields__


def test_its_python_writes_a_rig(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(compile(code, "docs/rigs.md", "exec"), names)
    assert (tmp_path / "face.glb").stat().st_size > 1e6
    assert names["vertices"].shape == names["rig"].neutral.shape
    assert np.abs(names["vertices"] - names["rig"].neutral).max() > 5
    assert len(names["rig"].names) == len(ARKIT_NAMES) - 1
