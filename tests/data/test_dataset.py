"""faces.h5: what is written is read back, by anybody; whatever is broken is refused with a reason."""

import errno
import os
import pickle

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshdisent.data.dataset import DatasetWriter, FullResolution, Labels, ScanDataset, Transforms
from meshdisent.data.faces_file import FORMAT_VERSION
from meshdisent.data.global_heap import endless_text
from meshdisent.errors import DataError, MeshdisentError, UsageError
from meshdisent.mesh.decimation import decimate
from meshdisent.mesh.topology import Topology


@pytest.fixture
def path(tmp_path, dataset):
    dataset.save(tmp_path / "faces.h5")
    return tmp_path / "faces.h5"


def assert_same(first: ScanDataset, second: ScanDataset) -> None:
    assert np.array_equal(first.vertices(), second.vertices())
    for name in ("subjects", "expressions"):
        assert getattr(first, name) == getattr(second, name)
    for name in ("subject", "expression", "frame", "split", "neutral_row"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
        assert getattr(first, name).dtype == getattr(second, name).dtype
    assert np.array_equal(first.topology.template, second.topology.template)
    assert np.array_equal(first.topology.faces, second.topology.faces)
    assert {k: v.tolist() for k, v in first.topology.regions.items()} == {
        k: v.tolist() for k, v in second.topology.regions.items()
    }
    assert (first.truth is None) == (second.truth is None)
    assert first.truth is None or np.array_equal(first.truth, second.truth, equal_nan=True)
    assert first.data_hash == second.data_hash


class TestRoundTrip:
    def test_everything_comes_back(self, dataset, path):
        opened = ScanDataset.open(path)
        assert_same(dataset, opened)
        opened.verify()
        assert opened.attributes == {
            "device": "scanner",
            "rate": 30.0,
            "unit": "mm",
            "axes": "y up, z towards the viewer",
        }
        assert_same(opened, opened.load())

    def test_saving_what_was_opened_gives_the_same_bytes(self, path, tmp_path):
        ScanDataset.open(path).save(tmp_path / "again.h5")
        assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()

    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def test_any_labels_and_coordinates_come_back(self, tmp_path_factory, data):
        count = data.draw(st.integers(1, 6))
        names = st.text(
            st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/"),
            min_size=1,
            max_size=5,
        )
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        scans = ScanDataset.from_arrays(
            rng.normal(size=(count, 4, 3)) * 10.0 ** rng.integers(-30, 30, (count, 4, 3)),
            np.array([[0, 1, 2], [0, 2, 3]]),
            data.draw(st.lists(names, min_size=count, max_size=count)),
            data.draw(st.lists(st.none() | names, min_size=count, max_size=count)),
            frame=data.draw(st.lists(st.integers(-1, 2**40), min_size=count, max_size=count)),
            split=data.draw(
                st.lists(st.sampled_from(["train", "val", "test", "dropped"]), min_size=count, max_size=count)
            ),
        )
        path = tmp_path_factory.mktemp("any") / "faces.h5"
        scans.save(path)
        assert_same(scans, ScanDataset.open(path))

    @settings(max_examples=25, deadline=None)
    @given(rows=st.lists(st.integers(0, 19), max_size=30))
    def test_rows_in_any_order_and_number(self, tmp_path_factory, people, sheet, rows):
        path = tmp_path_factory.getbasetemp() / "rows.h5"
        if not path.exists():
            ScanDataset.from_arrays(people[0], sheet.faces, people[1]).save(path)
        wanted = np.array(rows, np.int64)
        assert np.array_equal(ScanDataset.open(path).vertices(wanted), people[0].astype(np.float32)[wanted])

    def test_h5py_alone_reads_it(self, dataset, path):
        with h5py.File(path) as file:
            assert file.attrs["format"] == "meshdisent.faces"
            assert file.attrs["format_version"] == FORMAT_VERSION == 1
            assert file.attrs["unit"] == "mm"
            assert file["vertices"].chunks == (1, 42, 3)
            assert file["vertices"].dtype == np.float32
            assert np.array_equal(file["vertices"][3], dataset.vertices()[3])
            assert file["subjects"].asstr()[file["subject"][5]] == "person 1"
            assert file["neutral/row"][:].tolist() == [0, 4, 8, 12, 16]
            file.visititems(lambda name, found: refuse_objects(found))

    def test_decimation_and_alignment_can_be_traced(self, tmp_path, sheet, people):
        small = decimate(sheet.vertices, sheet.faces, 20)
        rotation = np.tile(np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]), (20, 1, 1))
        moved = Transforms(np.full(20, 2.0), rotation, np.full((20, 3), 5.0))
        original = small.apply(people[0])
        with DatasetWriter(tmp_path / "small.h5", Topology(small.map @ sheet.vertices, small.faces)) as writer:
            writer.append(2.0 * original @ rotation + 5.0)
            writer.finish(
                Labels.from_names(people[1]),
                transforms=moved,
                full=FullResolution(sheet.vertices, sheet.faces, small.map),
            )
        opened = ScanDataset.open(tmp_path / "small.h5")
        full = opened.full_resolution()
        assert np.array_equal((full.map @ full.template), opened.topology.template)
        assert np.array_equal(full.faces, sheet.faces)
        rows = np.array([17, 3])
        assert np.allclose(opened.original_vertices(rows), original[rows], atol=1e-4)
        opened.save(tmp_path / "copy.h5")
        assert (tmp_path / "copy.h5").read_bytes() == (tmp_path / "small.h5").read_bytes()


