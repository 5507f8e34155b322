"""The model of real faces that comes along: usable by name, and as good as its card says on a part of ICT-300."""

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from meshdisent import ScanDataset, load
from meshdisent.cli.main import main
from meshdisent.editing import express, sample
from meshdisent.evaluation.protocol import evaluate
from meshdisent.evaluation.transfer_pairs import TransferPairs
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.openings import find_openings
from meshdisent.zoo_index import find_zoo_weights, zoo_folder

NAME = "wsdf-ict"
LARGEST_BYTES = 10_000_000

#: Six of the 90 unseen people, and 30 transfers among them. Their figures are not those of all 90: the bounds, mm, are
#: what was measured here (0.365, 0.423, 0.257, 0.586, 0.446) and 2 %. Whoever ships other weights measures anew.
PEOPLE, TRANSFERS, SEED = range(210, 216), 30, 300
BOUNDS = {"E_avd": 0.37, "E_neu": 0.43, "E_neu_kept": 0.263, "E_tra plain": 0.595, "E_tra kept": 0.455}
#: Leaks by chance: 15 % for who, as many as six people have scans, and 4 % for what.
LEAKS = {"subject_from_expression": 0.25, "expression_from_identity": 0.10}


@pytest.fixture(scope="module")
def weights() -> Path:
    found = find_zoo_weights(NAME)
    if found is None:
        pytest.skip(f"needs models/{NAME}/weights.safetensors, which benchmarks/ship.py writes, and which is absent")
    return found


@pytest.fixture(scope="module")
def model(weights):
    return load(NAME)


