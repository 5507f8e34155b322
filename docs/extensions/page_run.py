"""Run the blocks of a page one after another, as a reader would, and keep what they print and draw.

A page's blocks are its fences ``{run}`` (Python, one namespace a page) and ``{run-commands}`` (lines that begin with
``meshdisent``). They run in a folder of the page's own. A page whose head says ``follows: tutorials/train`` begins with
a copy of the folder that that page has left. What was made is kept under a key of the blocks, the pages before and the
library's sources, so that a page that nothing has changed is not run again.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "meshdisent"
SCRIPTS = PACKAGE.parent / "docs" / "scripts"
_BLOCK = re.compile(r"^(?P<fence>```+|:::+)\{(?P<kind>run|run-commands)\}\n(?P<body>.*?)^(?P=fence)$", re.M | re.S)
_OPTION = re.compile(r"^:(?P<name>[\w-]+):[ \t]*(?P<value>.*)\n", re.M)
_FOLLOWS = re.compile(r"\A---\n(?:.*\n)*?follows: *(?P<page>\S+)\n(?:.*\n)*?---\n")


@dataclass(frozen=True)
class Outcome:
    """What a block printed, and the traceback or complaint if it did not end as it should."""

    printed: str = ""
    complaint: str = ""


@dataclass(frozen=True)
class Block:
    """Code of a page; ``exit_code`` is what its last command has to return."""

    kind: str
    code: str
    exit_code: int = 0


def blocks_of(text: str) -> list[Block]:
    r"""Blocks of a page, in order.

    >>> blocks_of("```{run}\n:alt: a face\n\nprint(1)\n```\n")
    [Block(kind='run', code='print(1)\n', exit_code=0)]
    """
    return [_block(match) for match in _BLOCK.finditer(text)]


def _block(match: re.Match) -> Block:
    body, options = match["body"], {}
    while option := _OPTION.match(body):
        options[option["name"]] = option["value"]
        body = body[option.end() :]
    return Block(match["kind"], body.lstrip("\n"), int(options.get("exit-code", 0)))


class PageRun:
    """The run of one page.

    Parameters
    ----------
    source : Folder of all pages.
    name : The page, without its ending: ``tutorials/train``.
    work : Folder for what pages make; each gets one below it.
    """

    def __init__(self, source: Path, name: str, work: Path):
        self.name, self.folder = name, work / name
        text = (source / f"{name}.md").read_text(encoding="utf-8")
        self.blocks = blocks_of(text)
        follows = _FOLLOWS.match(text)
        self.before = PageRun(source, follows["page"], work) if follows else None
        self._kept = work / f"{name}.json"

    def key(self) -> str:
        """A digest of everything that the outcomes depend on."""
        begin = self.before.key() if self.before else _sources_digest()
        parts = [begin, *map(repr, self.blocks), *_scripts_of(self.blocks)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def is_current(self) -> bool:
        """Whether what was kept is what the blocks would give again."""
        if not (self._kept.exists() and self.folder.exists()):
            return False
        return json.loads(self._kept.read_text(encoding="utf-8"))["key"] == self.key()

    def outcomes(self) -> list[Outcome]:
        """One for each block, from what was kept if nothing has changed; those after a failure say so."""
        if self.is_current():
            kept = json.loads(self._kept.read_text(encoding="utf-8"))
            return [Outcome(**outcome) for outcome in kept["outcomes"]]
        key = self.key()
        self._kept.unlink(missing_ok=True)
        self._prepare_folder()
        found = self._run()
        if not any(outcome.complaint for outcome in found):
            kept = {"key": key, "outcomes": [asdict(outcome) for outcome in found]}
            self._kept.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        return found

    def _prepare_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.before is None:
            self.folder.mkdir(parents=True)
            return
        if failed := [outcome.complaint for outcome in self.before.outcomes() if outcome.complaint]:
            raise RuntimeError(f"{self.name} follows {self.before.name}, which failed: {failed[0]}")
        shutil.copytree(self.before.folder, self.folder)

    def _run(self) -> list[Outcome]:
        found: list[Outcome] = []
        names: dict = {"__name__": "__main__"}
        with _working_in(self.folder):
            for number, block in enumerate(self.blocks, 1):
                if found and found[-1].complaint:
                    found.append(Outcome(complaint="not run, since a block before it failed"))
                    continue
                run = _run_python if block.kind == "run" else _run_commands
                found.append(run(block, names, f"{self.name}, block {number}"))
        return found


def _run_python(block: Block, names: dict, where: str) -> Outcome:
    out, progress = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(progress):
            exec(compile(block.code, where, "exec"), names)
    except Exception:
        return Outcome(out.getvalue(), traceback.format_exc())
    return Outcome(_without_place(out.getvalue()))


def _run_commands(block: Block, names: dict, where: str) -> Outcome:
    from meshdisent.cli.main import main

    out = io.StringIO()
    lines = [line for line in block.code.replace("\\\n", "").splitlines() if line.strip()]
    for line in lines:
        program, *arguments = shlex.split(line, comments=True)
        progress = io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(progress):
                code = main(_expanded(arguments)) if program == "meshdisent" else None
        except Exception:
            return Outcome(out.getvalue(), traceback.format_exc())
        if code != (block.exit_code if line == lines[-1] else 0):
            return Outcome(out.getvalue(), f"{where}: {line} returned {code}:\n{progress.getvalue()}")
        if code:
            out.write(progress.getvalue())
    return Outcome(_without_place(out.getvalue()))


def _without_place(text: str) -> str:
    """Leave out the folder in which this build stands; a reader's is another."""
    return text.replace(f"{Path.cwd()}{os.sep}", "")


def _expanded(arguments: list[str]) -> list[str]:
    """Replace ``faces/*.ply`` by what is there, as a shell does."""
    found = []
    for word in arguments:
        there = sorted(map(str, Path().glob(word))) if "*" in word else []
        found += there or [word]
    return found


@contextlib.contextmanager
def _working_in(folder: Path):
    """Work in a folder, with the renderer that every machine has and the drawing functions of ``docs/scripts``."""
    before, renderer = os.getcwd(), os.environ.get("MESHDISENT_RENDERER")
    os.environ.update(MESHDISENT_RENDERER="software", COLUMNS="100", NO_COLOR="1", MPLBACKEND="agg")
    sys.path.insert(0, str(SCRIPTS))
    try:
        os.chdir(folder)
        yield
    finally:
        os.chdir(before)
        sys.path.pop(0)
        if renderer is None:
            del os.environ["MESHDISENT_RENDERER"]
        else:
            os.environ["MESHDISENT_RENDERER"] = renderer


def _scripts_of(blocks: list[Block]) -> list[str]:
    """The texts of those files of ``docs/scripts`` that a page imports."""
    code = "\n".join(block.code for block in blocks)
    return [path.read_text(encoding="utf-8") for path in sorted(SCRIPTS.glob("*.py")) if f"from {path.stem} " in code]


_digests: dict[Path, str] = {}


def _sources_digest() -> str:
    """Digest of the library and its recipes; read once a build."""
    if PACKAGE not in _digests:
        total = hashlib.sha256()
        for path in sorted((*PACKAGE.rglob("*.py"), *PACKAGE.parent.glob("models/**/*.yaml"))):
            total.update(path.read_bytes())
        _digests[PACKAGE] = total.hexdigest()
    return _digests[PACKAGE]
