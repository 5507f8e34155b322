"""The dense twin of FED's step does the same work as the library, and its operations are counted rightly."""

import copy

import pytest
import small_faces
import torch

from meshdisent.morphable.contract import Batch
from meshdisent.morphable.fed import FED
from meshdisent.morphable.fed_config import DiscriminatorConfig, FEDConfig
from meshdisent.nn.discriminator import DiscriminatorNetworkConfig
from meshdisent.nn.pointnet import PointEncoderConfig
from meshdisent.training.recipe import TrainingConfig
from meshdisent.training.step import Stepper


@pytest.mark.parametrize("is_regularized", [True, False])
def test_two_dense_steps_end_where_ours_do(program, is_regularized):
    scans = small_faces.scans()
    network = DiscriminatorNetworkConfig(channels=(6, 12), hidden=(8, 6))
    config = FEDConfig(
        identity_size=3,
        expression_size=2,
        encoder=PointEncoderConfig(channels=(8, 16)),
        hidden=(8,),
        discriminator=DiscriminatorConfig(network=network, is_regularized=is_regularized, pretraining_epochs=0),
    )
    torch.manual_seed(0)
    ours = FED.for_training(config, scans).double().train()
    dense = program("plain_fed").densely(copy.deepcopy(ours))
    rows = scans.rows("train")[:12]
    batch = Batch(
        vertices=torch.from_numpy(scans.vertices(rows)).double(),
        subject=torch.from_numpy(scans.subject[rows]),
        expression=torch.from_numpy(scans.expression[rows]),
        rows=torch.from_numpy(rows),
        partner=torch.from_numpy(scans.vertices(rows[::-1].copy())).double(),
    )
    reports = []
    for model in (ours, dense):
        stepper = Stepper(model, TrainingConfig(steps=2, optimizer="adam", weight_decay=1e-4), model.phases()[-1])
        noise = torch.Generator().manual_seed(1)
        reports.append([stepper.take([batch], noise, 1e-4).terms for _ in range(2)])
    for one, other in zip(*reports, strict=True):
        assert one == pytest.approx(other, rel=1e-8)
    for name, value in ours.encoder.named_buffers():
        torch.testing.assert_close(value, dense.encoder.get_buffer(name), rtol=1e-8, atol=1e-8)


def test_a_full_step_has_920_gflop_in_dense_form(program):
    cases = program("speed_cases")
    model = FED(
        FEDConfig(identity_size=2, expression_size=2),
        small_faces.scans().topology,
        *_made_up_unit(),
    )
    model.discriminator = cases.IdentityDiscriminator(model.config.discriminator.network)
    of_4609 = cases.fed_flops(model, 32) * 4609 / model.topology.vertex_count
    assert of_4609 == pytest.approx(920e9, rel=0.005)
    model.discriminator = None
    assert cases.fed_flops(model, 32) * 4609 / model.topology.vertex_count == pytest.approx(261e9, rel=0.005)


def _made_up_unit():
    from meshdisent.nn.normalization import UnitCoordinates

    return UnitCoordinates(torch.zeros(3), torch.tensor(1.0)), torch.zeros(162, 3)
