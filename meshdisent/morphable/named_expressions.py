"""Expressions that a model has under names, such as the 53 shapes of ARKit: a code for each, kept in the model file."""

import difflib
import re
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.errors import ModelFileError, UsageError

PREFIX = "expressions/"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # no dash in front: names stand on the command line, too
#: ``sample`` and the command line mean the face at rest by it, which needs no code.
RESERVED = ("neutral",)


def expression_tensors(named: Mapping[str, Tensor], size: int, where: str) -> dict[str, Tensor]:
    """Codes as a file holds them: float32 under ``expressions/NAME``, checked.

    Raises
    ------
    ModelFileError : If a name cannot be written, or a code is not (size,) finite numbers.
    """
    for name, code in named.items():
        _check(name, code, size, where)
    return {PREFIX + name: code.float() for name, code in named.items()}


def expressions_from_tensors(
    tensors: Mapping[str, Tensor], size: int, where: str
) -> dict[str, Float[Tensor, " expression"]]:
    """The codes that :func:`expression_tensors` wrote, in the order of their names; raises as it does."""
    found = {name.removeprefix(PREFIX): tensors[name] for name in sorted(tensors) if name.startswith(PREFIX)}
    for name, code in found.items():
        _check(name, code, size, where)
    return {name: code.float() for name, code in found.items()}


def find_expression(named: Mapping[str, Tensor], name: str) -> Float[Tensor, " expression"]:
    """The code of a name.

    Raises
    ------
    UsageError : If there is none of that name; it names the nearest.

    Examples
    --------
    >>> find_expression({"jawOpen": torch.ones(2), "mouthLeft": torch.zeros(2)}, "jawopen")
    Traceback (most recent call last):
    meshdisent.errors.UsageError: The model has no expression 'jawopen'; it has 2 under names. Did you mean 'jawOpen'?
    """
    if name in named:
        return named[name]
    if not named:
        raise UsageError(
            f"The model has no expression {name!r}; it has none under any name. "
            "Give a scan with that expression, or a model that has names (see `meshdisent models`)."
        )
    # By lower case: names of shapes differ from what people type in nothing more often.
    lower = {known.lower(): known for known in named}
    nearest = lower[difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.0)[0]]
    raise UsageError(
        f"The model has no expression {name!r}; it has {len(named)} under names. Did you mean {nearest!r}?"
    )


def _check(name: str, code: Tensor, size: int, where: str) -> None:
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise ModelFileError(
            f"{where} names an expression {name!r}; wanted letters of a to z, digits, _ . - (not first), and not "
            f"{' or '.join(RESERVED)}, which is the face at rest. Call it something else in model.named_expressions."
        )
    if tuple(code.shape) != (size,) or not code.is_floating_point():
        raise ModelFileError(
            f"{where}: the expression {name} is {str(code.dtype).removeprefix('torch.')} of shape "
            f"{tuple(code.shape)}; wanted ({size},) floats, the model's expression code. Make the codes again."
        )
    if not torch.isfinite(code).all():
        raise ModelFileError(f"{where}: the expression {name} has a number that is not finite. Make the codes again.")
