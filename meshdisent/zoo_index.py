"""Finds recipes and weights of the zoo by name, in an installed package and in a checkout alike.

The folder ``models/`` of the project is installed as ``meshdisent/zoo``: NAME/recipe.yaml, NAME/card.md, for small
models NAME/weights.safetensors, and NAME/variants/VARIANT.yaml for recipes called NAME/VARIANT.
"""

from pathlib import Path


def zoo_folder() -> Path:
    """The folder that holds one folder a model."""
    package = Path(__file__).resolve().parent
    installed = package / "zoo"
    return installed if installed.is_dir() else package.parent / "models"


def zoo_names(with_weights: bool = False) -> list[str]:
    """Names in the zoo, in alphabetical order."""
    wanted = "weights.safetensors" if with_weights else "recipe.yaml"
    return sorted(folder.parent.name for folder in zoo_folder().glob(f"*/{wanted}"))


def find_zoo_weights(name: str) -> Path | None:
    """The weights of a zoo model, or None."""
    return zoo_folder() / name / "weights.safetensors" if name in zoo_names(with_weights=True) else None


def find_zoo_recipe(name: str) -> Path | None:
    """The recipe of a zoo model, or of one of its variants (NAME/VARIANT), or None.

    Only names that the zoo itself lists are found, so that no name can lead out of its folder.
    """
    model, slash, variant = name.partition("/")
    if not slash:
        return zoo_folder() / name / "recipe.yaml" if name in zoo_names() else None
    return zoo_folder() / model / "variants" / f"{variant}.yaml" if name in zoo_variants(model) else None


def zoo_variants(name: str) -> list[str]:
    """Names NAME/VARIANT of a model's variants, in alphabetical order; none if there is no such model.

    Examples
    --------
    >>> zoo_variants("wsdf-published")[0]
    'wsdf-published/bank'
    """
    if name not in zoo_names():
        return []
    return sorted(f"{name}/{file.stem}" for file in (zoo_folder() / name / "variants").glob("*.yaml"))