def refuse_objects(found: object) -> None:
    assert not isinstance(found, h5py.Dataset) or found.dtype.kind != "O"


class TestQueries:
    def test_splits(self, dataset):
        assert dataset.rows("train").tolist() == list(range(10))
        assert dataset.rows("dropped").tolist() == [10, 11]
        with pytest.raises(DataError, match="no split 'training'; the splits are train, val, test, dropped"):
            dataset.rows("training")
        assert dataset.summary()["splits"]["train"] == {"scans": 10, "subjects": 3}

    def test_neutrals_are_the_true_ones_where_known(self, dataset):
        found, known = dataset.neutrals()
        assert known.all()
        assert np.array_equal(found[[0, 2, 3]], dataset.vertices(np.array([0, 8, 12])))
        assert np.array_equal(found[[1, 4]], dataset.truth[[1, 4]])
        assert np.isnan(dataset.truth[[0, 2, 3]]).all()

    def test_unknown_neutrals_are_nan(self, sheet, people):
        scans = ScanDataset.from_arrays(
            people[0][:3], sheet.faces, ["a", "a", "b"], ["rest", "smile", "smile"], neutral="rest"
        )
        found, known = scans.neutrals()
        assert known.tolist() == [True, False]
        assert np.isnan(found[1]).all()

    def test_scans_are_found_by_name(self, dataset):
        assert dataset.scan("person 2/frown") == 10
        assert dataset.scan("person 4/frown") == dataset.scan("person 4/frown/007") == 18
        assert dataset.names(np.array([10, 18, 19])) == ["person 2/frown", "person 4/frown/7", "person 4/?/8"]

    def test_a_name_that_is_wrong_gets_a_hint(self, dataset):
        with pytest.raises(DataError, match=r"no scan 'person 2/frwn'; wanted .* Did you mean 'person 2/frown'\?"):
            dataset.scan("person 2/frwn")

    def test_a_name_of_several_frames_is_refused(self, sheet, people):
        scans = ScanDataset.from_arrays(people[0][:2], sheet.faces, ["a", "a"], ["smile", "smile"], frame=[3, 4])
        with pytest.raises(DataError, match=r"names 2 scans of the dataset; wanted one, .* such as 'a/smile/3'"):
            scans.scan("a/smile")

    def test_rows_that_do_not_exist(self, dataset):
        for row in (-1, 20):
            with pytest.raises(DataError, match=f"Scan {row} was asked for; the dataset has the rows 0 to 19"):
                dataset.vertices(np.array([3, row]))

    def test_an_open_dataset_travels_to_other_processes(self, path):
        scans = ScanDataset.open(path)
        before = scans.vertices()
        assert np.array_equal(pickle.loads(pickle.dumps(scans)).vertices(), before)

    def test_pytorch_geometric(self, dataset):
        data = dataset.to_pyg(np.array([4, 1]))
        assert np.array_equal(data[0].pos.numpy(), dataset.vertices(np.array([4]))[0])
        assert data[1].subject == 0
        assert data[1].expression == 1
        assert data[0].face.T.tolist() == dataset.topology.faces.tolist()
        assert data[0].edge_index.shape == (2, 2 * len(dataset.topology.edges))


