"""What a command says of itself, for pages and for the tests of pages; needs nothing of Sphinx."""

import contextlib
import importlib
import io
import os
import textwrap

from meshdisent.cli.main import VERBS


def help_of(verb: str, *arguments: str) -> str:
    """What ``meshdisent VERB ... --help`` prints on a terminal of 80 columns, without colors."""
    module, _ = VERBS[verb]
    printed = io.StringIO()
    os.environ.update(COLUMNS="80", NO_COLOR="1")
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        importlib.import_module(module).main([*arguments, "--help"])
    return "\n".join(part for line in printed.getvalue().splitlines() for part in _folded(line.rstrip()))


def _folded(line: str) -> list[str]:
    """A line as a terminal would break it, but between words; a command stays whole."""
    if line.startswith("For example:"):
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2) if line.startswith(" ") else ""
    return textwrap.wrap(line, 80, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]
