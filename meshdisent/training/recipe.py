"""A recipe: everything that decides how a model comes to be, as a tree of typed dataclasses filled from YAML.

``model`` names the class, ``config`` is that class's own configuration, ``training`` says how the loop treats it.
A file may say ``base: NAME`` and then only what differs from that recipe: mappings merge, everything else replaces.
The resolved recipe, with every default written out, lies beside each result and inside each model file.
"""

import dataclasses
import difflib
import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from meshdisent.errors import RecipeError
from meshdisent.training.typed_yaml import fill, parse_yaml, plain, read_yaml, refuse_unknown
from meshdisent.zoo_index import find_zoo_recipe, zoo_names, zoo_variants


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """Which scans make a batch: ``anchors`` random scans, each with ``partners`` other scans of the same subject.

    ``uniform`` draws ``anchors * (1 + partners)`` scans without looking at subjects. ``balance`` is for data of several
    sets (``meshdisent combine``): 0 draws by scans, 1 every set equally often; scans of one set keep their order.
    """

    kind: Literal["identity_aware", "uniform"] = "identity_aware"
    anchors: int = 8
    partners: int = 3
    seed: int = 110
    balance: float = 0.0

    def __post_init__(self) -> None:
        _at_least(self, anchors=1, partners=0, seed=0, balance=0)
        if not self.balance <= 1:
            raise RecipeError(f"balance is {self.balance}; wanted a number from 0 (by scans) to 1 (by sets).")

    @property
    def batch_size(self) -> int:
        """Scans in a full batch."""
        return self.anchors * (1 + self.partners)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the loop trains. It ends after ``steps``, ``epochs`` or ``minutes``, whichever comes first.

    ``epochs`` do not count a phase before the last, such as the pre-training of a discriminator; ``steps`` do.
    ``cosine`` lets the learning rate fall to zero over the steps or, with ``minutes``, over the elapsed training time;
    ``decay`` multiplies it by ``decay`` every ``decay_epochs``. ``adamw`` lets weights decay by themselves, ``adam``
    adds ``weight_decay`` times a weight to its gradient.
    ``watch`` is the validation figure for ``patience`` (validations without a better one before the loop stops) and
    ``keep_best``, by default the first that the model has. Models of scans have E_avd, E_neu, E_neu_kept, E_id, E_dis
    (which needs subject labels alone) and ``sum``, which adds E_avd, E_neu and E_id as far as they are defined.
    ``bfloat16`` keeps weights in float32. Training data of more than ``memory_gigabytes`` (1e9 bytes) are not held in
    memory, but read from the file while training.
    """

    steps: int | None = None
    minutes: float | None = None
    epochs: int | None = None
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["constant", "cosine", "decay"] = "constant"
    decay: float = 0.7
    decay_epochs: int = 50
    warmup_steps: int = 0
    gradient_clip: float | None = None
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    accumulation: int = 1
    checkpoint_minutes: float = 5.0
    validate_steps: int | None = None
    validate_minutes: float | None = 1.0
    validate_scans: int = 1000
    watch: str | None = None
    patience: int | None = None
    keep_best: bool = False
    threads: int | None = None
    memory_gigabytes: float = 2.0

    #: What may differ between a run and its continuation, since it does not decide where the weights go.
    FREE_ON_RESUME: ClassVar[tuple[str, ...]] = ("checkpoint_minutes", "threads", "memory_gigabytes")

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None and self.epochs is None:
            raise RecipeError("neither steps nor minutes is given, nor epochs; wanted one at least, to know the end.")
        _at_least(self, steps=1, epochs=1, decay_epochs=1, warmup_steps=0, accumulation=1)
        _at_least(self, validate_steps=1, validate_scans=1, patience=1, threads=1)
        _above_zero(self, "minutes", "learning_rate", "decay", "gradient_clip", "validate_minutes")
        _at_least(self, weight_decay=0, checkpoint_minutes=0, memory_gigabytes=0)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RecipeError(f"betas is {list(self.betas)}; wanted two numbers from 0 to below 1.")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to train, on which configuration, and how.

    Attributes
    ----------
    model : A name that :func:`meshdisent.morphable.model_file.known_models` knows.
    config : The ``config_class`` of that model.
    training : None for a model that is computed in closed form.
    """

    model: str
    description: str = ""
    seed: int = 0
    config: Any = None
    training: TrainingConfig | None = None

    def __post_init__(self) -> None:
        if self.training is None:
            return
        known = model_class(self.model, "The recipe").watchable
        if self.training.watch is None:
            object.__setattr__(self, "training", dataclasses.replace(self.training, watch=known[0]))
        elif self.training.watch not in known:
            raise RecipeError(
                f"training.watch is {self.training.watch!r}; a {self.model} model has {', '.join(known)}."
            )

    @classmethod
    def default(cls, model: str) -> "Recipe":
        """The zoo's recipe of that name, or the model's own defaults for 30 minutes where the zoo has none.

        Examples
        --------
        >>> Recipe.default("wsdf").training.minutes
        20.0
        """
        if find_zoo_recipe(model) is not None:
            return read_recipe(model)
        kind = model_class(model, "Recipe.default")
        training = TrainingConfig(minutes=30.0) if kind.trainable else None
        return cls(model=model, config=kind.config_class(), training=training)

    @classmethod
    def from_plain(cls, values: dict[str, Any], where: str) -> "Recipe":
        """Fill a recipe from plain values, such as those in a model's card; ``where`` names them in errors."""
        refuse_unknown(values, [f.name for f in dataclasses.fields(cls)], where)
        if not isinstance(values.get("model"), str):
            raise RecipeError(f"{where}: model is {values.get('model')!r}; wanted one of {', '.join(_known_models())}.")
        kind = model_class(values["model"], where)
        training = values.get("training")
        if not kind.trainable and training is not None:
            raise RecipeError(
                f"{where}: training is given, but {values['model']} is computed at once from the scans. "
                "Take the section out."
            )
        heading = fill(_Heading, {k: v for k, v in values.items() if k not in ("config", "training")}, where)
        config = fill(kind.config_class, _section(values, "config"), where, "config")
        training = fill(TrainingConfig, _section(values, "training"), where, "training") if kind.trainable else None
        try:
            return cls(**vars(heading), config=config, training=training)
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from error

    def plain(self) -> dict[str, Any]:
        """Plain values, every default written out; :meth:`from_plain` reads them back."""
        values = plain(self)
        return values if self.training is not None else {k: v for k, v in values.items() if k != "training"}


