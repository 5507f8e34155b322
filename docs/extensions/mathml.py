"""Write formulas as MathML, which browsers show by themselves: no page fetches a script from elsewhere."""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

_log = logging.getLogger(__name__)


def _visit_math(self, node):
    self.body.append(_markup(node, as_block=False))
    raise nodes.SkipNode


def _visit_math_block(self, node):
    self.body.append(f"<div class='math'>{_markup(node, as_block=True)}</div>")
    raise nodes.SkipNode


def _markup(node, as_block: bool) -> str:
    try:
        return tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        _log.warning("a formula that docutils cannot turn into MathML: %s (%s)", node.astext(), error, location=node)
        return ""


def setup(app):
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_math_block, None))
    return {"parallel_read_safe": True}
