"""Tables of the evidence: what leaks, who is recognized, how entries match factors, what the shapes are worth.

Each takes figures by the name of the row, so that one model and many look the same. Rows for which a table has nothing
are left out; a table without rows is None.
"""

from collections.abc import Mapping
from typing import Any

from meshdisent.show.tables import Column, Estimate, Row, Table

Named = Mapping[str, dict[str, Any]]

FLAGGED = "Shaded: above chance on the measured people, with 95 %."
LEAKS = {
    "subject_from_expression": (
        "Who it is, read from the expression code: % of scans",
        "Whole expressions are held out from the probes, whose people are known. The less, the better.",
    ),
    "expression_from_identity": (
        "Which expression, read from the identity code: % of scans",
        "Whole people are held out from the probes. The less, the better.",
    ),
}
MEANINGS = (
    "A probe is a classifier that tries to read from one code what only the other should hold, on scans that it was "
    "not fitted on: logistic regression (linear), a small network with one hidden layer, and the nearest neighbor, "
    "which is asked about every scan with all others at hand. What is above chance leaks. A probe that reads nothing "
    "is no proof: another might. The expression read from the expression code itself shows what there is to read.\n\n"
    "An interval without width means that every person came out alike, not that nothing else can happen."
)


def leak_table(named: Named, reading: str) -> Table | None:
    """One reading of the wrong code: nearest neighbor, linear probe and small network beside chance, in %."""
    title, explained = LEAKS[reading]
    rows = []
    for name, figures in named.items():
        probes = ((figures.get("evidence") or {}).get("probes") or {}).get(reading) or {}
        neighbor = (figures.get("leak") or {}).get(reading) or {"rate": None, "chance": None}
        linear, network = probes.get("linear"), probes.get("network")
        chance = next((one["chance"] for one in (linear, network) if one), None)
        if neighbor["rate"] is None and chance is None:
            continue
        values = [_percent(neighbor["rate"]), _percent(neighbor["chance"]), _accuracy(linear), _accuracy(network)]
        rows.append(Row(name, [*values, _percent(chance)], "model"))
    columns = [Column(head, "%", "", 1) for head in ("nearest", "by chance", "linear", "network", "by chance")]
    return Table(columns, rows, f"{title}. {explained}", marks=FLAGGED) if rows else None


def control_table(named: Named) -> Table | None:
    """The expression read from the expression code, which should succeed, in %."""
    rows = []
    for name, figures in named.items():
        probes = ((figures.get("evidence") or {}).get("probes") or {}).get("expression_from_expression") or {}
        linear = probes.get("linear")
        if linear:
            rows.append(Row(name, [_share(linear, "accuracy"), _percent(linear["chance"])], "model"))
    columns = [Column("linear", "%", "", 1), Column("by chance", "%", "", 1)]
    caption = "Which expression, read from the expression code: % of scans of people who were held out. More is better."
    return Table(columns, rows, caption) if rows else None


def recognition_table(named: Named) -> Table | None:
    """Who is recognized by identity code and face, by support vectors, and how much people differ."""
    rows = []
    for name, figures in named.items():
        evidence = figures.get("evidence") or {}
        recognition = evidence.get("recognition") or {}
        code, face = recognition.get("identity_code"), recognition.get("identity_face")
        vectors, people = evidence.get("support_vectors"), evidence.get("spread_of_people")
        if not (code or face or vectors or people):
            continue
        chance = next((one["chance"] for one in (code, face) if one), None)
        values = [
            _share(code, "rate"), _share(face, "rate"), _percent(chance), _share(vectors, "accuracy"),
            _percent(vectors and vectors["same_scans"]), people and people["mean"],
        ]  # fmt: skip
        rows.append(Row(name, values, "model" if code else "baseline"))
    heads = (("by code", "%"), ("by face", "%"), ("by chance", "%"), ("support vectors", "%"), ("the same scans", "%"))
    columns = [*(Column(head, unit, "", 1) for head, unit in heads), Column("people differ", "mm", "", 2)]
    caption = (
        "Rank-1 recognition of expressive scans in a gallery of neutral ones, by the cosine of identity codes and "
        "by the distance of identity faces; support vectors on identity codes with expressions held out, and on the "
        "same scans (FED prints the last); spread of one identity face a person. More is better; recognizing people "
        "by the scans themselves (input, by face) takes no model."
    )
    marks = "95 % intervals over people." if rows else ""
    return Table(columns, rows, caption, marks=marks) if rows else None


def factor_table(named: Named) -> Table | None:
    """DCI, SAP and MIG, 0 to 1."""
    keys = ("disentanglement", "completeness", "informativeness", "sap", "mig")
    found = {name: (figures.get("evidence") or {}).get("factors") for name, figures in named.items()}
    rows = [Row(name, [own[key] for key in keys], "model") for name, own in found.items() if own]
    heads = ("disentanglement", "completeness", "informativeness", "SAP", "MIG")
    caption = (
        "How single code entries match who and what (DCI, SAP, MIG; 0 to 1, more is better). They were made for "
        "factors that are one number; who somebody is takes many entries, so completeness, SAP and MIG are low for "
        "every model."
    )
    marks = "Point estimates; compare models of one code size only."
    return Table([Column(head, "", "") for head in heads], rows, caption, marks=marks) if rows else None


def shape_table(named: Named) -> Table | None:
    """Generalization and specificity in mm, and how many entries hold most of the variance."""
    rows = []
    for name, figures in named.items():
        evidence = figures.get("evidence") or {}
        general, compact, specific = (evidence.get(k) for k in ("generalization", "compactness", "specificity"))
        if not general or not compact or not general["entries"]:
            continue
        enough = compact["entries_for_95"]
        most = None if enough is None else str(enough)
        values = [general["E_avd"][-1], str(general["entries"][-1]), most, *_specific(specific)]
        rows.append(Row(name, values, "model"))
    columns = [
        Column("generalization", "mm", ""), Column("modes", "in all", ""), Column("for 95 %", "of the variance", ""),
        Column("specificity", "mm", ""), Column("deviation", "mm", ""),
    ]  # fmt: skip
    caption = (
        "Shape quality. Generalization: error on held-out scans with all modes. Compactness: how many modes of the "
        "model's prior hold 95 % of its variance. Specificity: distance of drawn faces to the nearest training "
        "scan. Less is better in each, but a model that draws its training scans is perfectly specific and of no "
        "use."
    )
    return (
        Table(
            columns,
            rows,
            caption,
            marks="A mode is a principal direction of the faces that the model's own prior gives.",
        )
        if rows
        else None
    )


def evidence_tables(named: Named) -> list[Table]:
    """All tables that have a row, leaks first."""
    found = [leak_table(named, reading) for reading in LEAKS]
    found += [control_table(named), recognition_table(named), factor_table(named), shape_table(named)]
    return [table for table in found if table is not None]


def _specific(found: dict[str, Any] | None) -> list[float | None]:
    return [None, None] if found is None else [found["mean"], found["std"]]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100.0 * share


def _share(found: dict[str, Any] | None, key: str) -> Estimate | None:
    """A share with its interval, in %."""
    if not found:
        return None
    return Estimate(100.0 * found[key], _percent(found["low"]), _percent(found["high"]))


def _accuracy(found: dict[str, Any] | None) -> Estimate | None:
    """A probe's accuracy in %, flagged if chance lies below its interval."""
    if not found:
        return None
    leaks = found["low"] is not None and found["low"] > found["chance"]
    return Estimate(100.0 * found["accuracy"], _percent(found["low"]), _percent(found["high"]), is_flagged=leaks)