def read_recipe(path_or_name: str | os.PathLike, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a file or the zoo, then change single keys.

    Parameters
    ----------
    path_or_name : A YAML file, or a name of the zoo; ``NAME/VARIANT`` is a variant of the model NAME.
    overrides : ``"training.steps=200"`` and the like; the value is read as YAML.

    Raises
    ------
    RecipeError : If there is no such recipe, or a key or a value is wrong; the message names file, key and a mend.

    Examples
    --------
    >>> _ = (folder / "longer.yaml").write_text("base: wsdf-quick\\ntraining: {minutes: 5}")
    >>> read_recipe(folder / "longer.yaml").training.minutes
    5.0
    """
    values, where = read_values(_find(path_or_name))
    recipe = Recipe.from_plain(values, where)
    if overrides:
        for override in overrides:
            _set(values, override)
        # Filled once more after all of them: minutes may become null as long as steps are given in the same breath.
        recipe = Recipe.from_plain(values, "--set " + " ".join(overrides))
    return recipe


def read_values(path: Path) -> tuple[dict[str, Any], str]:
    """The plain values of a recipe file with those of its bases beneath, and what to call the file in errors.

    Raises
    ------
    RecipeError : If a file cannot be read, or a base is missing or leads back to a file that was read already.
    """
    files, layers = [path], [read_yaml(path)]
    while "base" in layers[-1]:
        base = _find_base(layers[-1].pop("base"), files[-1])
        if base.resolve() in [file.resolve() for file in files]:
            chain = " -> ".join(map(str, [*files, base]))
            raise RecipeError(f"{path}: its base leads back to where it came from: {chain}. Take one base out.")
        files.append(base)
        layers.append(read_yaml(base))
    values: dict[str, Any] = {}
    for layer in reversed(layers):
        values = _merged(values, layer)
    return values, " based on ".join(map(str, files))


def write_recipe(recipe: Recipe, path: str | os.PathLike, overwrite: bool = False) -> None:
    """Write the resolved recipe: every key, also those left at their defaults."""
    import yaml

    from meshdisent.files import writing

    with writing(path, overwrite) as aside:
        aside.write_text(yaml.safe_dump(recipe.plain(), sort_keys=False, allow_unicode=True), encoding="utf-8")


def differences(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """Paths of the keys whose plain values differ between two recipes.

    Examples
    --------
    >>> differences({"seed": 1, "training": {"steps": 5}}, {"seed": 1, "training": {"steps": 6}})
    ['training.steps']
    """
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{path}{key}.")
        elif a != b or (key in old) != (key in new):
            found.append(f"{path}{key}")
    return found


def model_class(name: str, where: str) -> Any:
    """The class of a model by its name in recipes and model files, imported when asked for."""
    from meshdisent.morphable.model_file import known_models

    models = known_models()
    if name not in models:
        nearest = difflib.get_close_matches(name, models, n=1, cutoff=0.5)
        hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
        raise RecipeError(f"{where}: model is {name!r}. {hint}Known are {', '.join(_known_models())}.")
    module, class_name = models[name]
    return getattr(importlib.import_module(module), class_name)


@dataclass(frozen=True, kw_only=True)
class _Heading:
    """The plain fields of a recipe."""

    model: str
    description: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least(self, seed=0)


def _section(values: dict[str, Any], name: str) -> Any:
    """A section that is absent, or a heading with nothing below it, means its defaults."""
    return {} if values.get(name) is None else values[name]


def _known_models() -> list[str]:
    from meshdisent.morphable.model_file import known_models

    return sorted(known_models())


def _find(path_or_name: str | os.PathLike) -> Path:
    path = Path(path_or_name)
    if path.is_file():
        return path
    found = find_zoo_recipe(str(path_or_name))
    if found is not None:
        return found
    raise RecipeError(f"{path_or_name} is neither a file nor a recipe of the zoo. {_nearest_recipes(path_or_name)}")


def _nearest_recipes(name: str | os.PathLike) -> str:
    """What may have been meant by a name that the zoo does not have."""
    names = zoo_names()
    variants = [variant for model in names for variant in zoo_variants(model)]
    nearest = difflib.get_close_matches(str(name), names + variants, n=1)
    hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
    model = str(name).partition("/")[0]
    if model in names and model != str(name):
        return f"{hint}Variants of {model}: {', '.join(zoo_variants(model)) or 'none'}."
    return f"{hint}Recipes in the zoo: {', '.join(names) or 'none'}."


def _find_base(base: Any, path: Path) -> Path:
    """The file that a recipe's ``base`` means: one beside the recipe, or a recipe of the zoo."""
    if not isinstance(base, str) or not base or Path(base).is_absolute():
        raise RecipeError(f"{path}: base is {base!r}; wanted a name of the zoo, or a file relative to this one.")
    beside = path.parent / base
    found = beside if beside.is_file() else find_zoo_recipe(base)
    if found is None:
        raise RecipeError(
            f"{path}: its base {base} is neither a file beside it nor a recipe of the zoo. {_nearest_recipes(base)}"
        )
    return found


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two trees of plain values: where both have a mapping they merge, everything else above replaces."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _set(values: dict[str, Any], override: str) -> None:
    """Put one ``a.b=value`` into nested plain values."""
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise RecipeError(f"--set {override}: wanted KEY=VALUE, such as --set training.steps=200.")
    *sections, last = key.split(".")
    for depth, section in enumerate(sections):
        if values.get(section) is None:
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise RecipeError(f"--set {override}: {'.'.join(sections[: depth + 1])} is a value, not a section.")
    values[last] = parse_yaml(text, f"--set {override}")


def _at_least(config: Any, **bounds: int | float) -> None:
    for name, bound in bounds.items():
        value = getattr(config, name)
        if value is not None and value < bound:
            raise RecipeError(f"{name} is {value}; wanted at least {bound}.")


def _above_zero(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and value <= 0:
            raise RecipeError(f"{name} is {value}; wanted more than 0.")
