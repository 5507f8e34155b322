"""The directive ``{commands}``: each verb with its line of summary and the help that it prints."""

import contextlib
import importlib
import io
import os

from docutils import nodes
from docutils.parsers.rst import Directive

from meshdisent.cli.main import VERBS


def help_of(verb: str) -> str:
    """What ``meshdisent VERB --help`` prints on a terminal of 100 columns, without colors."""
    module, _ = VERBS[verb]
    printed = io.StringIO()
    os.environ.update(COLUMNS="100", NO_COLOR="1")
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        importlib.import_module(module).main(["--help"])
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())


class Commands(Directive):
    """One section a verb, in the order of ``VERBS``."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        sections = []
        for verb, (_, summary) in VERBS.items():
            section = nodes.section(ids=[f"command-{verb}"], names=[verb])
            section += nodes.title(text=verb)
            section += nodes.paragraph(text=f"{summary[0].upper()}{summary[1:]}.")
            section += nodes.literal_block(text=help_of(verb), language="text")
            sections.append(section)
        return sections


def setup(app):
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
