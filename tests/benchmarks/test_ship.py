"""The model file that comes along: half precision, figures, named expressions, and what is refused."""

import sys
from pathlib import Path

import pytest
import torch

from meshdisent import load
from meshdisent.evaluation.protocol import evaluate
from meshdisent.morphable.arkit_codes import ClonedShapes
from meshdisent.morphable.tensor_file import read_tensors

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces


@pytest.fixture
def made(tmp_path):
    """A run folder, a dataset, and true transfers."""
    scans = small_faces.scans()
    scans.save(tmp_path / "faces.h5")
    small_faces.linear(scans).save(tmp_path / "run" / "model.safetensors")
    small_faces.write_pairs(tmp_path / "pairs", [(12, 1, 13, 2), (13, 0, 14, 1)])
    return tmp_path


@pytest.fixture
def room(program, monkeypatch):
    """The program; its clone of ICT-FaceKit is served from memory."""
    room = program("ship")
    moves = {"jawOpen": small_faces.displacement(0, 4), "mouthSmile_L": small_faces.displacement(0, 1)}
    moved = {name: torch.from_numpy(move).float() for name, move in moves.items()}
    shapes = ClonedShapes(torch.from_numpy(small_faces.TEMPLATE).float(), moved, ("pupil",))
    monkeypatch.setattr(room, "read_cloned_shapes", lambda model, clone: shapes)
    return room


def ship(room, folder, *more):
    places = [folder / "run", folder / "clone", folder / "faces.h5", folder / "zoo" / "weights.safetensors"]
    return room.main([str(argument) for argument in (*places, *more)])


def test_the_file_is_in_half_precision_with_names_figures_and_fits(room, made, capsys):
    assert ship(room, made, "--transfer", made / "pairs" / "pairs.csv") == 0
    path = made / "zoo" / "weights.safetensors"
    tensors, head = read_tensors(path)
    assert head["precision"] == "float16"
    assert tensors["state/identity_basis"].dtype == torch.float16
    model, exact = load(path), load(made / "run")
    assert model.named_expressions.keys() == {"jawOpen", "mouthSmile_L"}
    notes = model.card.notes
    assert "/" not in notes["command"]
    assert notes["half_precision_mm"]["mean"] < 0.01
    kept = notes["named_expressions"]
    assert kept["left_out"] == ["pupil"]
    assert kept["shapes"].keys() == model.named_expressions.keys()
    assert kept["shapes"]["jawOpen"]["residual_mm"] < 0.5 * kept["shapes"]["jawOpen"]["size_mm"]
    figures = evaluate(model, small_faces.scans(), ridge_kinds=()).figures
    assert model.card.metrics["E_avd"]["mean"] == pytest.approx(figures["E_avd"]["mean"], rel=1e-5)
    assert model.card.metrics["E_tra"]["kept"]["mean"] > 0
    assert "baselines" not in model.card.metrics
    assert model.card.data_hash == exact.card.data_hash
    said = capsys.readouterr().out
    assert f"{path.stat().st_size:,} bytes" in said
    assert "2 named expressions" in said


def test_what_is_shipped_is_what_was_measured(room, made):
    ship(room, made)
    path = made / "zoo" / "weights.safetensors"
    before = path.read_bytes()
    load(path).save(made / "again", half=True)
    assert (made / "again").read_bytes() == before, "halves stay halves"


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("LARGEST_BYTES", 100, r"The file would take [\d,]+ bytes; wanted at most 100"),
        ("LARGEST_MOVE_MM", 1e-9, r"Half precision moves the faces of .* mm on average; wanted at most 1e-09 mm"),
    ],
)
def test_what_is_too_large_or_too_coarse_is_not_written(room, made, monkeypatch, capsys, limit, value, message):
    monkeypatch.setattr(room, limit, value)
    assert ship(room, made) != 0
    capsys.readouterr()
    places = [made / "run", made / "clone", made / "faces.h5", made / "zoo" / "weights.safetensors"]
    with pytest.raises(room.ModelFileError, match=message):
        room.ship(*places, pairs=None, weight=0.001, overwrite=False)
    assert not (made / "zoo" / "weights.safetensors").exists()


def test_a_file_that_exists_stays_unless_it_may_be_replaced(room, made, capsys):
    ship(room, made)
    capsys.readouterr()
    assert ship(room, made) == 2
    assert "exists" in capsys.readouterr().err
    assert ship(room, made, "--overwrite") == 0
