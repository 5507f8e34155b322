"""Formulas as browsers draw them: accents with subscripts, bars."""

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="needs the extra docs")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs" / "extensions"))

from docutils.utils.math.latex2mathml import tex2mathml
from mathml import mended

DOCS = Path(__file__).resolve().parents[2] / "docs"


def tags(formula):
    return re.sub(r"\s+", "", re.sub(r"<math[^>]*>|</math>", "", mended(tex2mathml(formula))))


def test_a_subscript_of_a_letter_with_an_accent_stands_beside_it():
    accent = '<mover><mi>W</mi><mostretchy="false">ˆ</mo></mover>'
    assert tags(r"\hat W_k") == f"<msub>{accent}<mi>k</mi></msub>"


def test_bars_are_signs_that_browsers_draw():
    assert "¯" in tags(r"\bar\alpha_t")
    assert "¯" in tags(r"\overline X_k")
    assert "_" not in tags(r"\overline X_k")


def test_sums_keep_what_stands_below_and_above():
    assert tags(r"\sum_{k}^{n} k").startswith("<munderover>") or "<msubsup>" in tags(r"\sum_{k}^{n} k")
    assert tags("x_k") == "<msub><mi>x</mi><mi>k</mi></msub>"


def test_words_in_a_formula_keep_their_spaces_and_signs():
    assert "\u00a0at rest" in mended(tex2mathml(r"[i \text{ at rest}]"))
    assert "&lt;" in mended(tex2mathml("a < b"))


def test_every_formula_of_the_pages_is_translated():
    pages = [page for page in DOCS.rglob("*.md") if "_build" not in page.parts]
    blocks = [
        formula for page in pages for formula in re.findall(r"^\$\$(.*?)\$\$", page.read_text("utf-8"), re.M | re.S)
    ]
    assert len(blocks) >= 15
    for formula in blocks:
        assert mended(tex2mathml(formula, as_block=True)).startswith("<math")
