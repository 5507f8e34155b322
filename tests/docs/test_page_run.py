"""Blocks of a page run in order, in one namespace, in a folder of the page's own; unchanged pages are not run again."""

import importlib.util
import sys
from pathlib import Path

import pytest

EXTENSIONS = Path(__file__).resolve().parents[2] / "docs" / "extensions"


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("page_run", EXTENSIONS / "page_run.py")
    found = importlib.util.module_from_spec(spec)
    sys.modules["page_run"] = found
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def run(module, tmp_path):
    """Write pages and run one."""

    def write(name="page", **pages):
        for page, text in pages.items():
            (tmp_path / f"{page}.md").write_text(text, encoding="utf-8")
        return module.PageRun(tmp_path, name, tmp_path / "_build")

    return write


def test_options_and_blank_lines_are_no_code(module):
    python = "```{run}\n:picture: a.png\n:alt: a face: yes\n\nx = 1\n```\n"
    text = f"words\n{python}````{{run-commands}}\n:exit-code: 3\n\nmeshdisent models\n````\n"
    first, second = module.blocks_of(text)
    assert (first.kind, first.code, first.exit_code) == ("run", "x = 1\n", 0)
    assert (second.kind, second.code, second.exit_code) == ("run-commands", "meshdisent models\n", 3)


def test_names_and_files_are_carried_from_block_to_block(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = "```{run}\nx = 20\nfrom pathlib import Path\nPath('made').write_text('1')\n```\n"
    page = run(page=f"{first}```{{run}}\nprint(x + 1, Path('made').read_text())\n```\n")
    assert [outcome.printed for outcome in page.outcomes()] == ["", "21 1\n"]
    assert Path.cwd() == tmp_path
    assert (tmp_path / "_build" / "page" / "made").exists()


def test_a_failure_names_its_line_and_stops_the_page(run):
    outcomes = run(page="```{run}\nprint('before')\n1 / 0\n```\n```{run}\nprint('after')\n```\n").outcomes()
    assert outcomes[0].printed == "before\n"
    assert 'File "page, block 1", line 2' in outcomes[0].complaint
    assert "ZeroDivisionError" in outcomes[0].complaint
    assert outcomes[1].complaint == "not run, since a block before it failed"


def test_a_page_runs_again_only_when_it_changed(run):
    count = "```{run}\nfrom pathlib import Path\nprint(len(list(Path('..').iterdir())))\n```\n"
    first = run(page=count)
    assert not first.is_current()
    printed = first.outcomes()
    assert first.is_current()
    (first.folder.parent / "one-more").mkdir()
    assert run(page=count).outcomes() == printed
    changed = run(page=count.replace("print(", "print(0 + "))
    assert not changed.is_current()
    assert changed.outcomes() != printed


def test_a_page_runs_again_when_a_script_that_it_imports_changed(module, run, tmp_path, monkeypatch):
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    monkeypatch.setattr(module, "SCRIPTS", scripts)
    for name in ("drawing", "other"):
        (scripts / f"{name}.py").write_text("a = 1")
    page = run(page="```{run}\nfrom drawing import a\n```\n")
    key = page.key()
    (scripts / "other.py").write_text("a = 2")
    assert page.key() == key
    (scripts / "drawing.py").write_text("a = 2")
    assert page.key() != key


def test_a_failed_page_is_tried_again(run):
    text = "```{run}\nfrom pathlib import Path\nassert Path('../ready').exists()\n```\n"
    page = run(page=text)
    assert page.outcomes()[0].complaint
    (page.folder.parent / "ready").mkdir()
    assert not run(page=text).outcomes()[0].complaint


def test_a_page_begins_with_the_folder_of_the_one_it_follows(run):
    code = "---\nfollows: first\n---\n```{run}\nfrom pathlib import Path\nprint(Path('made').read_text())\n"
    first = "```{run}\nfrom pathlib import Path\nPath('made').write_text('7')\n```\n"
    second = f"{code}Path('made').write_text('8')\n```\n"
    assert run("second", first=first, second=second).outcomes()[0].printed == "7\n"
    assert (run("first").folder / "made").read_text() == "7"
    key = run("second").key()
    assert run("second", first=first.replace("7", "9")).key() != key
    assert run("second").outcomes()[0].printed == "9\n"


def test_a_page_after_a_failed_one_says_so(run):
    page = run("second", first="```{run}\n1 / 0\n```\n", second="---\nfollows: first\n---\n```{run}\npass\n```\n")
    with pytest.raises(RuntimeError, match="second follows first, which failed"):
        page.outcomes()


def test_commands_run_and_their_exit_codes_are_compared(run):
    outcomes = run(page="```{run-commands}\nmeshdisent --version\n```\n").outcomes()
    assert outcomes[0].printed.startswith("meshdisent ")
    wrong = "```{run-commands}\nmeshdisent inspect absent.h5\n```\n"
    complaint = run(page=wrong).outcomes()[0].complaint
    assert "page, block 1: meshdisent inspect absent.h5 returned 3:" in complaint
    shown = run(page=wrong.replace("\nmeshdisent", "\n:exit-code: 3\n\nmeshdisent", 1)).outcomes()[0]
    assert not shown.complaint
    assert "meshdisent: error: absent.h5" in shown.printed
    assert "ls returned None" in run(page="```{run-commands}\nls\n```\n").outcomes()[0].complaint


def test_the_place_of_the_build_is_not_printed(run, tmp_path):
    page = run(page="```{run}\nfrom pathlib import Path\nprint(Path('a.h5').absolute())\n```\n")
    assert page.outcomes()[0].printed == "a.h5\n"
