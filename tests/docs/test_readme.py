"""Every line of code in the README is tried: commands run as they stand, and a line that no test knows is a failure."""

import configparser
import importlib
import re
import shlex
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tyro

from meshdisent.cli.main import VERBS, main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = re.findall(r"^```(?:bash|console|sh)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line for block in SHELL for line in block.replace("\\\n", "").splitlines() if line.strip()]

#: Verbs that take minutes, or do not end by themselves: their arguments are read, and no more.
LONG = {"quickstart", "view"}
#: What makes the training of a deep model short, and small enough for the few people of the tests.
SHORT = ("training.minutes=null", "training.steps=2", "config.identity_size=2", "config.expression_size=2")


def words_of(line):
    """The words of a line, with the program without its folder."""
    words = shlex.split(line, comments=True)
    return [Path(words[0]).name, *words[1:]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the README takes for granted: registered heads in scans/PERSON/EXPRESSION.obj."""
    import trimesh

    from meshdisent.mesh.mesh import Mesh

    folder = tmp_path_factory.mktemp("readme")
    sphere = trimesh.creation.icosphere(subdivisions=2, radius=80.0)
    vertices, random = np.asarray(sphere.vertices), np.random.default_rng(0)
    moves = {"neutral": 0.0, "smile": 3.0, "frown": -3.0}
    for name in ("anna", "ben", "cleo", "dan", "eva", "finn", "gita", "hugo", "ida", "jan"):
        shape = vertices * random.uniform(0.8, 1.2, 3)
        for expression, move in moves.items():
            moved = shape + move * np.cos(shape / 20)
            Mesh(moved, np.asarray(sphere.faces, dtype=np.int64)).write(folder / "scans" / name / f"{expression}.obj")
    return folder


def test_every_line_of_code_in_the_readme_is_tried(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MESHDISENT_RENDERER", "software")
    assert LINES
    for line in LINES:
        program, *arguments = words_of(line)
        assert program in TRIED, f"no test knows how to try this line of the README: {line}"
        TRIED[program](arguments, line)
    capsys.readouterr()
    meshes = sorted(path.name for path in Path("anna-as-ben").glob("*.ply"))
    assert len(meshes) == 3  # one for each of ben's faces, as the README says
    assert len(list(Path("faces").glob("*.ply"))) == 12
    assert Path("report/report.html").exists() or any(Path("report").glob("*.html"))


def _command(arguments, line):
    verb, *rest = arguments
    if verb in LONG:
        tyro.cli(importlib.import_module(VERBS[verb][0]).Arguments, args=rest)
        return
    rest = [path for word in rest for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
    if verb == "train" and "linear" not in rest:
        rest += ["--set", *SHORT]
    assert main([verb, *rest]) == 0, line


def _make(arguments, line):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in arguments:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), line


def _python(arguments, line):
    assert arguments[0] == "-m", line
    if arguments[1] != "pip":
        assert importlib.util.find_spec(arguments[1]), line
        return
    assert arguments[2] == "install", line
    declared = configparser.ConfigParser()
    declared.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = declared["options.extras_require"]
    for before, word in pairwise(arguments[2:]):
        if before in ("-c", "--constraint"):
            assert (ROOT / word).is_file(), line
        elif not word.startswith("-"):
            what = re.fullmatch(r"(?:\.|meshdisent)(?:\[(?P<extras>[\w,]+)\])?", word)
            assert what, line
            assert set((what["extras"] or "test").split(",")) <= set(extras), line


TRIED = {"meshdisent": _command, "make": _make, "python": _python, "python3": _python}


def test_a_line_that_nobody_knows_would_fail():
    assert "curl" not in TRIED
    with pytest.raises(AssertionError):
        _make(["no-such-target"], "make no-such-target")
    with pytest.raises(AssertionError):
        _python(["-m", "pip", "install", ".[nothing]"], "pip install .[nothing]")


sys.path.insert(0, str(ROOT / "docs" / "extensions"))
from verb_help import help_of  # noqa: E402 - lies beside the pages


def _options(text):
    """Pairs of a verb (with its layout) and the options that a text uses, for each command in it."""
    for command in re.findall(r"meshdisent ([a-z][\w-]* [^`\n#]*|[a-z][\w-]*$)", text):
        words = command.split()
        yield words[0], words[1:], [word.partition("=")[0] for word in words if word.startswith("--")]


def test_the_table_of_commands_has_each_verb_once_with_options_that_exist():
    rows = re.findall(r"^\| `meshdisent ([\w-]+)(.*?)` \|", README, re.MULTILINE)
    assert sorted(verb for verb, _ in rows) == sorted(VERBS)
    for verb, rest in rows:
        said = help_of(verb, "folder") if verb in ("prepare", "prepare-images") else help_of(verb)
        for option in re.findall(r"--[\w-]+", rest):
            assert option in said, f"meshdisent {verb} has no {option}"


PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT / "docs").as_posix())
def test_commands_of_a_page_exist_with_their_options(path):
    blocks = re.findall(
        r"^```+(?:bash|console|\{run-commands\})\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S
    )
    for verb, rest, options in _options("\n".join(blocks).replace("\\\n", "")):
        assert verb in VERBS, f"{path.name}: meshdisent {verb}"
        layout = [rest[0]] if verb in ("prepare", "prepare-images") and rest and rest[0].islower() else []
        if verb == "fit" and any(word.endswith(".jpg") for word in rest):
            layout = rest[:2]  # photographs have options of their own
        said = help_of(verb, *(layout or (["folder"] if verb.startswith("prepare") else [])))
        for option in options:
            assert option in said, f"{path.name}: meshdisent {verb} has no {option}"
