"""A part of a dataset as a file of its own: the same scans under the same numbers."""

import numpy as np
import pytest

from meshdisent.data.dataset import DatasetWriter, FullResolution, ScanDataset, Transforms
from meshdisent.data.subset import save_subset
from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.decimation import decimate
from meshdisent.mesh.topology import Topology

ROWS = np.array([5, 4, 11, 0, 18, 17])


def test_a_part_keeps_scans_labels_and_truth_in_the_order_of_the_rows(dataset, tmp_path):
    save_subset(dataset, ROWS, tmp_path / "part.h5")
    part = ScanDataset.open(tmp_path / "part.h5")
    part.verify()
    assert np.array_equal(part.vertices(), dataset.vertices(ROWS))
    assert part.names() == dataset.names(ROWS)
    assert (part.subjects, part.expressions) == (dataset.subjects, dataset.expressions)
    for name in ("subject", "expression", "frame", "split"):
        assert np.array_equal(getattr(part, name), getattr(dataset, name)[ROWS])
    assert np.array_equal(part.truth, dataset.truth, equal_nan=True)
    assert part.attributes["device"] == "scanner"
    assert part.topology.topology_hash == dataset.topology.topology_hash


def test_a_neutral_scan_that_is_left_out_is_unknown(dataset, tmp_path):
    save_subset(dataset, ROWS, tmp_path / "part.h5")
    part = ScanDataset.open(tmp_path / "part.h5")
    assert dataset.neutral_row.tolist() == [0, 4, 8, 12, 16]
    assert part.neutral_row.tolist() == [3, 1, -1, -1, -1]
    assert part.neutrals()[1].tolist() == [True, True, False, False, True], "person 1 and 4 have a true neutral"


def test_all_rows_give_the_same_content(dataset, tmp_path):
    save_subset(dataset, np.arange(len(dataset)), tmp_path / "all.h5")
    assert ScanDataset.open(tmp_path / "all.h5").data_hash == dataset.data_hash


def test_what_was_done_to_the_scans_comes_along(dataset, tmp_path):
    small = decimate(dataset.topology.template, dataset.topology.faces, 20)
    scale = np.arange(1.0, 21.0)
    transforms = Transforms.identity(20)._replace(scale=scale)
    template = small.map @ dataset.topology.template
    with DatasetWriter(tmp_path / "small.h5", Topology(template, small.faces)) as writer:
        writer.append(small.apply(dataset.vertices().astype(np.float64)))
        full = FullResolution(dataset.topology.template, dataset.topology.faces, small.map)
        writer.finish(dataset.labels, transforms=transforms, full=full)
    save_subset(ScanDataset.open(tmp_path / "small.h5"), ROWS, tmp_path / "part.h5")
    part = ScanDataset.open(tmp_path / "part.h5")
    assert np.array_equal(part.transforms.scale, scale[ROWS])
    assert np.array_equal(part.full_resolution().map.toarray(), small.map.toarray())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "A subset of 0 rows was asked for; wanted at least one, and each at most once."),
        ([3, 3], "A subset of 2 rows was asked for; wanted at least one, and each at most once."),
        ([3, 20], "Scan 20 was asked for; the dataset has the rows 0 to 19."),
    ],
)
def test_rows_that_cannot_be_are_refused(dataset, tmp_path, rows, message):
    with pytest.raises(DataError) as caught:
        save_subset(dataset, np.array(rows, np.int64), tmp_path / "part.h5")
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_is_not_replaced_unasked(dataset, tmp_path):
    save_subset(dataset, ROWS, tmp_path / "part.h5")
    with pytest.raises(UsageError, match="exists already"):
        save_subset(dataset, ROWS, tmp_path / "part.h5")
    save_subset(dataset, ROWS[:1], tmp_path / "part.h5", overwrite=True)
    assert len(ScanDataset.open(tmp_path / "part.h5")) == 1
