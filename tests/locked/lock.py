"""Write requirements-test.lock: what the tests run with, each file of it named by its hash (``make lock``).

    python tests/locked/lock.py                      # needs uv, and the package index
    python -m pip install --require-hashes --no-deps -r requirements-test.lock

Versions are those of constraints.txt. Torch is the CPU build that PyTorch offers on its own site, for Linux on x86_64:
that of the index would want gigabytes of GPU libraries, which are left out. So pip must not look at dependencies.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements-test.lock"

#: Files of PyTorch's CPU builds, which the package index does not list: version -> hashes.
CPU_BUILDS = {
    # torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl
    "2.13.0": ["6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"],
}
_GPU = re.compile(r"(nvidia|cuda|triton)\b")

HEAD = """\
# What the tests run with on Python 3.11 (Linux, x86_64, CPU), each file by its hash. Made by `make lock`.
# Install: pip install --require-hashes --no-deps -r requirements-test.lock, then pip install --no-deps -e .
"""


def compiled() -> str:
    """All requirements of the tests with the hashes that the index gives."""
    command = ["uv", "pip", "compile", "setup.cfg", "--extra", "test", "--constraint", "constraints.txt"]
    options = ["--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate", "--python-version", "3.11"]
    done = subprocess.run([*command, *options, "--quiet"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def without_gpu(text: str) -> str:
    """Leave out the libraries of GPUs, and take the CPU builds of torch."""
    entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    kept = [entry for entry in entries if entry.strip() and not _GPU.match(entry)]
    return "".join(_as_cpu_build(entry) for entry in kept)


def _as_cpu_build(entry: str) -> str:
    found = re.match(r"torch==(\S+)", entry)
    if not found:
        return entry
    if found[1] not in CPU_BUILDS:
        raise SystemExit(f"torch {found[1]} has no CPU builds in {Path(__file__).name}; add their hashes.")
    return f"torch=={found[1]}" + "".join(f" \\\n    --hash=sha256:{digest}" for digest in CPU_BUILDS[found[1]]) + "\n"


if __name__ == "__main__":
    LOCK.write_text(HEAD + without_gpu(compiled()), encoding="utf-8")
    sys.stdout.write(f"{LOCK.name}: {len(re.findall(r'^[a-z]', LOCK.read_text(), re.MULTILINE))} packages\n")
