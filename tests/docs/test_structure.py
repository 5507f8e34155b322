"""What the pages say of the package is there: files, rooms, modules."""

import pkgutil
import re
from pathlib import Path

import meshdisent

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def test_every_public_room_is_in_the_api_pages():
    listed = set(re.findall(r"^   meshdisent\.(\w+)$", (DOCS / "api" / "index.md").read_text(encoding="utf-8"), re.M))
    rooms = {found.name for found in pkgutil.iter_modules(meshdisent.__path__)}
    assert rooms - listed == {"cli", "__main__"}  # the page of commands has these
    assert listed <= rooms


def test_paths_that_pages_name_exist():
    for page in ("where-to-change.md", "contributing.md", "faq.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        for path in re.findall(r"`((?:meshdisent|tests|docs|models|data_prep)/[\w./-]*)`", text):
            if "NAME" not in path:
                assert (ROOT / path).exists(), f"{page}: {path}"


def test_each_word_of_the_glossary_stands_once_and_has_a_sentence():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    entries = re.findall(r"^(\S[^\n:{}#`]*)\n  (\S.*)$", text, re.M)
    names = [name for name, _ in entries]
    assert len(names) == len(set(names)) > 60
    for word in (
        "scan",
        "subject",
        "topology",
        "template",
        "spiral",
        "hierarchy",
        "neutral bank",
        "Re-coupler",
        "E_avd",
    ):
        assert word in names
    assert all(sentence.endswith(".") for _, sentence in entries)


def test_each_tutorial_and_theory_page_runs_something():
    for page in [*(DOCS / "tutorials").glob("*.md"), *(DOCS / "theory").glob("*.md")]:
        if page.name != "index.md":
            assert "```{run}" in page.read_text(encoding="utf-8"), page.name
