"""Directives whose code runs while the pages are built: what a page shows is what came out.

``{run}`` holds Python, ``{run-commands}`` lines of the command line. Below the code stands what it printed; with
``:picture: faces.png`` the file that it wrote, as a figure, which ``:target:`` makes a link. ``:folded: words`` shows
the code only to who asks for it, ``:hidden:`` to nobody. A block that fails is a warning, and fails the build. The
running itself is in ``page_run.py``.
"""

from pathlib import Path
from time import perf_counter
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from page_run import Outcome, PageRun
from PIL import Image
from sphinx.util import logging

_log = logging.getLogger(__name__)
_WIDE = 2.6  # times as wide as high: on a narrow screen such a picture is scrolled instead of shrunk


class Run(Directive):
    """Python of a page, run with all blocks before it."""

    has_content = True
    option_spec: ClassVar = {
        "picture": directives.unchanged_required,
        "alt": directives.unchanged_required,
        "caption": directives.unchanged_required,
        "width": directives.unchanged_required,
        "folded": directives.unchanged_required,
        "target": directives.unchanged_required,
        "silent": directives.flag,
        "hidden": directives.flag,
        "exit-code": directives.nonnegative_int,
    }
    language = "python"

    def run(self) -> list[nodes.Node]:
        """Show the code, what it printed and what it drew."""
        env = self.state.document.settings.env
        page, outcome = self._outcome(env)
        code = nodes.literal_block(text="\n".join(self.content), language=self.language, classes=["run-code"])
        shown: list[nodes.Node] = [code]
        if "folded" in self.options:
            head, tail = "<details class='folded'><summary>{}</summary>", "</details>"
            shown = [_html(head.format(self.options["folded"])), code, _html(tail)]
        if "hidden" in self.options:
            shown = []
        if outcome.complaint:
            location = (env.docname, self.lineno)
            _log.warning("a block of this page failed:\n%s", outcome.complaint, location=location)
        if outcome.printed.strip() and "silent" not in self.options:
            shown.append(nodes.literal_block(text=outcome.printed.rstrip(), language="text", classes=["run-output"]))
        if "picture" in self.options and not outcome.complaint:
            shown.append(self._figure(env, page))
        return shown

    def _outcome(self, env) -> tuple[PageRun, Outcome]:
        state = env.temp_data.setdefault("executed_pages", {"number": 0})
        if "page" not in state:
            source = Path(env.srcdir)
            begin = perf_counter()
            state["page"] = PageRun(source, env.docname, source / "_build" / "run")
            state["outcomes"] = state["page"].outcomes()
            _log.info("%s ran for %.1f s", env.docname, perf_counter() - begin)
        state["number"] += 1
        return state["page"], state["outcomes"][state["number"] - 1]

    def _figure(self, env, page: PageRun) -> nodes.Node:
        path = page.folder / self.options["picture"]
        if not path.exists():
            _log.warning("this block wrote no %s", self.options["picture"], location=(env.docname, self.lineno))
            return nodes.paragraph()
        uri = "/" + path.relative_to(env.srcdir).as_posix()
        image = nodes.image(uri=uri, alt=self.options.get("alt", ""))
        if "width" in self.options:
            image["width"] = self.options["width"]
        if "target" in self.options:
            image = nodes.reference("", "", image, refuri=self.options["target"])
        with Image.open(path) as picture:
            is_wide = picture.width > _WIDE * picture.height
        figure = nodes.figure("", image, classes=["run-picture", *(["wide"] if is_wide else [])])
        if caption := self.options.get("caption"):
            words, _ = self.state.inline_text(caption, self.lineno)
            figure += nodes.caption("", "", *words)
        return figure


class RunCommands(Run):
    """Lines of the command line, run one after another."""

    language = "bash"


def _html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


def _outdated(app, env, added, changed, removed) -> list[str]:
    """Pages whose text is the same, but not the library that they run."""
    source = Path(env.srcdir)
    pages = [name for name in env.found_docs - added - changed if (source / f"{name}.md").exists()]
    runs = [PageRun(source, name, source / "_build" / "run") for name in pages]
    return [run.name for run in runs if run.blocks and not run.is_current()]


def setup(app):
    """Register the directives; pages follow each other, so they are read one by one."""
    app.connect("env-get-outdated", _outdated)
    app.add_directive("run", Run)
    app.add_directive("run-commands", RunCommands)
    return {"parallel_read_safe": False}