@pytest.fixture(scope="module")
def generator(shared) -> ModuleType:
    spec = importlib.util.spec_from_file_location("ict_faces", shared / "protocol" / "ict_faces.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(shared / "data" / "ict-facekit"))
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def part(generator) -> tuple[ScanDataset, TransferPairs]:
    """Some of ICT-300's scans, drawn as the generator draws them, without the other people; and true transfers."""
    faces = generator.IctFaces(1200)
    scans, names = {}, list(generator.EXPRESSIONS)
    for person in PEOPLE:
        random = np.random.default_rng([SEED, person])
        head, maps = faces.subject(random, np.random.default_rng([SEED, person, 1]), 0.6)
        for name, mixture in generator.EXPRESSIONS.items():
            faces.performed[person, name] = faces.perform(mixture, random)
            shown = faces.express(head, maps, faces.performed[person, name])[faces.kept]
            scans[person, name] = (shown + 0.05 * random.standard_normal(shown.shape)).astype(np.float32)
    rows = {key: row for row, key in enumerate(scans)}
    dataset = ScanDataset.from_arrays(
        np.stack(list(scans.values())),
        faces.faces.astype(np.int64),
        [f"{person:04d}" for person in PEOPLE for _ in names],
        names * len(PEOPLE),
        split=["test"] * len(scans),
    )
    drawn = list(faces.transfers(list(PEOPLE), TRANSFERS, SEED))
    pairs = TransferPairs(
        np.array([rows[who, shown] for who, shown, *_ in drawn]),
        np.array([rows[whose, name] for _, _, whose, name, _ in drawn]),
        np.stack([truth for *_, truth in drawn]),
    )
    return dataset, pairs


def test_the_notice_of_ict_facekit_lies_beside_the_weights():
    notice = (zoo_folder() / NAME / "LICENSE-ICT-FaceKit.txt").read_text()
    assert "Copyright (c) 2020 USC Institute for Creative Technologies" in notice
    assert "The above copyright notice and this permission notice shall be included" in notice


def test_the_file_is_small_and_its_card_says_how_it_came_to_be(weights, model):
    assert weights.stat().st_size <= LARGEST_BYTES
    assert (model.identity_size, model.expression_size, model.topology.vertex_count) == (128, 32, 1200)
    assert model.card.notes["half_precision_mm"]["mean"] <= 0.01
    assert model.card.metrics["subjects"] == 90
    assert model.card.metrics["E_tra"] is not None
    assert "baselines" not in model.card.metrics


def test_the_list_of_models_says_what_it_is(weights, capsys):
    assert main(["models"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{NAME} ")]
    assert all(part in line for part in (" MB", "ICT-300", "MIT", "E_avd", "53 named expressions"))


PAGE = Path(__file__).parents[2] / "docs" / "wsdf-ict.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_commands_of_its_page_run(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MESHDISENT_RENDERER", "software")
    lines = [line.partition(" # ")[0] for block in blocks("bash") for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if f" {NAME} " in line and " train " not in line]
    assert len(commands) == 7
    for command in commands:
        arguments = [[str(p) for p in sorted(Path().glob(part))] if "*" in part else [part] for part in command]
        assert main([argument for several in arguments for argument in several]) == 0
    made = {folder.name: len(list(folder.glob("*.ply"))) for folder in tmp_path.iterdir()}
    assert (tmp_path / "faces" / "sheet.png").stat().st_size > 10_000
    assert len(Mesh.read("faces/0001.ply").vertices) == 1200
    assert made == {"faces": 12, "at-rest": 12, "astonished": 12, "moods": 12, "calm": 12, "borrowed": 1, "walk": 9}


def test_the_python_of_its_page_runs(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks("python"):
        exec(compile(block, PAGE.name, "exec"), names)
    assert (tmp_path / "half-a-smile.ply").stat().st_size > 0
    assert len(names["grins"]) == 4


def test_people_are_of_human_size_and_differ(model):
    people = np.stack([mesh.vertices for mesh in sample(model, 4, expression="neutral")])
    width, height, depth = np.ptp(people, axis=1).T
    for size, (least, most) in (
        (width, (160, 230)),
        (height, (240, 340)),
        (depth, (120, 210)),
    ):  # mm, ears and neck too
        assert (size > least).all()
        assert (size < most).all()
    apart = np.linalg.norm(people[:, None] - people[None], axis=3).mean(axis=2)
    assert (apart[~np.eye(4, dtype=bool)] > 2.0).all()
    moved = np.stack([mesh.vertices for mesh in sample(model, 4)])
    assert np.isfinite(moved).all()
    assert (np.linalg.norm(moved - people, axis=2).max(axis=1) < 80).all()


def test_jaw_open_opens_the_mouth_and_nothing_else(model):
    assert len(model.named_expressions) == 53
    rest = express(model, "mean", "jawOpen", strength=0.0)[0]
    moved = express(model, "mean", "jawOpen")[0].vertices - rest.vertices
    rim = find_openings(rest.vertices, rest.faces).mouth
    is_lower = (rest.vertices + moved)[rim, 1] < (rest.vertices + moved)[rim, 1].mean()
    assert moved[rim[is_lower], 1].mean() < -15
    assert moved[rim[~is_lower], 1].mean() > 0.4 * moved[rim[is_lower], 1].mean(), (
        "corners come along, the upper lip not"
    )
    chin = (np.abs(rest.vertices[:, 0]) < 15) & (rest.vertices[:, 1] < -55) & (rest.vertices[:, 2] > 80)
    assert moved[chin, 1].mean() < -5
    assert np.linalg.norm(moved[rest.vertices[:, 1] > 60], axis=1).mean() < 0.5


def test_sides_are_those_of_the_person_and_half_the_strength_is_about_half_the_way(model):
    rest = express(model, "mean", "mouthSmile_L", strength=0.0)[0].vertices
    meshes = express(model, "mean", ["mouthSmile_L", "mouthSmile_R"]) + express(model, "mean", "mouthSmile_L", 0.5)
    left, right, half = (mesh.vertices - rest for mesh in meshes)
    is_left = rest[:, 0] > 5
    for moved, own in ((left, is_left), (right, rest[:, 0] < -5)):
        assert np.linalg.norm(moved[own], axis=1).mean() > 1.3 * np.linalg.norm(moved[~own], axis=1).mean()
    assert np.linalg.norm(half - 0.5 * left, axis=1).mean() < 0.3 * np.linalg.norm(left, axis=1).mean()


def test_unseen_people_are_given_as_well_as_the_card_says(model, part):
    scans, pairs = part
    figures = evaluate(model, scans, transfer=pairs, ridge_kinds=()).figures
    found = {name: figures[name]["mean"] for name in ("E_avd", "E_neu", "E_neu_kept")}
    found |= {f"E_tra {kind}": figures["E_tra"][kind]["mean"] for kind in ("plain", "kept")}
    assert {name: value for name, value in found.items() if value > BOUNDS[name]} == {}
    leaks = {name: value["rate"] for name, value in figures["leak"].items()}
    assert {name: rate for name, rate in leaks.items() if rate > LEAKS[name]} == {}
    assert 0.5 < figures["E_exp"]["b"]["mean"] / figures["E_exp"]["truth"]["b"]["mean"] < 1.2
