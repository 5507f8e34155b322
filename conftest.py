"""Names that the examples in docstrings may use without importing them.

``np``, ``torch``; ``folder``, an empty folder that is thrown away; ``scans``, 18 scans of six spheres who make three
faces, two of them for the test; ``model``, a linear model of them, which also lies in ``folder / "model.safetensors"``;
``quick_recipe``, a WSDF that trains two steps.
"""

import os
import signal

import pytest
from hypothesis import settings

# Drawn inputs come from a fixed seed: a test that fails does so on every machine and every time.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

# Waiting threads must not spin on a busy machine, as in cli/main.py.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and whatever they start, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def example_scans():
    """Eighteen scans on a sphere of 162 vertices, with true neutrals."""
    import numpy as np
    import trimesh

    from meshdisent.data.dataset import ScanDataset

    sphere = trimesh.creation.icosphere(subdivisions=2, radius=80.0)
    random = np.random.default_rng(0)
    people, faces_made = random.normal(0, 2, (6, 162, 3)), random.normal(0, 1, (3, 162, 3))
    faces_made[0] = 0.0
    names, expressions = ["anna", "ben", "cleo", "dan", "eva", "finn"], ["neutral", "smile", "frown"]
    return ScanDataset.from_arrays(
        (sphere.vertices + people[:, None] + faces_made).reshape(18, 162, 3),
        np.asarray(sphere.faces, dtype=np.int64),
        [name for name in names for _ in expressions],
        expressions * 6,
        split=["train"] * 12 + ["test"] * 6,
    )


@pytest.fixture(scope="session")
def example_model(example_scans):
    """A linear model of these scans."""
    from meshdisent.morphable.linear import LinearModel

    return LinearModel.fit(example_scans)


@pytest.fixture(autouse=True)
def _example_names(request):
    if not isinstance(request.node, pytest.DoctestItem):
        return
    import numpy as np
    import torch

    from meshdisent.training.recipe import read_recipe

    names = request.getfixturevalue("doctest_namespace")
    names.update(np=np, torch=torch, folder=request.getfixturevalue("tmp_path"))
    source = "".join(example.source for example in request.node.dtest.examples)
    if "scans" in source or "model" in source:
        names["scans"] = request.getfixturevalue("example_scans")
    if "model" in source:
        names["model"] = request.getfixturevalue("example_model")
        sizes = ["config.identity_size=4", "config.expression_size=2"]
        names["quick_recipe"] = read_recipe("wsdf-quick", ["training.minutes=null", "training.steps=2", *sizes])
        names["model"].save(names["folder"] / "model.safetensors")
