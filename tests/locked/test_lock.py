"""The lock file of the tests: every package that they need, at the version of constraints.txt, by its hash."""

import configparser
import re
from pathlib import Path

import pytest
from lock import CPU_BUILDS, without_gpu
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements-test.lock").read_text(encoding="utf-8")


def entries():
    """Version and hashes of each package."""
    found = {}
    for entry in re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)[1:]:
        name, version = re.match(r"([a-z0-9.-]+)==(\S+)", entry).groups()
        found[name] = version, re.findall(r"--hash=sha256:([0-9a-f]{64})\b", entry)
    return found


def test_every_requirement_of_the_tests_is_locked_at_its_pin():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split() if "==" in line
    )
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    extras = setup["options.extras_require"]
    wanted = [setup["options"]["install_requires"], *(extras[name] for name in ("test", "cluster", "image"))]
    locked = entries()
    for line in "\n".join(wanted).splitlines():
        if line.strip() and not line.startswith("meshdisent"):
            name = canonicalize_name(Requirement(line).name)
            assert locked[name][0] == pins[name], name
    for name, (version, hashes) in locked.items():
        assert hashes, name
        assert pins.get(name, version) == version, name


def test_nothing_of_a_gpu_and_no_address_is_in_it():
    assert not re.search(r"nvidia|triton|https?:", LOCK)


def test_gpu_libraries_go_and_torch_is_the_cpu_build():
    names = ("numpy==2.0", "nvidia-x==1", "torch==2.13.0")
    text = "".join(f"{name} \\\n    --hash=sha256:{number}\n" for number, name in enumerate(names))
    numpy, torch = re.split(r"^(?=torch)", without_gpu(text), flags=re.MULTILINE)
    assert numpy == "numpy==2.0 \\\n    --hash=sha256:0\n"
    assert re.findall("sha256:(.*)", torch) == CPU_BUILDS["2.13.0"]
    with pytest.raises(SystemExit, match=r"torch 9\.9 has no CPU builds"):
        without_gpu("torch==9.9 \\\n    --hash=sha256:cc\n")
