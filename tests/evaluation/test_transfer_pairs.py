"""Tables of true transfers: what is read, and what is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sparse

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.data.dataset import FullResolution, Transforms
from meshdisent.errors import DataError, TopologyError
from meshdisent.evaluation.transfer_pairs import TransferPairs
from meshdisent.mesh.mesh import Mesh

PAIRS = [(12, 0, 13, 1), (13, 1, 14, 2)]


@pytest.fixture
def scans():
    return small_faces.scans()


@pytest.fixture
def table(tmp_path):
    return small_faces.write_pairs(tmp_path / "pairs", PAIRS)


def test_rows_and_true_faces_are_read_in_the_order_of_the_table(table, scans):
    pairs = TransferPairs.read(table, scans)
    assert scans.names(pairs.identity) == ["s12/neutral", "s13/smile"]
    assert scans.names(pairs.expression) == ["s13/smile", "s14/grin"]
    expected = [small_faces.PEOPLE[p] + small_faces.displacement(o, e) for p, _, o, e in PAIRS]
    assert pairs.truth == pytest.approx(np.stack(expected), abs=1e-4)


def test_columns_may_stand_in_another_order_after_a_byte_order_mark(table, scans):
    table.write_text("\ufeffexpression,note,identity,truth\ns13/smile,x,s12/neutral,0000.ply\n", encoding="utf-8")
    pairs = TransferPairs.read(table, scans)
    assert scans.names(pairs.identity) + scans.names(pairs.expression) == ["s12/neutral", "s13/smile"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("truth,identity\n0000.ply,s12/neutral\n", "has no expression in its first row; wanted a CSV with the columns"),
        ("truth,identity,expression\n", "has no truth and no identity and no expression"),
        ("truth,identity,expression\n0000.ply,s12/neutral,s13/smile\n0001.ply,s12/neutral\n", "no expression in row 2"),
        ("truth,identity,expression\n,s12/neutral,s13/smile\n", "no truth in row 1"),
        ("truth,identity,expression\n0000.ply,s12/neutral,s13/smyle\n", r"row 1: .*'s13/smyle'.*mean 's13/smile'"),
    ],
)
def test_a_broken_table_is_refused_with_what_is_missing(table, scans, text, message):
    table.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        TransferPairs.read(table, scans)
    assert str(table) in str(caught.value)


def test_a_table_that_is_absent_or_no_text_is_refused(tmp_path, scans):
    with pytest.raises(DataError, match=r"none\.csv could not be read as a table"):
        TransferPairs.read(tmp_path / "none.csv", scans)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match=r"binary\.csv could not be read as a table"):
        TransferPairs.read(tmp_path / "binary.csv", scans)


def test_a_true_face_of_another_topology_is_refused(table, scans):
    Mesh(small_faces.TEMPLATE[:-1], small_faces.FACES[:50]).write(table.parent / "0001.ply", overwrite=True)
    with pytest.raises(TopologyError, match=r"0001\.ply has 161 vertices; topology .* has 162"):
        TransferPairs.read(table, scans)


def test_a_true_face_before_decimation_goes_the_way_of_the_scans(table, scans, monkeypatch):
    """The full mesh has every vertex twice, a little apart; the map takes the middle."""
    count = len(small_faces.TEMPLATE)
    half = sparse.eye_array(count) / 2
    full = FullResolution(np.zeros((2 * count, 3)), small_faces.FACES, sparse.csr_array(sparse.hstack([half, half])))
    monkeypatch.setattr(scans, "full_resolution", lambda: full)
    expected = small_faces.PEOPLE[12] + small_faces.displacement(13, 1)
    Mesh(np.concatenate([expected + 1.0, expected - 1.0]), small_faces.FACES).write(
        table.parent / "0000.ply", overwrite=True
    )
    assert TransferPairs.read(table, scans).truth[0] == pytest.approx(expected, abs=1e-4)


def test_true_faces_move_as_preparation_moved_the_scans_of_the_person(table, scans):
    turn = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    scans.transforms = Transforms.identity(len(scans))
    row = scans.scan("s12/neutral")
    scans.transforms.rotation[row], scans.transforms.translation[row], scans.transforms.scale[row] = turn, [1, 2, 3], 2
    pairs = TransferPairs.read(table, scans)
    expected = small_faces.PEOPLE[12] + small_faces.displacement(13, 1)
    assert pairs.truth[0] == pytest.approx(2 * expected @ turn + [1, 2, 3], abs=1e-3)
    assert pairs.truth[1] == pytest.approx(small_faces.PEOPLE[13] + small_faces.displacement(14, 2), abs=1e-4)
