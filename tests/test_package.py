"""The package as a whole: what it exports, what it declares, what it ships, and the two commands of the README."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import meshdisent

ROOT = Path(__file__).resolve().parents[1]

#: Distributions whose modules have another name.
DISTRIBUTION_OF = {
    "yaml": "pyyaml",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "vtkmodules": "pyvista",
    "vtk": "pyvista",
}


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text: str) -> dict[str, Requirement]:
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return {canonicalize_name(r.name): r for r in map(Requirement, filter(None, lines)) if r.name != "meshdisent"}


def all_requirements(setup) -> dict[str, Requirement]:
    extras = [requirements(setup["options.extras_require"][extra]) for extra in setup["options.extras_require"]]
    return {
        name: r for found in [requirements(setup["options"]["install_requires"]), *extras] for name, r in found.items()
    }


def tracked_files() -> list[Path]:
    """Text files of the project: as git lists them, or in a copy without git, all but what the commands make."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
        files = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        made = {".venv", "build", "dist", "quickstart", "runs", "_build", "__pycache__"}
        files = [f for f in ROOT.rglob("*") if not made & set(f.relative_to(ROOT).parts) and ".egg-info" not in str(f)]
    text = {".py", ".md", ".cfg", ".toml", ".txt", ".yaml", ".in", ".j2", ".css", ".json", ".csv", ""}
    return [f for f in files if f.is_file() and f.suffix in text]


# The public names


def test_import_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, time; start = time.perf_counter(); import meshdisent\n"
        "print(time.perf_counter() - start, sorted({'torch', 'numpy', 'h5py', 'scipy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    seconds, heavy = out.split(maxsplit=1)
    assert heavy.strip() == "[]"
    assert float(seconds) < 2


@pytest.mark.parametrize("name", [name for name in meshdisent.__all__ if name != "__version__"])
def test_each_public_name_is_found_when_asked_for(name):
    assert getattr(meshdisent, name).__name__ == name
    assert name in dir(meshdisent)


def test_an_unknown_name_is_refused_with_the_public_list():
    with pytest.raises(AttributeError, match=r"no attribute 'Wsdf'; its public names are FED, WSDF"):
        _ = meshdisent.Wsdf


# What setup.cfg declares


def test_setup_lists_every_room(setup):
    listed = set(setup["options"]["packages"].split())
    rooms = {".".join(f.parent.relative_to(ROOT).parts) for f in (ROOT / "meshdisent").rglob("__init__.py")}
    assert listed == rooms | {"meshdisent.zoo"}


