"""What is known without any model, to read figures against; no method competes with it.

``subject's mean scan`` : a subject's neutral as the mean of all of its measured scans. It looks at many scans of a
person where a model looks at one.
``true neutral`` : an expression transfer that only takes the first person's expression off.
``true displacement`` : the second person's true displacement added to the first person's true neutral. What is left is
what only a model that is not additive can get.
"""

from typing import Any

import numpy as np

from meshdisent.evaluation.task import Task

NAMES = ("subject's mean scan", "true neutral", "true displacement")
UNDEFINED: dict[str, Any] = dict.fromkeys(
    ("E_avd", "E_id", "E_exp", "E_neu", "E_neu_kept", "E_tra", "leak", "evidence")
)


def references(task: Task) -> dict[str, dict[str, Any]]:
    """Figures of the rows that the scans allow, by name."""
    scans, rows = task.scans, task.rows
    found: dict[str, dict[str, Any]] = {}
    mean_scans = task.errors()
    for subject, truth in task.neutrals.items():
        own = rows[scans.subject[rows] == subject]
        mean = scans.vertices(own).mean(axis=0, dtype=np.float64)[None]
        placed = task.placed(mean, truth[None])
        # As often as the subject has scans, so that the mean over scans is that of every other row.
        for _ in own:
            mean_scans.add(placed, truth[None], np.array([subject]))
    if task.neutrals:
        found[NAMES[0]] = {**UNDEFINED, "E_neu": mean_scans.summary()}
    if task.transfer is not None:
        found.update(_transfers(task))
    return found


def _transfers(task: Task) -> dict[str, dict[str, Any]]:
    scans, pairs = task.scans, task.transfer
    assert pairs is not None
    neutrals, known = scans.neutrals()
    first, second = scans.subject[pairs.identity], scans.subject[pairs.expression]
    if not (known[first] & known[second]).all():
        return {}
    rest, added = task.errors(), task.errors()
    for k in range(len(first)):
        pair, truth = slice(k, k + 1), pairs.truth[k : k + 1]
        displacement = scans.vertices(pairs.expression[pair]) - neutrals[second[pair]]
        rest.add(task.placed(neutrals[first[pair]], truth), truth, first[pair])
        added.add(task.placed(neutrals[first[pair]] + displacement, truth), truth, first[pair])
    return {
        name: {**UNDEFINED, "E_tra": {"plain": errors.summary(), "kept": None}}
        for name, errors in ((NAMES[1], rest), (NAMES[2], added))
    }
