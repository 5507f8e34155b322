"""A scan, and points in a picture, are fitted by every kind of morphable model, each through its own decoder."""

import dataclasses

import numpy as np
import pytest
import torch

from meshdisent.fitting.scan import fit_scan
from meshdisent.fitting.scan_points import scan_surface
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.coma import CoMAConfig
from meshdisent.morphable.multilinear import MultilinearConfig, MultilinearModel
from meshdisent.nn.chebyshev import ChebyshevEncoderConfig
from meshdisent.nn.pointnet import PointEncoderConfig
from meshdisent.training.loop import run_recipe
from meshdisent.training.recipe import Recipe, SamplerConfig, TrainingConfig, read_recipe

SHORT = TrainingConfig(
    steps=60, learning_rate=2e-3, sampler=SamplerConfig(kind="uniform", anchors=16, partners=0), threads=1
)


def trained(name, heads, config, training=SHORT):
    return run_recipe(Recipe(model=name, seed=1, config=config, training=training), heads, progress=False).model


def make_wsdf(heads):
    recipe = read_recipe("wsdf-quick", ["training.steps=30", "training.minutes=null"])
    config = dataclasses.replace(recipe.config, identity_size=8, expression_size=5)
    return trained("wsdf", heads, config, dataclasses.replace(recipe.training, threads=1))


def make_fed(heads):
    recipe = read_recipe("fed", ["config.discriminator.is_used=false"])
    config = dataclasses.replace(
        recipe.config, identity_size=8, expression_size=5, encoder=PointEncoderConfig(channels=(16, 64)), hidden=(64,)
    )
    return trained("fed", heads, config)


def make_coma(heads):
    config = CoMAConfig(code_size=8, encoder=ChebyshevEncoderConfig(channels=(8, 16), order=3), factors=(4.0, 4.0))
    return trained("coma", heads, config)


def make_multilinear(heads):
    return MultilinearModel.fit(heads, MultilinearConfig(identity_size=8, expression_size=5))


@pytest.fixture(scope="module", params=[make_wsdf, make_fed, make_coma, make_multilinear])
def model(request, heads):
    return request.param(heads)


def test_a_scan_of_a_part_is_fitted(model, motion, scan_of):
    """Of a face that the model can make; nearer to it than the model's mean face is."""
    with torch.no_grad():
        codes = model.prior().sample(12, torch.Generator().manual_seed(5))
        faces = model.decode(codes).double().numpy()
        mean = model.decode(model.prior().sample(64, torch.Generator().manual_seed(6))).double().mean(0).numpy()
    far = np.linalg.norm(faces - mean, axis=2).mean(axis=1)
    face = faces[far.argmax()]
    points = motion.apply(scan_of(face, model.topology.faces, share=0.5))
    found = fit_scan(model, scan_surface(Mesh(points)), starts=[motion])
    off = np.linalg.norm(found.vertices - motion.apply(face), axis=1).mean()
    assert off < max(0.6 * far.max(), 0.3), (off, far.max())
    assert found.residuals.explained > 0.8
    low, high = found.intervals(0.9)
    assert (high >= low).all()