class TestHash:
    @pytest.mark.parametrize(
        "change", ["vertices", "subject", "expression", "split", "frame", "template", "faces", "truth"]
    )
    def test_all_content_counts(self, sheet, people, change):
        given = {
            "vertices": people[0],
            "faces": sheet.faces,
            "subject_names": people[1],
            "expression_names": people[2],
            "template": sheet.vertices,
            "split": ["train"] * 20,
            "frame": [-1] * 20,
            "truth": {"person 0": people[0][0]},
        }
        changed = dict(given)
        changed |= {
            "vertices": {"vertices": people[0] + 1e-4},
            "subject": {"subject_names": [*people[1][:-1], "person 5"]},
            "expression": {"expression_names": [*people[2][:-1], "grin"]},
            "split": {"split": ["train"] * 19 + ["test"]},
            "frame": {"frame": [-1] * 19 + [0]},
            "template": {"template": sheet.vertices + 0.01},
            "faces": {"faces": sheet.faces[:-1]},
            "truth": {"truth": {"person 0": people[0][1]}},
        }[change]
        assert ScanDataset.from_arrays(**given).data_hash != ScanDataset.from_arrays(**changed).data_hash

    def test_storage_does_not_count(self, path, tmp_path):
        with h5py.File(path) as source, h5py.File(tmp_path / "packed.h5", "w") as packed:
            for name in source:
                if name != "vertices":
                    source.copy(name, packed)
            packed.create_dataset("vertices", data=source["vertices"][...], chunks=(5, 20, 3), compression="gzip")
            packed.attrs.update(source.attrs)
        packed = ScanDataset.open(tmp_path / "packed.h5")
        assert packed.data_hash == ScanDataset.open(path).data_hash
        packed.verify()

    def test_changed_coordinates_are_found(self, path):
        with h5py.File(path, "r+") as file:
            file["vertices"][3, 2, 1] += 1
        with pytest.raises(DataError, match="not those that were written"):
            ScanDataset.open(path).verify()


def delete(name):
    def change(file):
        del file[name]

    return change


