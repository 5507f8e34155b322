"""Thirty small scans, and a tiny configuration of every model, for all tests of models."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from meshdisent.data.dataset import ScanDataset
from meshdisent.morphable.coma import CoMAConfig
from meshdisent.morphable.fed_config import DiscriminatorConfig, FEDConfig
from meshdisent.morphable.linear import LinearConfig
from meshdisent.morphable.linear_start import LinearStartConfig
from meshdisent.morphable.multilinear import MultilinearConfig
from meshdisent.morphable.wsdf_config import BankConfig, HierarchyConfig, LossConfig, PeopleConfig, WSDFConfig
from meshdisent.nn.chebyshev import ChebyshevEncoderConfig
from meshdisent.nn.discriminator import DiscriminatorNetworkConfig
from meshdisent.nn.pointnet import PointEncoderConfig
from meshdisent.nn.principal_encoder import PrincipalEncoderConfig
from meshdisent.nn.spiral import SpiralEncoderConfig

EXPRESSIONS = ("neutral", "smile", "frown", "open", "pout")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny matrices on several threads take many times as long when other work is going on.

    For whole modules, so that what a module makes once is rounded like what its tests make.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_scans(shapes) -> ScanDataset:
    """Six people with five expressions on a sphere of 162 vertices (mm): four to train, one to validate, one to test.

    People are bumps all over; expressions are bumps on the lower half. True neutrals are known.
    """
    vertices, faces = shapes.sphere(2)
    random = np.random.default_rng(0)
    centers = vertices[random.choice(len(vertices), 8, replace=False)]
    bumps = np.exp(-4 * ((vertices[:, None] - centers) ** 2).sum(axis=2))  # (V, 8)
    is_low = 1 / (1 + np.exp(8 * (vertices[:, 1:2] + 0.3)))  # (V, 1) smooth
    who = random.normal(0, 3, (6, 8)) @ bumps.T  # (6, V)
    what = random.normal(0, 3, (5, 8)) @ (is_low * bumps[:, ::-1]).T
    what[0] = 0.0
    height = who[:, None] + what[None] * random.uniform(0.8, 1.2, (6, 5, 1))
    rest = 80 * vertices + who[..., None] * vertices
    scans = 80 * vertices + height[..., None] * vertices + random.normal(0, 0.02, (6, 5, 162, 3))
    names = [f"person {s}" for s in range(6)]
    return ScanDataset.from_arrays(
        scans.reshape(30, 162, 3),
        faces,
        np.repeat(names, 5).tolist(),
        list(EXPRESSIONS) * 6,
        template=80 * vertices,
        split=["train"] * 20 + ["val"] * 5 + ["test"] * 5,
        truth=dict(zip(names, rest, strict=True)),
    )


@pytest.fixture(scope="session")
def tiny_config() -> dict[str, Any]:
    """A configuration of every model that trains in moments, by the model's name and what is said behind it."""
    wsdf = WSDFConfig(
        identity_size=3,
        expression_size=2,
        fused_size=8,
        hidden=(12,),
        encoder=SpiralEncoderConfig(channels=(4, 6, 8, 8, 8), feature=12),
        hierarchy=HierarchyConfig(factors=(4.0, 4.0)),
    )
    people = dataclasses.replace(
        wsdf,
        encoders="principal",
        principal=PrincipalEncoderConfig(components=20, hidden=(12,)),
        bank=BankConfig(start="mode"),
        loss=LossConfig(space="millimeters", displacement=1.0, consistency=1.0),
        linear_start=LinearStartConfig(
            neutrals="mode", expressions="carried", learned_from="people", networks_change="codes_and_expressions"
        ),
        people=PeopleConfig(share=1.0),
    )
    coma = CoMAConfig(code_size=3, encoder=ChebyshevEncoderConfig(channels=(4, 6), order=3), factors=(4.0, 4.0))
    fed = FEDConfig(
        identity_size=3,
        expression_size=2,
        encoder=PointEncoderConfig(channels=(8, 16)),
        hidden=(12,),
        start="mean_face",
        discriminator=DiscriminatorConfig(network=DiscriminatorNetworkConfig(channels=(6, 12), hidden=(8, 6))),
    )
    return {
        "coma": coma,
        "fed": fed,
        "fed of spirals, recoupled": dataclasses.replace(
            fed, encoders="spiral", spiral=wsdf.encoder, hierarchy=wsdf.hierarchy, decoder="recoupled", fused_size=8
        ),
        "fed of Chebyshev": dataclasses.replace(
            fed, encoders="chebyshev", chebyshev=coma.encoder, hierarchy=wsdf.hierarchy
        ),
        "linear": LinearConfig(identity_size=3, expression_size=2),
        "multilinear": MultilinearConfig(identity_size=3, expression_size=2),
        "wsdf": wsdf,
        "wsdf on people": people,
        "wsdf of points, added": dataclasses.replace(
            wsdf, encoders="point", decoder="additive", point=PointEncoderConfig(channels=(8, 16))
        ),
        "wsdf of Chebyshev, added": dataclasses.replace(
            people,
            encoders="chebyshev",
            decoder="additive",
            chebyshev=ChebyshevEncoderConfig(channels=(4, 6), order=3),
        ),
        "wsdf of Chebyshev": dataclasses.replace(
            wsdf, encoders="chebyshev", chebyshev=ChebyshevEncoderConfig(channels=(4, 6), order=3)
        ),
    }
