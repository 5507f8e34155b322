"""What a command says of itself, for pages and for the tests of pages; needs nothing of Sphinx."""

import contextlib
import importlib
import io
import os

from meshdisent.cli.main import VERBS


def help_of(verb: str, *arguments: str) -> str:
    """What ``meshdisent VERB ... --help`` prints on a terminal of 80 columns, without colors."""
    module, _ = VERBS[verb]
    printed = io.StringIO()
    os.environ.update(COLUMNS="80", NO_COLOR="1")
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        importlib.import_module(module).main([*arguments, "--help"])
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())