def replace(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


def attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


def entry(name, index, value):
    def change(file):
        file[name][index] = value

    return change


def soft_link(file):
    file.move("split", "other")
    file["split"] = h5py.SoftLink("/other")


def external_link(file):
    del file["topology"]
    file["topology"] = h5py.ExternalLink("/etc/passwd", "/")


def external_storage(file):
    del file["subject"]
    file.create_dataset("subject", (20,), "i4", external=[("elsewhere.bin", 0, 80)])


def virtual(file):
    del file["subject"]
    layout = h5py.VirtualLayout((20,), "i4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "subject", (20,))
    file.create_virtual_dataset("subject", layout)


def empty_claim(file):
    del file["vertices"]
    file.create_dataset("vertices", (20, 42, 3), "f4", chunks=(1, 42, 3))


BREAKS = {
    "of another format": (attribute("format", "anndata"), "is HDF5 of another kind .format 'anndata'."),
    "without format": (lambda file: file.attrs.__delitem__("format"), "is HDF5 of another kind .format None."),
    "of the future": (attribute("format_version", 2), "format_version 2, written by a later .* Install a newer"),
    "of no version": (attribute("format_version", "one"), "format_version 'one'; wanted a whole number"),
    "in meters": (attribute("unit", "m"), "is in 'm'; wanted millimeters"),
    "without vertices": (delete("vertices"), "has no array vertices"),
    "without template": (delete("topology/template"), "has no array topology/template"),
    "without topology": (delete("topology"), "has no array topology/template"),
    "without neutral": (delete("neutral/row"), "has no array neutral/row"),
    "vertices in the plane": (
        replace("vertices", np.zeros((20, 42, 2), "f4")),
        "vertices is 20x42x2; wanted anyxanyx3",
    ),
    "a scan too few": (replace("subject", np.zeros(19, "i4")), "subject is 19; wanted 20"),
    "a template of another size": (replace("topology/template", np.zeros((41, 3))), "template is 41x3; wanted 42x3"),
    "a scalar": (replace("split", 3), "split is ; wanted 20"),
    "nothing": (replace("split", h5py.Empty("i1")), "split is nothing; wanted 20"),
    "text for numbers": (replace("split", ["train"] * 20), "split holds object; wanted whole numbers"),
    "numbers for text": (replace("subjects", np.zeros(5)), "subjects holds float64; wanted strings"),
    "fractions for indices": (
        replace("topology/faces", np.zeros((60, 3))),
        "faces holds float64; wanted whole numbers",
    ),
    "a subject beyond": (entry("subject", 3, 5), r"subject\[3\] is 5; wanted 0 to 4"),
    "a negative subject": (entry("subject", 3, -1), r"subject\[3\] is -1; wanted 0 to 4"),
    "an expression beyond": (entry("expression", 0, 4), r"expression\[0\] is 4; wanted -1 to 3"),
    "a split beyond": (entry("split", 19, 4), r"split\[19\] is 4; wanted 0 to 3"),
    "a face beyond": (entry("topology/faces", (0, 0), 42), "topology/faces holds the index 42; wanted 0 to 41"),
    "a region beyond": (entry("topology/regions/nose", 0, -2), "regions/nose holds the index -2; wanted 0 to 41"),
    "a neutral of another": (entry("neutral/row", 0, 5), "neutral of subject 'person 0' is a scan of 'person 1'"),
    "a subject twice": (entry("subjects", 1, b"person 0"), "the table subjects holds 'person 0' twice"),
    "a slash in a name": (entry("subjects", 1, b"per/son"), "'per/son' cannot name a subject"),
    "a name that is no text": (entry("subjects", 1, b"\xff\xfe"), "is damaged or cut short"),
    "no hash": (attribute("vertices_hash", "abc"), "vertices_hash is 'abc'; wanted 64 hexadecimal digits"),
    "a coordinate that is no number": (
        entry("vertices", (7, 0, 0), np.nan),
        "scan 7 has a coordinate that is not finite",
    ),
    "an infinite coordinate": (entry("vertices", (0, 41, 2), np.inf), "scan 0 has a coordinate that is not finite"),
    "an infinite template": (
        entry("topology/template", (0, 0), np.inf),
        "topology/template has a value that is not finite",
    ),
    "half a true neutral": (entry("neutral/truth", (1, 0, 0), np.nan), r"neutral/truth\[1\] is finite in part"),
    "a soft link": (soft_link, "split is a link to another place"),
    "an external link": (external_link, "topology/template is a link to another place"),
    "external storage": (external_storage, "the data of subject lie in another file"),
    "a virtual array": (virtual, "the data of subject lie in another file"),
    "a claim without data": (empty_claim, "vertices claims 10080 bytes and stores 0"),
}


class TestBrokenFiles:
    @pytest.mark.parametrize("name", BREAKS)
    def test_is_refused(self, path, name):
        change, message = BREAKS[name]
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises(DataError, match=message) as caught:
            ScanDataset.open(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_group_where_an_array_should_be(self, path):
        with h5py.File(path, "r+") as file:
            del file["subject"]
            file.create_group("subject")
        with pytest.raises(DataError, match="has no array subject"):
            ScanDataset.open(path)

    def test_absent_folder_and_foreign_files(self, tmp_path):
        with pytest.raises(DataError, match=r"faces\.h5 is absent; wanted a file of scans"):
            ScanDataset.open(tmp_path / "faces.h5")
        with pytest.raises(DataError, match="is a folder"):
            ScanDataset.open(tmp_path)
        (tmp_path / "text.h5").write_text("no HDF5")
        with pytest.raises(DataError, match="is no HDF5 file"):
            ScanDataset.open(tmp_path / "text.h5")
        (tmp_path / "empty.h5").touch()
        with pytest.raises(DataError, match="is no HDF5 file"):
            ScanDataset.open(tmp_path / "empty.h5")

    def test_any_cut_is_refused(self, path, tmp_path):
        content = path.read_bytes()
        for k, length in enumerate(np.linspace(0, len(content) - 1, 40).astype(int)):
            cut = tmp_path / f"{k}.h5"  # a new name each time: HDF5 shares what it has open
            cut.write_bytes(content[:length])
            with pytest.raises(DataError):
                ScanDataset.open(cut)

    def test_flipped_bytes_are_refused_or_harmless(self, path, tmp_path):
        content = path.read_bytes()
        rng = np.random.default_rng(0)
        heap = content.index(b"GCOL")  # of the texts: every other byte that is changed is in there
        outcomes = set()
        for k in range(150):
            flipped = bytearray(content)
            flipped[rng.integers(*((0, len(content)) if k % 2 else (heap, heap + 400)))] ^= 1 << rng.integers(8)
            (tmp_path / f"{k}.h5").write_bytes(flipped)
            try:
                scans = ScanDataset.open(tmp_path / f"{k}.h5")
                scans.neutrals(), scans.data_hash
                outcomes.add("harmless")
            except DataError:
                outcomes.add("refused")
        assert outcomes == {"harmless", "refused"}

    def test_a_flipped_coordinate_is_refused(self, path):
        content = bytearray(path.read_bytes())
        first = ScanDataset.open(path).vertices(np.array([9])).tobytes()
        content[content.index(first) + 30] ^= 4
        path.unlink()
        path.write_bytes(content)
        with pytest.raises(DataError, match="is damaged"):
            ScanDataset.open(path)


class TestArrays:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"vertices": np.zeros((0, 42, 3))}, "without scans"),
            ({"subject_names": ["a"]}, "1 subject names for 20 scans"),
            ({"expression_names": ["a"]}, "1 expression names were given for 20 scans"),
            ({"subject_names": [""] * 20}, "'' cannot name a subject"),
            ({"subject_names": ["a/b"] * 20}, "'a/b' cannot name a subject"),
            ({"split": ["learn"] * 20}, "no split 'learn'"),
            ({"template": np.zeros((41, 3))}, "The template has 41 vertices and the scans 42"),
            (
                {"truth": {"nobody": np.zeros((42, 3))}},
                "a true neutral was given for 'nobody', of whom there is no scan",
            ),
            ({"truth": {"person 0": np.zeros((41, 3))}}, r"of 'person 0' is \(41, 3\), or not finite"),
        ],
    )
    def test_bad_arguments(self, sheet, people, change, message):
        given = {"vertices": people[0], "faces": sheet.faces, "subject_names": people[1]} | change
        with pytest.raises(DataError, match=f"(?i){message}"):
            ScanDataset.from_arrays(**given)

    def test_not_finite(self, sheet, people):
        vertices = people[0].copy()
        vertices[11, 3, 2] = np.nan
        with pytest.raises(DataError, match="Scan 11 has a coordinate that is not finite"):
            ScanDataset.from_arrays(vertices, sheet.faces, people[1])


