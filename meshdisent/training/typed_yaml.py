"""YAML that is data and nothing else, filled into a tree of frozen dataclasses.

The file may hold mappings, lists and plain values. Tags that name types, aliases (with which ten lines can stand for
gigabytes), duplicate keys and files above 256 KiB are refused. Each key must be a field of its dataclass and each
value of the field's type; an error names the file, the key's path and the nearest known key.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from meshdisent.errors import RecipeError

SIZE_LIMIT = 256 * 1024

T = TypeVar("T")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping of plain values from a file.

    Raises
    ------
    RecipeError : If the file cannot be read, is too large, or holds anything but a mapping of plain values.
    """
    try:
        size = path.stat().st_size
        if size > SIZE_LIMIT:
            raise RecipeError(f"{path} has {size:,} bytes; a recipe has at most {SIZE_LIMIT:,}. Is it a recipe at all?")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read as text ({error}). Give a YAML file or a name of the zoo.") from error
    values = parse_yaml(text, str(path))
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise RecipeError(f"{path} holds {found} at its top; wanted lines of the form 'key: value'.")
    return values


def parse_yaml(text: str, where: str) -> Any:
    """Plain values from YAML text; ``where`` names the text in errors."""
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where} is not plain YAML: {' '.join(str(error).split())}") from error
    except (ValueError, RecursionError) as error:  # impossible dates, endless digits, thousands of brackets
        raise RecipeError(f"{where} holds a value that YAML cannot mean: {type(error).__name__}: {error}") from error


def fill(kind: type[T], values: Any, where: str, path: str = "") -> T:
    """Make a dataclass, and the dataclasses in it, from a mapping of plain values.

    Parameters
    ----------
    kind : A dataclass whose fields are int, float, bool, str, tuples of them, Literal, Optional or dataclasses.
    values : What the file says; a field that is left out keeps its default.
    where, path : Name of the file and path of the key within it, for errors.

    Raises
    ------
    RecipeError : For an unknown or missing key, a value of another type, or one that the dataclass itself refuses.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Box:
    ...     width: float = 1.0
    >>> fill(Box, {"width": 2}, "box.yaml")
    Box(width=2.0)
    >>> fill(Box, {"widht": 2}, "box.yaml")
    Traceback (most recent call last):
    meshdisent.errors.RecipeError: box.yaml: unknown key 'widht'. Did you mean 'width'? Known keys here: width.
    """
    if not isinstance(values, Mapping):
        raise RecipeError(f"{where}: {path or 'the top'} is {values!r}; wanted keys and values.")
    hints = typing.get_type_hints(kind)
    fields = [f for f in dataclasses.fields(kind) if f.init]  # type: ignore[arg-type]
    refuse_unknown(values, [f.name for f in fields], where, path)
    given = {k: _value(hints[k], v, where, _join(path, k)) for k, v in values.items()}
    for f in fields:
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and f.name not in given:
            raise RecipeError(f"{where}: {_join(path, f.name)} is missing. Add the line '{f.name}: ...'.")
    try:
        return kind(**given)
    except (RecipeError, ValueError) as error:
        raise RecipeError(f"{where}: {path + ': ' if path else ''}{error}") from error


def refuse_unknown(values: Mapping[Any, Any], known: list[str], where: str, path: str = "") -> None:
    """Raise :class:`RecipeError`, naming the nearest known key, if a key is none of the known ones."""
    for key in values:
        if key not in known:
            nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f"Did you mean {_join(path, nearest[0])!r}? " if nearest else ""
            raise RecipeError(
                f"{where}: unknown key {_join(path, str(key))!r}. {hint}Known keys here: {', '.join(known) or 'none'}."
            )


def plain(value: Any) -> Any:
    """The plain values (dict, list, number, str, None) of a dataclass tree; the reverse of :func:`fill`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
    if isinstance(value, tuple | list):
        return [plain(entry) for entry in value]
    return value


def _value(kind: Any, value: Any, where: str, path: str) -> Any:
    """One value as the type that a field asks for."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (kind,) = (a for a in arguments if a is not type(None))
        return _value(kind, value, where, path)
    if origin is typing.Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
        raise _wrong(value, "one of " + ", ".join(map(str, arguments)), where, path)
    if origin is tuple:
        return _tuple(arguments, value, where, path)
    if dataclasses.is_dataclass(kind):
        return fill(typing.cast(type, kind), value, where, path)
    return _scalar(kind, value, where, path)


def _tuple(arguments: tuple[Any, ...], value: Any, where: str, path: str) -> tuple[Any, ...]:
    open_ended = len(arguments) == 2 and arguments[1] is Ellipsis
    if not isinstance(value, list | tuple) or not (open_ended or len(value) == len(arguments)):
        raise _wrong(value, "a list" if open_ended else f"a list of {len(arguments)} values", where, path)
    kinds = [arguments[0]] * len(value) if open_ended else arguments
    return tuple(_value(kind, v, where, f"{path}[{i}]") for i, (kind, v) in enumerate(zip(kinds, value, strict=True)))


def _scalar(kind: Any, value: Any, where: str, path: str) -> Any:
    if kind is float:
        # YAML 1.1 reads 1e-4 as text, since it wants a point in a number; nobody who writes 1e-4 means text.
        number = _float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
        if math.isfinite(number):
            return number
        raise _wrong(value, "a finite number", where, path)
    if kind in (int, bool, str):
        if type(value) is kind:
            return value
        raise _wrong(value, {int: "a whole number", bool: "true or false", str: "text"}[kind], where, path)
    raise TypeError(f"{path} is declared as {kind}, which recipes cannot hold")


def _float(value: str | int | float) -> float:
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _wrong(value: Any, wanted: str, where: str, path: str) -> RecipeError:
    shown = "nothing" if value is None else repr(value)
    return RecipeError(f"{where}: {path} is {shown if len(shown) <= 60 else shown[:57] + '...'}; wanted {wanted}.")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


class _PlainLoader(yaml.SafeLoader):
    """The safe loader of PyYAML without aliases, and with an error for a key that stands twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="an alias (*name); write the value out", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            is_word = isinstance(key, yaml.ScalarNode)
            if not is_word or key.value in seen:
                problem = f"the key {key.value!r} stands twice" if is_word else "a key that is no word"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)
