"""Training that does not hold its scans: how much is read at a time, and what happens when the file breaks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from meshdisent.data import faces_file
from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError
from meshdisent.morphable.coma import CoMAConfig
from meshdisent.morphable.fed_config import DiscriminatorConfig, FEDConfig
from meshdisent.morphable.wsdf_config import BankConfig, HierarchyConfig, WSDFConfig
from meshdisent.nn.chebyshev import ChebyshevEncoderConfig
from meshdisent.nn.discriminator import DiscriminatorNetworkConfig
from meshdisent.nn.pointnet import PointEncoderConfig
from meshdisent.nn.spiral import SpiralEncoderConfig
from meshdisent.training.loop import run_recipe
from meshdisent.training.recipe import Recipe, SamplerConfig, TrainingConfig

AT_A_TIME = 5

CONFIGS = {
    "wsdf": WSDFConfig(
        identity_size=3,
        expression_size=2,
        fused_size=8,
        hidden=(12,),
        encoder=SpiralEncoderConfig(channels=(4, 6, 8, 8, 8), feature=12),
        hierarchy=HierarchyConfig(factors=(4.0, 4.0)),
        bank=BankConfig(start="mean_scan"),
    ),
    "fed": FEDConfig(
        identity_size=4,
        expression_size=3,
        hidden=(16,),
        encoder=PointEncoderConfig(channels=(8, 16)),
        discriminator=DiscriminatorConfig(
            network=DiscriminatorNetworkConfig(channels=(6, 12), hidden=(8, 6)), pretraining_steps=2
        ),
    ),
    "coma": CoMAConfig(code_size=3, encoder=ChebyshevEncoderConfig(channels=(4, 6), order=3), factors=(4.0, 4.0)),
}
CONFIGS |= {
    "wsdf of points, added": replace(
        CONFIGS["wsdf"], encoders="point", decoder="additive", point=PointEncoderConfig(channels=(8, 16))
    ),
    "wsdf of Chebyshev": replace(CONFIGS["wsdf"], encoders="chebyshev", chebyshev=CONFIGS["coma"].encoder),
    "fed of spirals, recoupled": replace(
        CONFIGS["fed"], encoders="spiral", spiral=CONFIGS["wsdf"].encoder, hierarchy=CONFIGS["wsdf"].hierarchy,
        decoder="recoupled", fused_size=8,
    ),
}  # fmt: skip


@pytest.fixture
def file(shapes, tmp_path):
    """Sixty scans of twelve people on a sphere of 162 vertices, in a file."""
    vertices, faces = shapes.sphere(2)
    random = np.random.default_rng(0)
    people = 80 * vertices + random.normal(0, 2, (12, 162, 3))
    scans = people.repeat(5, axis=0) + random.normal(0, 0.5, (60, 162, 3))
    names = [f"person {number}" for number in range(12)]
    made = ScanDataset.from_arrays(
        scans, faces, np.repeat(names, 5).tolist(), list("nabcd") * 12, template=80 * vertices, neutral="n"
    )
    made.save(tmp_path / "faces.h5")
    return tmp_path / "faces.h5"


def recipe_of(name, **training):
    sampler = SamplerConfig(kind="uniform", anchors=AT_A_TIME // 2, partners=0)
    settings = {"steps": 6, "sampler": sampler, "memory_gigabytes": 0.0} | training
    return Recipe(model=name.partition(" ")[0], config=CONFIGS[name], training=TrainingConfig(**settings))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_few_scans_are_read_at_a_time(name, file, monkeypatch):
    monkeypatch.setattr(faces_file, "_BLOCK_BYTES", AT_A_TIME * 12 * 162)
    counts, read = [], ScanDataset.vertices

    def noted(self, rows=None):
        counts.append(len(self) if rows is None else len(rows))
        return read(self, rows)

    monkeypatch.setattr(ScanDataset, "vertices", noted)
    result = run_recipe(recipe_of(name), ScanDataset.open(file), progress=False)
    assert result.steps >= 6
    own = 5  # scans of a subject, and as many neutrals as there are subjects
    assert max(counts) <= max(AT_A_TIME, own, 12)


def test_a_file_cut_short_while_training_is_named_and_the_checkpoint_goes_on(file, tmp_path, monkeypatch):
    from meshdisent.training import loop as module

    whole = file.read_bytes()
    recipe = recipe_of("wsdf", steps=40, checkpoint_minutes=0.0, validate_minutes=None)
    taken, take_step = [], module.Loop.take_step

    def cut_after_ten(self):
        if len(taken) == 10:
            with file.open("r+b") as opened:
                opened.truncate(len(whole) // 2)
        taken.append(None)
        take_step(self)

    monkeypatch.setattr(module.Loop, "take_step", cut_after_ten)
    with pytest.raises(DataError, match=r"faces\.h5 (has been|is damaged or) cut short .*wanted a whole file"):
        run_recipe(recipe, ScanDataset.open(file), tmp_path / "run", progress=False)
    assert 10 <= len(taken) <= 14, "a few batches were read ahead"
    file.write_bytes(whole)
    monkeypatch.setattr(module.Loop, "take_step", take_step)
    resumed = run_recipe(recipe, ScanDataset.open(file), tmp_path / "run", resume=True, progress=False)
    assert resumed.steps == 40
    straight = run_recipe(recipe, ScanDataset.open(file), tmp_path / "straight", progress=False)
    one, two = resumed.model.state_dict(), straight.model.state_dict()
    assert all(torch.equal(one[key], two[key]) for key in two)
