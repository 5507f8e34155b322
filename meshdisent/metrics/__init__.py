r"""How good a disentangled face model is: pure functions of arrays, lengths in millimeters.

With :math:`d_v(X, Y) = \lVert X_v - Y_v \rVert` the distance of vertex :math:`v` in two scans:

============  =====================================================================================  ==========
name          what is measured                                                                       one number
============  =====================================================================================  ==========
E_avd         mean :math:`d_v` between a scan and its reconstruction (WSDF, eq. 9)                   a scan
E_id          spread of a subject's neutralized scans about their mean (eq. 10)                      a subject
E_exp         spread of an expression decoded on no one in particular, about its mean (IV.C)         a label
E_neu         mean :math:`d_v` between a neutralized scan and the subject's true neutral (eq. 11)    a scan
E_tra         mean :math:`d_v` between a transferred expression and the truth                        a pair
leak          how often the nearest code is of the same subject or expression                        all
============  =====================================================================================  ==========

FED's names for the same: E_rec is E_avd (:func:`e_avd`), AVD_neu is E_neu (:func:`e_neu`), and E_dis is E_id in variant
a (:func:`spread_a`); on BU-3DFE its predictions are first brought onto the truth (:func:`rigidly_aligned`).

The rooms: :mod:`~meshdisent.metrics.distances` and :mod:`~meshdisent.metrics.spreads` (mm),
:mod:`~meshdisent.metrics.intervals` (how sure a figure is), :mod:`~meshdisent.metrics.leakage`,
:mod:`~meshdisent.metrics.recognition`, :mod:`~meshdisent.metrics.factors` (DCI, SAP, MIG) and
:mod:`~meshdisent.metrics.shape_models` (specificity, compactness). What is of images is imported from its own
file: :mod:`~meshdisent.metrics.depth` (SIDE, MAD) and :mod:`~meshdisent.metrics.classification` (accuracy, F1).
"""

from meshdisent.metrics.distances import (
    e_avd,
    e_neu,
    e_tra,
    moving_vertices,
    rigidly_aligned,
    summary,
    vertex_distance,
)
from meshdisent.metrics.factors import DCI, dci, dci_of_importance, mig, sap
from meshdisent.metrics.intervals import Resampling, difference, interval
from meshdisent.metrics.leakage import leak
from meshdisent.metrics.recognition import chance_of_rank_one, drawn_spread, recognized_by_code, recognized_by_face
from meshdisent.metrics.shape_models import compactness, specificity
from meshdisent.metrics.spreads import spread_a, spread_b, spread_drl, spread_per_vertex

__all__ = [
    "DCI",
    "Resampling",
    "chance_of_rank_one",
    "compactness",
    "dci",
    "dci_of_importance",
    "difference",
    "drawn_spread",
    "e_avd",
    "e_neu",
    "e_tra",
    "interval",
    "leak",
    "mig",
    "moving_vertices",
    "recognized_by_code",
    "recognized_by_face",
    "rigidly_aligned",
    "sap",
    "specificity",
    "spread_a",
    "spread_b",
    "spread_drl",
    "spread_per_vertex",
    "summary",
    "vertex_distance",
]
