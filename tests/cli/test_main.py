"""The dispatcher: help, unknown verbs, and an exit code for each way that a verb can end."""

import errno
import os
import signal
import subprocess
import sys
import time
import types

import pytest

from meshdisent.cli import main as dispatcher
from meshdisent.cli.main import VERBS, main
from meshdisent.errors import DataError, RecipeError


@pytest.fixture
def verb(monkeypatch):
    """Register a verb ``fake`` that runs a given function."""

    def register(function):
        module = types.ModuleType("fake_verb")
        module.main = function
        monkeypatch.setitem(sys.modules, "fake_verb", module)
        monkeypatch.setitem(dispatcher.VERBS, "fake", ("fake_verb", "for a test"))

    return register


def raising(error):
    def function(arguments):
        raise error

    return function


def test_help_names_every_verb_with_its_summary(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, (_, summary) in VERBS.items():
        assert any(line.split(maxsplit=1) == [name, summary] for line in lines if line.strip())


@pytest.mark.parametrize("name", VERBS)
def test_the_help_of_a_verb_shows_no_flag_that_is_on_and_no_empty_default(name, capsys, monkeypatch):
    # "--no-pictures  Draw them. (default: True)" says the opposite of what the flag does.
    monkeypatch.setenv("COLUMNS", "200")
    assert main([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert "(default: True)" not in said
    assert "(default: )" not in said


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, time; start = time.perf_counter()\n"
        "from meshdisent.cli.main import main\n"
        "main(['--help'])\n"
        "heavy = {'torch', 'numpy', 'scipy', 'h5py', 'tyro', 'pyvista', 'matplotlib'} & set(sys.modules)\n"
        "print('took', time.perf_counter() - start, sorted(heavy))\n"
    )
    last = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()[
        -1
    ]
    _, seconds, heavy = last.split(maxsplit=2)
    assert heavy == "[]"
    assert float(seconds) < 0.5


def test_no_verb_shows_the_help_and_counts_as_wrong_usage(capsys):
    assert main([]) == 2
    assert "Usage: meshdisent VERB" in capsys.readouterr().out


def test_version_is_that_of_the_package(capsys):
    import meshdisent

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"meshdisent {meshdisent.__version__}\n"


def test_an_unknown_verb_gets_the_nearest_one(capsys):
    assert main(["neutralise"]) == 2
    assert "did you mean `meshdisent neutralize`" in capsys.readouterr().err


def test_a_verb_like_no_other_gets_the_list(capsys):
    assert main(["xyzzy"]) == 2
    message = capsys.readouterr().err
    assert all(name in message for name in VERBS)


def test_a_verb_gets_its_arguments_and_gives_the_exit_code(verb):
    seen = []
    verb(lambda arguments: seen.extend(arguments) or 3)
    assert main(["fake", "--help", "a b"]) == 3
    assert seen == ["--help", "a b"]


@pytest.mark.parametrize(("error", "code"), [(RecipeError("no such key"), 2), (DataError("two\nlines"), 3)])
def test_our_errors_become_one_line_and_their_exit_code(verb, capsys, error, code):
    verb(raising(error))
    assert main(["fake"]) == code
    assert capsys.readouterr().err == f"meshdisent: error: {str(error).replace(chr(10), ' ')}\n"


def test_a_full_disk_is_one_line_and_exit_code_3(verb, capsys):
    verb(raising(OSError(errno.ENOSPC, "No space left on device", "faces.h5")))
    assert main(["fake"]) == 3
    assert capsys.readouterr().err == "meshdisent: error: faces.h5 could not be written: No space left on device\n"


@pytest.mark.parametrize(("stop", "code"), [(SystemExit(0), 0), (SystemExit(None), 0), (SystemExit(2), 2)])
def test_the_parser_may_end_the_verb(verb, stop, code):
    verb(raising(stop))
    assert main(["fake"]) == code


def test_our_own_bugs_keep_their_traceback(verb):
    verb(raising(ZeroDivisionError("ours")))
    with pytest.raises(ZeroDivisionError, match="ours"):
        main(["fake"])


def test_ctrl_c_is_130_and_says_so(verb, capsys):
    verb(raising(KeyboardInterrupt()))
    assert main(["fake"]) == 130
    assert capsys.readouterr().err == "meshdisent: stopped\n"


def test_sigterm_is_143_lets_work_be_kept_and_restores_the_handler(verb, capsys):
    kept = []

    def work(arguments):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except KeyboardInterrupt:
            kept.append("checkpoint")
            raise

    verb(work)
    before = signal.getsignal(signal.SIGTERM)
    assert main(["fake"]) == 143
    assert kept == ["checkpoint"]
    assert signal.getsignal(signal.SIGTERM) is before
    assert capsys.readouterr().err == "meshdisent: stopped by SIGTERM\n"


def test_a_closed_pipe_is_quiet(tmp_path):
    script = tmp_path / "talk.py"
    script.write_text(
        "import sys, types\n"
        "from meshdisent.cli.main import VERBS, main\n"
        "talk = types.ModuleType('talk')\n"
        "talk.main = lambda arguments: print('line\\n' * 1_000_000) or 0\n"
        "sys.modules['talk'] = talk\n"
        "VERBS['talk'] = ('talk', '')\n"
        "sys.exit(main(['talk']))\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as talk:
        assert talk.stdout.readline() == b"line\n"
        talk.stdout.close()
        assert talk.stderr.read() == b""
    assert talk.returncode == 141


@pytest.mark.parametrize("name", list(VERBS))
def test_every_verb_shows_its_help_with_an_example(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"meshdisent {name}" in capsys.readouterr().out


@pytest.mark.parametrize("at", ["while it is told", "on the way out"])
def test_an_error_is_told_though_sigterm_comes_before_it_could_be(at, monkeypatch, capsys):
    """As under torchrun, which ends the other processes as soon as one is gone."""

    def fail(arguments):
        try:
            raise DataError("a process has ended")
        finally:
            if at == "on the way out":
                os.kill(os.getpid(), signal.SIGTERM)

    told = dispatcher._complain

    def complain(message, code):
        if at == "while it is told":
            os.kill(os.getpid(), signal.SIGTERM)
        return told(message, code)

    monkeypatch.setattr(dispatcher, "_dispatch", fail)
    monkeypatch.setattr(dispatcher, "_complain", complain)
    assert main(["train"]) == DataError("").exit_code
    assert capsys.readouterr().err == "meshdisent: error: a process has ended\n"