def write(folder, sheet, fill) -> None:
    with DatasetWriter(folder / "faces.h5", Topology(sheet.vertices, sheet.faces)) as writer:
        fill(writer)


class TestWriter:
    def test_leaves_nothing_when_stopped(self, tmp_path, sheet, people):
        def fill(writer):
            writer.append(people[0])
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, sheet, fill)
        assert list(tmp_path.iterdir()) == []

    def test_leaves_nothing_without_finish(self, tmp_path, sheet, people):
        with pytest.raises(RuntimeError, match="without finish"):
            write(tmp_path, sheet, lambda writer: writer.append(people[0]))
        assert list(tmp_path.iterdir()) == []

    def test_keeps_an_existing_file(self, path, dataset):
        before = path.read_bytes()
        with pytest.raises(UsageError, match="exists already"):
            dataset.save(path)
        assert path.read_bytes() == before
        dataset.save(path, overwrite=True)

    def test_a_full_disk_is_said_plainly(self, tmp_path, sheet, people, monkeypatch):
        def fail(*_):
            raise OSError(f"Can't write data (file write failed: errno = {errno.ENOSPC}, 'No space left on device')")

        def fill(writer):
            writer.append(people[0])
            writer.finish(Labels.from_names(people[1]))

        monkeypatch.setattr(DatasetWriter, "_write_topology", fail)
        with pytest.raises(
            MeshdisentError, match=r"faces\.h5 could not be written: No space left on device\. The disk"
        ):
            write(tmp_path, sheet, fill)
        assert os.listdir(tmp_path) == []

    def test_scans_that_are_not_finite_are_refused(self, tmp_path, sheet, people):
        def fill(writer):
            writer.append(people[0])
            writer.append(np.full((1, 42, 3), np.inf))

        with pytest.raises(DataError, match="Scan 20 has a coordinate that is not finite"):
            write(tmp_path, sheet, fill)

    def test_labels_must_match_the_scans(self, tmp_path, sheet, people):
        def fill(writer):
            writer.append(people[0])
            writer.finish(Labels.from_names(people[1][1:]))

        with pytest.raises(DataError, match="19 rows of labels were given for 20 scans"):
            write(tmp_path, sheet, fill)

    def test_attributes_are_single_values(self, tmp_path, dataset):
        dataset.attributes["shape"] = [1, 2]
        with pytest.raises(DataError, match=r"The attribute 'shape' is \[1, 2\]; wanted a string or a number"):
            dataset.save(tmp_path / "faces.h5")


def test_scans_behind_a_cut_are_an_error_not_zeros(path):
    opened = ScanDataset.open(path)
    opened.vertices(np.array([0]))
    with path.open("r+b") as file:
        file.truncate(file.seek(0, 2) - 1)
    with pytest.raises(DataError, match=r"cut short from [0-9,]+ to [0-9,]+ bytes while it was read; wanted"):
        opened.vertices(np.array([0]))


def test_text_whose_lengths_lead_nowhere_is_refused_before_hdf5_follows_them(dataset, tmp_path):
    """libhdf5 would step from the object of length 0 to itself, for good."""
    path = tmp_path / "faces.h5"
    dataset.save(path)
    content = bytearray(path.read_bytes())
    start = content.index(b"GCOL")
    place = start + 16
    while (index := int.from_bytes(content[place : place + 2], "little")) != 0:
        place += 16 + (int.from_bytes(content[place + 8 : place + 16], "little") + 7) // 8 * 8
        assert index < 100
    content[place + 8 : place + 16] = bytes(8)
    path.write_bytes(content)
    assert endless_text(path) == start, "else HDF5 would be asked, which never answers"
    with pytest.raises(DataError, match=f"the text at byte {start} has lengths that do not add up"):
        ScanDataset.open(path)
