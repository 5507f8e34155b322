"""The layout ``d3dfacs``: sequences named by action units, thinned if asked for."""

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.layouts import D3dfacsLayout
from meshdisent.data.preparation import prepare
from meshdisent.errors import DataError, UsageError


@pytest.fixture
def small(plant):
    for subject, sequence in (("Joe", "1+2+L"), ("Joe", "10"), ("Joe", "9"), ("Ádám ß", "1+2+L")):
        plant(
            *(f"D3DFACS_alignments/{subject}/{sequence}/{sequence}.{k:03d}.ply" for k in (1, 2, 4, 9)), unit_mm=1000.0
        )
    plant.strays("D3DFACS_alignments/Joe/10", "10.001.ply")
    return plant


def test_sequences_sort_by_number_and_may_be_thinned(small, shown):
    listing = D3dfacsLayout(raw=(small.raw,), every=2, truth="none").find()
    assert shown(listing) == [
        f"{subject}/{sequence}/{k}"
        for subject, sequence in (("Joe", "1+2+L"), ("Joe", "9"), ("Joe", "10"), ("Ádám ß", "1+2+L"))
        for k in (1, 4)
    ]
    assert listing.remarks == (
        "2 subjects, 4 sequences and 16 frames are there; the published data have 10, 519 and 46903",
    )


def test_from_files_to_a_dataset(small, tmp_path):
    layout = D3dfacsLayout(raw=(small.raw,), subjects=1)
    result = prepare(layout, tmp_path / "faces.h5", split_by="extrapolation:9", align="none", drop=0.0)
    assert (result.scans, result.neutrals, result.splits["test"]) == (12, 1, 4)
    scans = ScanDataset.open(tmp_path / "faces.h5")
    row = np.array([scans.scan("Joe/10/9")])
    expected = small.vertices["D3DFACS_alignments/Joe/10/10.009.ply"]
    assert np.allclose(scans.vertices(row)[0], expected, atol=1e-4)
    firsts = [small.vertices[f"D3DFACS_alignments/Joe/{name}/{name}.001.ply"] for name in ("1+2+L", "9", "10")]
    assert np.abs(scans.neutrals()[0][0] - np.mean(firsts, axis=0)).max() < 1.5


def test_arguments_and_other_folders(tmp_path):
    with pytest.raises(UsageError, match="got every 0; wanted at least 1"):
        D3dfacsLayout(raw=(tmp_path,), every=0)
    with pytest.raises(DataError, match=r"holds no scan \(nothing\); wanted SUBJECT/SEQUENCE/SEQUENCE"):
        D3dfacsLayout(raw=(tmp_path,)).find()
