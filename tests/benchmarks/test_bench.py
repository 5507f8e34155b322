"""The speed table: its plain twins do the same work as the library, and its arithmetic is right."""

import copy

import numpy as np
import pytest
import small_faces
import torch

from meshdisent.mesh.published_hierarchy import published_hierarchy
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.contract import Batch
from meshdisent.morphable.wsdf import WSDF
from meshdisent.morphable.wsdf_config import HierarchyConfig, LossConfig, WSDFConfig
from meshdisent.nn.spiral import SpiralEncoderConfig
from meshdisent.training.recipe import TrainingConfig
from meshdisent.training.step import Stepper


@pytest.fixture
def config():
    return WSDFConfig(
        identity_size=4,
        expression_size=3,
        fused_size=6,
        hidden=(16,),
        encoder=SpiralEncoderConfig(channels=(4, 6, 8, 8, 8), feature=10),
        hierarchy=HierarchyConfig(factors=(2.0, 2.0), length=5),
        loss=LossConfig(jacobian_lower=0.5, jacobian_upper=0.6, pairing="published", group=2, compactness=0.1),
    )


def batches(scans, rows):
    subject = torch.from_numpy(scans.subject[rows])
    return Batch(
        vertices=torch.from_numpy(scans.vertices(rows)),
        subject=subject,
        expression=torch.zeros_like(subject),
        rows=torch.from_numpy(rows),
    )


@pytest.fixture
def models(config):
    scans = small_faces.scans()
    torch.manual_seed(0)
    ours = WSDF.for_training(config, scans)
    return scans, ours, copy.deepcopy(ours)


def test_the_plain_step_has_the_terms_gradients_and_bank_of_ours(program, models):
    scans, ours, other = models
    ours, other = ours.double(), other.double()
    plain = program("plain_wsdf").PlainStep(other, 1e-3, 0.0)
    batch = batches(scans, scans.rows("train")[:12])
    batch = Batch(**vars(batch) | {"vertices": batch.vertices.double()})
    noise = ours.draw_noise(12, torch.Generator().manual_seed(0))
    found, expected = ours.objective(batch, noise), plain.terms(batch, noise)
    assert found.keys() == expected.keys()
    assert found["jacobian"] > 0
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.bank.entries, other.bank.entries, rtol=1e-12, atol=1e-12)
    for terms in (found, expected):
        torch.stack(list(terms.values())).sum().backward()
    for (name, one), two in zip(ours.named_parameters(), other.parameters(), strict=True):
        scale = two.grad.abs().max().clamp(min=1.0)
        torch.testing.assert_close(one.grad / scale, two.grad / scale, rtol=1e-8, atol=1e-8, msg=name)


def test_200_steps_reach_the_loss_of_the_plain_formulation(program, models):
    scans, ours, other = models
    training = TrainingConfig(steps=200, learning_rate=1e-3, weight_decay=1e-5)
    plain = program("plain_wsdf").PlainStep(other, training.learning_rate, training.weight_decay)
    stepper = Stepper(ours.train(), training)
    noise = [torch.Generator().manual_seed(3) for _ in range(2)]
    random = np.random.default_rng(0)
    totals = []
    for _ in range(200):
        batch = batches(scans, np.sort(random.choice(scans.rows("train"), 12, replace=False)))
        report = stepper.take([batch], noise[0], training.learning_rate)
        totals.append((report.terms["total"], plain.take(batch, noise[1])))
    first, last = np.mean(totals[:20], axis=0), np.mean(totals[-20:], axis=0)
    assert last[0] < 0.7 * first[0], "the loss has come down"
    assert abs(last[0] / last[1] - 1) < 0.01


def test_the_plain_heap_keeps_what_the_published_one_keeps(program):
    random = np.random.default_rng(2)
    side = np.arange(8)
    x, y = np.meshgrid(side, side)
    vertices = np.stack([x, y, random.normal(0, 0.3, x.shape)], axis=2).reshape(-1, 3).astype(float)
    corner = (x + 8 * y)[:-1, :-1].ravel()
    faces = np.concatenate(
        [np.stack([corner, corner + 1, corner + 9], 1), np.stack([corner, corner + 9, corner + 8], 1)]
    )
    kept, _ = program("plain_decimation").heap_decimation(vertices, faces, 16)
    assert kept.tolist() == published_hierarchy(vertices, faces, [4]).kept[0].tolist()


def test_ratios_limits_and_what_is_not_at_hand_are_told(program):
    measuring, cases, bench = program("speed_measure"), program("speed_cases"), program("bench")
    measuring.ROUNDS, measuring.SECONDS, measuring.MATRIX, measuring.COPIED = 3, 0.0, 64, 1024
    ran = []
    problem = measuring.Problem(
        methods={"ours": lambda: ran.append("ours"), "peer": lambda: ran.append("peer"), "absent": None},
        flops=1e6,
        left_out={"absent": "not installed"},
    )
    case = cases.CASES[0]
    row = measuring.measure(case, problem, "cpu")
    assert ran == ["ours", "peer"] * 4, "one run for the caches, then in turn"
    assert row["limit_seconds"] == pytest.approx(1e6 / (row["matrix_gflops"] * 1e9))
    row["methods"]["ours"] |= {"seconds": 2 * row["limit_seconds"], "peak_bytes": 1.5e9}
    record = {
        "rows": {case.name: row},
        "machine": "2 CPU cores",
        "utc": "2030-01-02T",
        "torch": "9",
        "commit": "a" * 40,
        "is_dirty": False,
    }
    lines = bench.lines_of(record)
    assert any("| ours |" in line and "1.50 GB" in line and "50 %" in line for line in lines)
    assert any("| absent | not installed |" in line for line in lines)


def test_a_method_is_made_by_its_first_call_so_that_memory_is_its_own(program):
    made = []
    ours = program("speed_cases").when_asked(lambda: made.append("model") or (lambda: made.append("step")))
    assert made == []
    ours()
    ours()
    assert made == ["model", "step", "step"]


def test_work_is_counted_layer_by_layer(program, config):
    cases = program("speed_cases")
    topology = Topology(small_faces.scans().topology.template, small_faces.FACES)
    model = cases.wsdf(cases.Recipe(model="wsdf", config=config), topology, "cpu")
    encoder = model.identity_encoder
    sizes = [len(encoder.trunk[stage].conv.spirals) for stage in (0, 2, 4)]
    convolutions = sizes[0] * 5 * 3 * 4 * 2 + 3 * (sizes[1] * 5 * 4 * 6 + sizes[2] * (5 * 6 * 8 + 4 * 5 * 8 * 8))
    heads = 3 * (sizes[2] * 8 * 10 * 2 + 10 * 2 * (4 + 3))
    decoder = 4 * 3 * (6 * 16 + 16 * 3 * topology.vertex_count + 6 * 4 * 3)
    assert cases.step_flops(model, 7) == 2 * 7 * (2 * convolutions + heads + decoder)


def test_a_row_that_does_not_exist_is_named(program, capsys):
    bench = program("bench")
    assert bench.bench(["--only", "nothing", "--ict", "anywhere"]) == 2
    assert "No row begins with nothing; there are wsdf-facescape-4609" in capsys.readouterr().err
