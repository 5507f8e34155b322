"""Write formulas as MathML, which browsers show by themselves: no page fetches a script from elsewhere.

docutils translates them. An accent that has a subscript too comes out of it with the subscript below the letter, bars
come out as signs that browsers draw nothing for, and accents lie on the letter; all three are mended here.
"""

import html
import re
import xml.etree.ElementTree as ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

_log = logging.getLogger(__name__)

_SPACE = "http://www.w3.org/1998/Math/MathML"
_BARS = {"\u02c9", "_"}  # what docutils writes for \\bar and \\overline
_ACCENTS = {"\u00af", "\u02c6", "\u02dc", "~", "\u02d9", "\u2192"}
_NAMED = re.compile(r"&(?!lt;|gt;|amp;|quot;)[a-zA-Z]+;")  # names of HTML, such as that of a space, are none of XML
ElementTree.register_namespace("", _SPACE)


def _visit_math(self, node):
    self.body.append(_markup(node, as_block=False))
    raise nodes.SkipNode


def _visit_math_block(self, node):
    self.body.append(f"<div class='math'>{_markup(node, as_block=True)}</div>")
    raise nodes.SkipNode


def _markup(node, as_block: bool) -> str:
    try:
        return mended(tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        _log.warning("a formula that docutils cannot turn into MathML: %s (%s)", node.astext(), error, location=node)
        return ""


def mended(markup: str) -> str:
    """The same formula with bars that are drawn, accents above their letters and subscripts beside them."""
    root = ElementTree.fromstring(_NAMED.sub(lambda entity: html.unescape(entity[0]), markup))
    for part in root.iter():
        children = list(part)
        part.attrib.pop("accent", None)  # without a font for mathematics, accents that are called so lie on the letter
        if part.tag in (f"{{{_SPACE}}}mover", f"{{{_SPACE}}}munderover") and children[-1].text in _BARS:
            children[-1].text = "\u00af"
        if part.tag == f"{{{_SPACE}}}munderover" and children[2].text in _ACCENTS:
            base, below, accent = children
            part.tag = f"{{{_SPACE}}}msub"
            part[:] = [ElementTree.Element(f"{{{_SPACE}}}mover"), below]
            part[0][:] = [base, accent]
    return ElementTree.tostring(root, encoding="unicode")


def setup(app):
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_math_block, None))
    return {"parallel_read_safe": True}
