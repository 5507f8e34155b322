"""Write docs/licences-table.md: the packages of requirements-test.lock with their licences, as they state them.

python docs/scripts/licences.py        # in an environment that was installed from the lock
"""

import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def licence(name: str) -> str:
    """The licence in a package's metadata: the expression, else the classifiers, else the first words of the text."""
    about = metadata.metadata(name)
    if about.get("License-Expression"):
        return about["License-Expression"]
    found = [c.rpartition("::")[2].strip() for c in about.get_all("Classifier", []) if c.startswith("License ::")]
    if found:
        return ", ".join(found)
    return (about.get("License") or "not stated").strip().splitlines()[0][:60]


def main() -> int:
    """Write the table."""
    lock = (ROOT / "requirements-test.lock").read_text(encoding="utf-8")
    rows = [
        "<!-- Made by docs/scripts/licences.py; do not edit. -->",
        "",
        "| package | version | licence |",
        "|---|---|---|",
    ]
    for name, version in re.findall(r"^([a-z0-9.-]+)==(\S+)", lock, re.MULTILINE):
        rows.append(f"| {name} | {version} | {licence(name)} |")
    (ROOT / "docs" / "licences-table.md").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