def test_every_import_is_declared(setup):
    declared = set(all_requirements(setup))
    base = set(requirements(setup["options"]["install_requires"]))
    for file in sorted((ROOT / "meshdisent").rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        everywhere, at_the_top = imported(ast.walk(tree)), imported(tree.body)
        assert everywhere <= declared, f"{file} imports {everywhere - declared}, which setup.cfg does not declare"
        assert at_the_top <= base, f"{file} needs the extras {at_the_top - base} just to be imported"


def test_every_requirement_is_imported_somewhere(setup):
    files = (ROOT / "meshdisent").rglob("*.py")
    used = set().union(*(imported(ast.walk(ast.parse(file.read_text(encoding="utf-8")))) for file in files))
    assert set(requirements(setup["options"]["install_requires"])) <= used


def test_every_import_of_the_tests_is_declared(setup):
    extras = setup["options.extras_require"]
    extra = requirements(
        "\n".join(extras[name] for name in ("test", "cluster", "export", "viewer", "browser", "fuzz", "docs"))
    )
    declared = {*requirements(setup["options"]["install_requires"]), *extra}
    own = {file.stem for folder in ("tests", "docs") for file in (ROOT / folder).rglob("*.py")}
    for file in sorted((ROOT / "tests").rglob("*.py")):
        found = imported(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        undeclared = found - declared - {canonicalize_name(name) for name in own}
        assert not undeclared, f"{file} imports {undeclared}, which no extra of the tests declares"


def imported(nodes) -> set[str]:
    """Distributions that some statements import, the standard library and our own modules aside."""
    modules = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.add(node.module)
    tops = {module.split(".")[0] for module in modules} - set(sys.stdlib_module_names) - {"meshdisent"}
    return {canonicalize_name(DISTRIBUTION_OF.get(top, top)) for top in tops}


def test_every_requirement_has_a_lower_and_an_upper_bound(setup):
    for requirement in all_requirements(setup).values():
        operators = {bound.operator for bound in requirement.specifier}
        assert operators == {">=", "<"}, f"{requirement} needs both bounds"


def test_constraints_pin_every_requirement_within_its_bounds(setup):
    pins = requirements((ROOT / "constraints.txt").read_text())
    for name, requirement in all_requirements(setup).items():
        assert name in pins, f"constraints.txt does not pin {name}"
        (pin,) = pins[name].specifier
        assert pin.operator == "=="
        assert Version(pin.version) in requirement.specifier, f"{pins[name]} is not within {requirement}"


# What is shipped


def test_a_wheel_holds_every_module_the_templates_and_the_zoo(tmp_path):
    pytest.importorskip("setuptools.build_meta")
    copy = tmp_path / "mesh disent"
    for part in ("meshdisent", "models"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, copy / part)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    subprocess.run([sys.executable, "-W", "ignore", "-c", build], cwd=copy, capture_output=True, check=True)
    (wheel,) = copy.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    code = {str(f.relative_to(copy)) for f in (copy / "meshdisent").rglob("*") if f.suffix in {".py", ".j2", ".typed"}}
    zoo = {
        f"meshdisent/zoo/{f.relative_to(copy / 'models')}"
        for f in (copy / "models").rglob("*")
        if f.name in {"recipe.yaml", "card.md", "weights.safetensors"}
        or f.match("variants/*.yaml")
        or f.name.startswith("LICENSE")
    }
    assert {
        "meshdisent/zoo/wsdf-published/variants/bank.yaml",
        "meshdisent/zoo/wsdf-ict/LICENSE-ICT-FaceKit.txt",
    } <= zoo
    assert code | zoo <= shipped


def test_no_file_names_a_package_index_or_a_folder_of_one_machine():
    hosts = [r"pypi\.org", r"pythonhosted\.org", r"download\.pytorch\.org", r"index-url\s*="]
    folders = [r"(?<![\w.])/(?:home|root|opt|work|Users)/\w", r"[A-Z]:\\Users"]
    pattern = re.compile("|".join(hosts + folders))
    for file in tracked_files():
        if file == Path(__file__).resolve():
            continue
        found = pattern.search(file.read_text(encoding="utf-8", errors="replace"))
        assert not found, f"{file} names {found.group()!r}"


# The two commands of the README


STUB_PYTHON = """#!/bin/sh
echo "$*" >> "$LOG"
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p "$3/bin"
    for tool in python meshdisent; do
        printf '#!/bin/sh\\necho %s "$*" >> "$LOG"\\n' $tool > "$3/bin/$tool"
        chmod +x "$3/bin/$tool"
    done
fi
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder with a space in its path, the Makefile, and a stand-in for python3 that writes down its calls."""
    if not shutil.which("make"):
        pytest.skip("needs make")
    folder = tmp_path / "mesh disent"
    folder.mkdir()
    for name in ("Makefile", "setup.cfg", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "python stub").write_text(STUB_PYTHON)
    (folder / "python stub").chmod(0o755)
    return folder


def make(folder: Path, *arguments: str) -> tuple[int, list[str], str]:
    """Exit code of make, the calls it made, and what it printed."""
    log = folder / "calls"
    log.write_text("")
    command = ["make", f"PYTHON={folder / 'python stub'}", *arguments]
    environment = {"PATH": os.environ["PATH"], "LOG": str(log)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, log.read_text().splitlines(), done.stdout + done.stderr


def test_make_quickstart_installs_once_and_runs_in_a_folder_with_a_space(checkout):
    install = "python -m pip --disable-pip-version-check install --constraint constraints.txt --editable ."
    run = "meshdisent quickstart --out quickstart --overwrite"
    code, calls, text = make(checkout, "quickstart")
    assert (code, calls[1:]) == (0, ["-m venv .venv", install, run]), text
    code, calls, text = make(checkout, "quickstart")
    assert (code, calls) == (0, [run]), text


def test_make_test_brings_the_test_tools_and_serves_the_quickstart_too(checkout):
    code, calls, text = make(checkout, "test", "PYTEST=-k spirals")
    assert (code, calls[-1]) == (0, "python -m pytest -k spirals"), text
    assert calls[-2].endswith("--editable .[test]")
    assert make(checkout, "quickstart")[1] == ["meshdisent quickstart --out quickstart --overwrite"]


def test_a_changed_pin_installs_again(checkout):
    make(checkout, "quickstart")
    newer = checkout / "constraints.txt"
    newer.write_text(newer.read_text() + "\n# changed\n")
    assert len(make(checkout, "quickstart")[1]) == 2


def test_an_old_python_gets_one_clear_line():
    rule = re.search(
        r"-c '(import sys; sys.version_info >= .*)'$", (ROOT / "Makefile").read_text(), re.MULTILINE
    ).group(1)
    old = f"import sys; sys.version_info = (3, 9, 2); sys.version = '3.9.2 (main)'; {rule}"
    done = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "meshdisent needs Python 3.11 or later; this is 3.9.2. Name a newer one: make PYTHON=python3.12\n"
    )


def test_the_continuous_build_runs_the_tests_first_and_needs_their_browser():
    script = ROOT / ".ci" / "run"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    steps = re.search(r"for name in (.*); do", script.read_text()).group(1).split()
    assert steps == ["browser-tools", "test", "test-slow", "lint", "format", "types", "imports", "docs"]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(steps) <= targets
    assert "export MESHDISENT_BROWSER=required" in script.read_text()
