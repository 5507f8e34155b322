"""``meshdisent models``: the recipes and models that come along."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from meshdisent.files import refuse_existing, writing
from meshdisent.zoo_index import find_zoo_weights, zoo_folder, zoo_names, zoo_variants


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """List the recipes and models that come along; each name can stand wherever a RECIPE or a MODEL is wanted.

    For example: meshdisent models
    """

    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write one JSON object to this file too; with - to standard output, instead of the text."""
    overwrite: bool = False
    """Replace the JSON file if it exists."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent models", config=(tyro.conf.FlagCreatePairsOff,))
    if given.json not in (None, "-"):
        refuse_existing(given.json, given.overwrite)
    rows = [describe(name) for name in sorted({*zoo_names(), *zoo_names(with_weights=True)})]
    numbers = json.dumps({"models": rows}, indent=2)
    if given.json == "-":
        print(numbers)
        return 0
    if given.json is not None:
        with writing(given.json, given.overwrite) as aside:
            aside.write_text(numbers + "\n", encoding="utf-8")
    print(text(rows))
    return 0


def describe(name: str) -> dict[str, Any]:
    """One entry of the zoo: what its recipe, its card and the head of its weights say.

    The card is a Markdown file that may begin with ``data`` and ``license`` between two lines of ``---``.
    """
    from meshdisent.training.recipe import read_values

    folder, weights = zoo_folder() / name, find_zoo_weights(name)
    recipe = read_values(folder / "recipe.yaml")[0] if (folder / "recipe.yaml").is_file() else {}
    card = front_matter(folder / "card.md")
    return {
        "name": name,
        "class": recipe.get("model"),
        "what": recipe.get("description", ""),
        "data": card.get("data"),
        "license": card.get("license"),
        "has_weights": weights is not None,
        "bytes": weights.stat().st_size if weights is not None else None,
        "figures_mm": figures(weights, "E_") if weights is not None else {},
        "depth": figures(weights, "SIDE", "MAD") if weights is not None else {},
        "named_expressions": named_expression_count(weights) if weights is not None else 0,
        "variants": zoo_variants(name),
    }


def front_matter(path: Path) -> dict[str, Any]:
    """Keys at the top of a card; none if it has no such block."""
    from meshdisent.training.typed_yaml import parse_yaml

    if not path.is_file():
        return {}
    opening, _, rest = path.read_text(encoding="utf-8").partition("\n")
    block, closing, _ = rest.partition("\n---")
    if opening.strip() != "---" or not closing:
        return {}
    values = parse_yaml(block, str(path))
    return values if isinstance(values, dict) else {}


def figures(weights: Path, *beginnings: str) -> dict[str, float]:
    """Mean figures that stand in the head of a model file: E_... in mm, SIDE times 100, MAD in degrees."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="np") as file:
            metrics = json.loads((file.metadata() or {}).get("card", "{}")).get("metrics", {})
    except (SafetensorError, ValueError):
        return {}
    found = {name: _mean(value) for name, value in metrics.items() if name.startswith(beginnings)}
    return {name: value for name, value in found.items() if value is not None}


def named_expression_count(weights: Path) -> int:
    """How many expressions a model file has under names; its head tells, no weight is read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="np") as file:
            return sum(name.startswith("expressions/") for name in file.keys())  # noqa: SIM118 - not a dict
    except SafetensorError:
        return 0


def text(rows: list[dict[str, Any]]) -> str:
    """A table, a line for each entry and one below it for what it is."""
    lines = []
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        size = f"{row['bytes'] / 1e6:.1f} MB" if row["has_weights"] else "recipe"
        shown = ", ".join(f"{name} {value:.2f}" for name, value in row["figures_mm"].items())
        depth = ", ".join(f"{name} {value:.2f}{_UNITS[name]}" for name, value in row["depth"].items())
        count = len(row["variants"])
        variants = f"{count} variant{'s' * (count > 1)}" if count else None
        shapes = row["named_expressions"]
        named = f"{shapes} named expression{'s' * (shapes > 1)}" if shapes else None
        facts = [size, row["data"], row["license"], f"{shown} mm" if shown else None, depth or None, named, variants]
        lines.append(f"{row['name']:{width}}  {', '.join(str(fact) for fact in facts if fact)}")
        if row["what"]:
            lines.append(f"{'':{width}}  {' '.join(str(row['what']).split())}")
    lines.append("")
    lines.append("Train one: meshdisent train NAME --data faces.h5 --out run")
    return "\n".join(lines)


_UNITS = {"SIDE": "e-2", "MAD": " degrees"}


def _mean(value: Any) -> float | None:
    """The mean of a figure: training keeps a number, evaluation a summary, spreads two variants of one."""
    if isinstance(value, dict):
        return _mean(value.get("mean", value.get("b")))
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
