"""What a hostile file could use is not there: unpickling, unsafe YAML, shells, and the network."""

import ast
from pathlib import Path

import pytest

from meshdisent.errors import RecipeError

PACKAGE = Path(__file__).parent.parent / "meshdisent"
FILES = sorted([*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "data_prep").rglob("*.py")])

#: Where a name may stand that must not stand anywhere else, and why.
ALLOWED = {
    # Reads names in a pickle, and refuses all that are not arrays before anything is looked up.
    "pickle": {"mesh/array_pickle.py"},
    # Plain tensors only (weights_only), after every name in the pickle was looked at.
    "torch.load": {"morphable/published.py"},
    # Looks for a free port, and listens on this machine.
    "socket": {"show/viewer_server.py"},
    # Its loader is PyYAML's safe one without aliases.
    "yaml.load": {"training/typed_yaml.py"},
}
MODULES = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
NETWORK = {"socket", "urllib", "urllib.request", "http.client", "ftplib", "requests", "httpx", "aiohttp", "smtplib"}


def name(path):
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name


def imported(tree):
    """Modules that a file imports, by their full names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def calls(tree):
    """Functions that a file calls, as they are written, with their keywords."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_is_unpickled_run_or_fetched(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set(imported(tree))
    for module in found & MODULES:
        assert name(path) in ALLOWED.get(module, ()), f"imports {module}"
    for module in found & NETWORK:
        assert name(path) in ALLOWED.get(module, ()), f"imports {module}"
    for function, words in calls(tree):
        if function == "torch.load":
            assert name(path) in ALLOWED["torch.load"]
            assert words.get("weights_only") == "True"
        if function == "yaml.load":
            assert name(path) in ALLOWED["yaml.load"]
            assert words.get("Loader") == "_PlainLoader"
        if function in ("np.load", "numpy.load"):
            assert words.get("allow_pickle", "False") == "False"
        assert function not in ("yaml.unsafe_load", "yaml.full_load", "eval", "exec", "os.system")
        assert words.get("shell") != "True"


def test_the_yaml_loader_is_the_safe_one():
    import yaml

    from meshdisent.training import typed_yaml

    assert issubclass(typed_yaml._PlainLoader, yaml.SafeLoader)
    with pytest.raises(RecipeError, match="not plain YAML"):
        typed_yaml.parse_yaml("a: !!python/object/apply:os.system [id]", "here")


def test_the_test_sees_what_it_looks_for():
    tree = ast.parse("import pickle\nfrom urllib.request import urlopen\ntorch.load(f, weights_only=False)\n")
    assert set(imported(tree)) == {"pickle", "urllib.request"}
    assert list(calls(tree)) == [("torch.load", {"weights_only": "False"})]
