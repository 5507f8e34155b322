"""The command ``meshdisent VERB ...``: finds the verb, runs it, and turns what it raises into an exit code.

Nothing heavy is imported here, so ``meshdisent --help`` answers at once; a verb's module is imported when it is called.

Exit codes: 0 done; 2 wrong usage or recipe, or an output that exists; 3 the input is at fault, or the disk is full;
1 our own bug, with a traceback; 130 and 143 stopped by Ctrl-C or SIGTERM with everything kept; 141 the reader of our
output went away (``meshdisent models | head -1``).
"""

import difflib
import errno
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from meshdisent import __version__
from meshdisent.errors import MeshdisentError, UsageError

#: Every verb in the order of the work: the module that has its ``main(arguments) -> int``, and a line for the help.
VERBS: dict[str, tuple[str, str]] = {
    "quickstart": ("meshdisent.cli.quickstart", "run everything below on built-in heads and write a report"),
    "prepare": ("meshdisent.cli.prepare", "read a folder of registered scans into one faces.h5"),
    "prepare-images": ("meshdisent.cli.prepare_images", "read photographs of faces into one images.h5"),
    "register": ("meshdisent.cli.register", "bring a topology onto raw scans of any mesh"),
    "render": ("meshdisent.cli.render", "render faces of people who do not exist, with their truth"),
    "resample": ("meshdisent.cli.resample", "bring scans of one topology to another"),
    "combine": ("meshdisent.cli.combine", "make one faces.h5 of several of one topology"),
    "inspect": ("meshdisent.cli.inspect", "say what is in a faces.h5, and what looks wrong"),
    "train": ("meshdisent.cli.train", "train a model from a recipe"),
    "evaluate": ("meshdisent.cli.evaluate", "measure a model beside what needs no network"),
    "evaluate-images": ("meshdisent.cli.evaluate_images", "measure a model of photographs"),
    "compare": ("meshdisent.cli.compare", "measure several models on the same scans, with intervals"),
    "neutralize": ("meshdisent.cli.neutralize", "take the expression off a scan"),
    "transfer": ("meshdisent.cli.transfer", "put the expression of one person on another"),
    "interpolate": ("meshdisent.cli.interpolate", "walk from one scan to another"),
    "sample": ("meshdisent.cli.sample", "draw new people and new expressions"),
    "fit": ("meshdisent.cli.fit", "fit a model to scans, landmarks and pictures, and say how sure it is"),
    "export": ("meshdisent.cli.export", "give a face to other programs: a rig, meshes, networks"),
    "image": ("meshdisent.cli.image", "explain photographs: depth, skin, light, view, and a mesh"),
    "view": ("meshdisent.cli.view", "show a model or a faces.h5 in the browser"),
    "models": ("meshdisent.cli.models", "list the models and recipes that come along"),
}

# Threads that wait by spinning take the core from those that work as soon as anything else runs on the machine; those
# that sleep at once are woken slowly. GNU's OpenMP lets them spin for microseconds, then sleep (docs/decisions.md).
# Torch reads this when it is loaded, which is later than here.
WAITING = {"GOMP_SPINCOUNT": "1000"} if sys.platform == "linux" else {"OMP_WAIT_POLICY": "passive"}
if "OMP_WAIT_POLICY" not in os.environ:
    for _name, _value in WAITING.items():
        os.environ.setdefault(_name, _value)

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class Terminated(KeyboardInterrupt):
    """SIGTERM. Whoever keeps its work on Ctrl-C keeps it then too."""


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit code of the process.

    Parameters
    ----------
    arguments : What stands after ``meshdisent`` on the command line; by default that of this process.

    Examples
    --------
    >>> main(["--version"])
    meshdisent 0.1.0
    0
    """
    if arguments is None:
        return _leave(_run(sys.argv[1:]), sys.argv[1:])
    return _run(arguments)


def _leave(code: int, arguments: list[str]) -> int:
    """End the process at once where taking it apart may hang or abort, else leave that to Python.

    Threads that nobody waits for are still there at the end of a viewer (its server's, which may hold the lock of h5py
    for good while Python waits for it) and of one of the processes of torchrun (its process group's: one run in some
    dozens ended with "terminate called without an active exception"). What was to be written is written.
    """
    if arguments[:1] == ["view"] or os.environ.get("WORLD_SIZE", "1") != "1":
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _run(arguments: list[str]) -> int:
    with _sigterm_raises() as hold:
        try:
            code = _dispatch(arguments)
            sys.stdout.flush()
            return code
        except MeshdisentError as error:
            hold()
            return _complain(" ".join(str(error).split()), error.exit_code)
        except Terminated as stopped:
            hold()
            if isinstance(stopped.__context__, MeshdisentError):  # that is why it was ending when the signal came
                return _complain(" ".join(str(stopped.__context__).split()), stopped.__context__.exit_code)
            return _complain("stopped by SIGTERM", 128 + signal.SIGTERM)
        except KeyboardInterrupt:
            return _complain("stopped", 128 + signal.SIGINT)
        except BrokenPipeError:
            # What is still buffered would raise again when Python closes the stream.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except OSError as error:
            if error.errno not in _DISK:
                raise
            return _complain(f"{error.filename or 'the output'} could not be written: {error.strerror}", 3)


def _dispatch(arguments: list[str]) -> int:
    verb = arguments[0] if arguments else "--help"
    if verb in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else 2
    if verb == "--version":
        print(f"meshdisent {__version__}")
        return 0
    if verb not in VERBS:
        raise UsageError(f"{verb!r} is no verb of meshdisent; {_nearest(verb)}")
    module, _ = VERBS[verb]
    try:
        return importlib.import_module(module).main(arguments[1:])
    except SystemExit as stop:  # the parser's way to end after --help or a wrong argument
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        raise UsageError(str(stop.code)) from stop


def _help() -> str:
    width = max(map(len, VERBS))
    rows = [f"  {verb:{width}}  {summary}" for verb, (_, summary) in VERBS.items()]
    return "\n".join(
        [
            "Usage: meshdisent VERB [arguments]        meshdisent VERB --help shows one with an example",
            "",
            "Registered 3D scans of faces in, a model that keeps who and what expression apart out.",
            "",
            *rows,
            "",
            "For example: meshdisent quickstart --out quickstart",
        ]
    )


def _nearest(verb: str) -> str:
    close = difflib.get_close_matches(verb, VERBS, n=1, cutoff=0.5)
    if close:
        return f"did you mean `meshdisent {close[0]}`? All verbs: meshdisent --help."
    return f"it has {', '.join(VERBS)}. See meshdisent --help."


def _complain(message: str, code: int) -> int:
    if os.environ.get("WORLD_SIZE", "1") != "1":  # torchrun started several of us: one of them speaks
        from meshdisent.nn.processes import speaks_first

        if not speaks_first():
            return code
    print(f"meshdisent: {'' if message.startswith('stopped') else 'error: '}{message}", file=sys.stderr)
    return code


@contextmanager
def _sigterm_raises() -> Iterator[Callable[[], None]]:
    """Turn SIGTERM into :class:`Terminated` in this process; its forked workers keep dying of it at once.

    Gives a function from whose call on it is ignored: the process is ending, and has something to tell first. torchrun
    sends it as soon as another process has ended, which is what there is to tell.
    """
    ending = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield ending.set
        return
    process = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if not ending.is_set():
            raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield ending.set
    finally:
        signal.signal(signal.SIGTERM, before)
