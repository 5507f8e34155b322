"""Two directives that write down what the command line prints, so that no page can say something else.

``{commands}`` gives a section to each verb; ``{command-help} prepare folder`` gives the help of one command.
"""

import shlex
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from verb_help import help_of

from meshdisent.cli.main import VERBS


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


class CommandHelp(Directive):
    """The help of one command."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar = {}

    def run(self) -> list[nodes.Node]:
        """Make the block."""
        return [nodes.literal_block(text=help_of(*shlex.split(self.arguments[0])), language="text")]


def setup(app):
    """Register the directives."""
    app.add_directive("commands", Commands)
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
