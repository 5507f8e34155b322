"""images.h5: what is written is read, in any order, from threads; what is no such file is refused in one line."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.data.images.image_file import FORMAT_VERSION, read_rows
from meshdisent.data.images.image_labels import ImageLabels, VerificationPairs
from meshdisent.data.images.image_writer import ImageWriter
from meshdisent.errors import DataError, MeshdisentError, UsageError


@pytest.fixture
def path(dataset, tmp_path):
    dataset.save(tmp_path / "images.h5")
    return tmp_path / "images.h5"


class TestRead:
    def test_everything_comes_back_as_it_was(self, dataset, path):
        stored = ImageDataset.open(path)
        assert len(stored) == 7
        assert (stored.image_size, stored.subjects, stored.expressions) == (
            6, ("anna", "jörg"), ("neutral", "smile", "never seen"),
        )  # fmt: skip
        for name in ("subject", "expression", "sequence", "frame", "split"):
            assert getattr(stored, name).tolist() == getattr(dataset, name).tolist()
        assert stored.expression.tolist() == [1, -1, 0, 1, -1, -1, 1]
        assert stored.sequences == ("anna/a", "jörg/b")
        assert stored.pairs.rows.tolist() == [[0, 1], [0, 2], [2, 4]]
        assert stored.pairs.is_same.tolist() == [True, False, True]
        assert stored.pairs.fold.tolist() == [0, 0, 1]
        assert np.array_equal(stored.pixels(), dataset.pixels())
        assert set(stored.truth_names) == set(dataset.truth_names)
        for name in dataset.truth_names:
            assert np.array_equal(stored.truth(name), dataset.truth(name))
            assert stored.truth(name).dtype == dataset.truth(name).dtype
        assert stored.attributes["camera"] == "kitchen"
        assert stored.attributes["made_by"].startswith("meshdisent ")

    def test_the_file_is_plain_numbers_and_text(self, path):
        with h5py.File(path) as file:
            assert file["images"].shape == (7, 6, 6, 3)
            assert file["images"].dtype == np.uint8
            assert file["subjects"][...].tolist() == [b"anna", "jörg".encode()]
            assert file["subject"].dtype == np.int32
            assert file["frame"][...].tolist() == [1, 7, 3, -1, 3, 20, -1]
            assert file["lists/turned"][...].tolist() == [2, 4]
            assert (file.attrs["format"], file.attrs["image_size"]) == ("meshdisent.images", 6)

    def test_images_are_channels_first_from_0_to_1(self, dataset):
        images = dataset.images(np.array([3]))
        assert images.dtype == np.float32
        assert images.shape == (1, 3, 6, 6)
        assert images[0, 2, 1, 5] == np.float32(dataset.pixels()[3, 1, 5, 2]) / np.float32(255)
        assert images.flags.c_contiguous

    @pytest.mark.parametrize("rows", [[6, 0, 0, 3], [], [1, 2, 3], [0, 6]])
    def test_rows_come_in_the_order_that_was_asked_for(self, dataset, path, rows):
        rows = np.array(rows, np.int64)
        assert np.array_equal(ImageDataset.open(path).pixels(rows), dataset.pixels()[rows])
        assert np.array_equal(ImageDataset.open(path).truth("view", rows), dataset.truth("view")[rows])

    def test_rows_far_apart_and_rows_with_gaps_are_right(self, tmp_path):
        pixels = np.arange(200, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
        ImageDataset.from_arrays(pixels, ImageLabels.from_names(["x"] * 200)).save(tmp_path / "many.h5")
        rows = np.array([199, 3, 5, 4, 9, 8, 50, 52, 0])
        with h5py.File(tmp_path / "many.h5") as file:
            assert read_rows(file, "images", rows, "here")[:, 0, 0, 0].tolist() == rows.tolist()

    def test_rows_that_do_not_exist_are_named(self, dataset):
        with pytest.raises(DataError, match=r"Image 7 was asked for; the dataset has the rows 0 to 6"):
            dataset.images(np.array([0, 7]))
        with pytest.raises(DataError, match=r"Image -1 was asked for"):
            dataset.images(np.array([-1]))

    def test_splits_lists_and_sequences(self, dataset):
        assert dataset.rows("train").tolist() == [0, 1, 5]
        assert dataset.list_rows("turned").tolist() == [2, 4]
        assert dataset.list_rows("nobody").tolist() == []
        assert [rows.tolist() for rows in dataset.sequences_of(np.arange(7))] == [[0, 1, 5], [2, 4]]
        assert [rows.tolist() for rows in dataset.sequences_of(np.array([5, 3, 1]))] == [[1, 5]]
        assert dataset.sequences_of(np.array([3])) == []
        with pytest.raises(DataError, match=r"no list 'pose'; its lists are turned, nobody"):
            dataset.list_rows("pose")
        with pytest.raises(DataError, match=r"no truth 'hair'"):
            dataset.truth("hair")

    def test_threads_read_what_one_reads(self, path):
        stored = ImageDataset.open(path)
        random = np.random.default_rng(0)
        asked = [random.integers(0, 7, 20) for _ in range(60)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(stored.pixels, asked))
        whole = stored.pixels()
        assert all(np.array_equal(part, whole[rows]) for part, rows in zip(found, asked, strict=True))

    def test_it_travels_to_other_processes(self, path):
        stored = ImageDataset.open(path)
        stored.pixels()
        assert np.array_equal(pickle.loads(pickle.dumps(stored)).pixels(), stored.pixels())

    def test_loaded_images_do_not_need_the_file(self, path):
        stored = ImageDataset.open(path).load()
        before = stored.pixels()
        path.unlink()
        assert np.array_equal(stored.pixels(np.array([2, 1])), before[[2, 1]])

    def test_blocks_are_all_rows_in_order(self, dataset):
        rows = np.array([4, 0, 2])
        assert np.array_equal(np.concatenate(list(dataset.in_blocks(rows))), dataset.images(rows))

    def test_the_hash_is_of_the_content_and_not_of_the_place(self, dataset, path, tmp_path):
        stored = ImageDataset.open(path)
        assert stored.data_hash == dataset.data_hash
        assert len(stored.data_hash) == 16
        stored.save(tmp_path / "copy.h5")
        assert ImageDataset.open(tmp_path / "copy.h5").data_hash == dataset.data_hash
        truth = {name: dataset.truth(name) for name in dataset.truth_names}
        changed = dataset.pixels().copy()
        changed[6, 5, 5, 2] ^= 1
        other = [ImageDataset.from_arrays(changed, dataset.labels, truth=truth)]
        truth = {**truth, "light": truth["light"] + np.float32(1)}
        other.append(ImageDataset.from_arrays(dataset.pixels(), dataset.labels, truth=truth))
        assert len({dataset.data_hash, *(images.data_hash for images in other)}) == 3

    def test_verify_finds_a_changed_pixel(self, path):
        ImageDataset.open(path).verify()
        with h5py.File(path, "r+") as file:
            file["images"][3, 0, 0, 0] ^= 1
        with pytest.raises(DataError, match=r"images is not what was written \(its hash differs\)"):
            ImageDataset.open(path).verify()


class TestWrite:
    def test_blocks_make_one_file(self, tmp_path, labels):
        pixels = np.random.default_rng(0).integers(0, 256, (7, 90, 90, 3), np.uint8)
        with ImageWriter(tmp_path / "a.h5", 90) as writer:
            for part in (pixels[:3], pixels[3:3], pixels[3:]):
                writer.append(part)
            writer.finish(labels)
        assert np.array_equal(ImageDataset.open(tmp_path / "a.h5").pixels(), pixels)
        ImageDataset.open(tmp_path / "a.h5").verify()

    def test_nothing_is_left_of_a_file_that_was_not_finished(self, tmp_path):
        with pytest.raises(RuntimeError, match=r"without finish"), ImageWriter(tmp_path / "a.h5", 4) as writer:
            writer.append(np.zeros((1, 4, 4, 3), np.uint8))
        with pytest.raises(ZeroDivisionError), ImageWriter(tmp_path / "a.h5", 4):
            _ = 1 / 0
        assert list(tmp_path.iterdir()) == []

    def test_an_existing_file_stays(self, path):
        before = path.read_bytes()
        with pytest.raises(UsageError, match=r"exists already"), ImageWriter(path, 4):
            pass
        assert path.read_bytes() == before

    def test_blocks_that_do_not_fit_are_refused(self, tmp_path, truth):
        with pytest.raises(DataError, match=r"images of \(5, 4, 3\) were given; wanted \(4, 4, 3\)"):
            self.write(tmp_path, np.zeros((1, 5, 4, 3), np.uint8))
        black = np.zeros((1, 4, 4, 3), np.uint8)
        with pytest.raises(DataError, match=r"has the truths \[\]; wanted \['depth'\]"):
            self.write(tmp_path, black, truth=("depth",))
        with pytest.raises(DataError, match=r"truth 'depth' is \(1, 4, 5\) of float64; wanted \('any', 4, 4\)"):
            self.write(tmp_path, black, {"depth": np.zeros((1, 4, 5))}, ("depth",))
        with pytest.raises(DataError, match=r"truth 'depth' has a value that is not finite"):
            self.write(tmp_path, black, {"depth": np.full((1, 4, 4), np.nan)}, ("depth",))
        with pytest.raises(DataError, match=r"truth 'mask' is \(1, 4, 4\) of float64"):
            self.write(tmp_path, black, {"mask": np.zeros((1, 4, 4))}, ("mask",))
        with pytest.raises(DataError, match=r"2 rows of truth 'light' for 1 images"):
            self.write(tmp_path, black, {"light": np.zeros((2, 4))}, ("light",))
        with pytest.raises(DataError, match=r"There is no truth 'hair'; wanted depth"):
            self.write(tmp_path, black, truth=("hair",))
        with pytest.raises(DataError, match=r"2 rows of labels were given for 1 images"):
            self.write(tmp_path, black, names=["a", "b"])
        with pytest.raises(UsageError, match=r"Images of 0 pixels"):
            ImageWriter(tmp_path / "b.h5", 0)
        with pytest.raises(DataError, match=r"The attribute 'format' is 'x'"):
            ImageWriter(tmp_path / "b.h5", 4, attributes={"format": "x"})
        assert list(tmp_path.iterdir()) == []

    @staticmethod
    def write(folder, pixels, given=None, truth=(), names=("a",)):
        with ImageWriter(folder / "b.h5", 4, truth=truth) as writer:
            writer.append(pixels, given)
            writer.finish(ImageLabels.from_names(list(names)))

    def test_a_second_number_of_vertices_is_refused(self, tmp_path):
        black = np.zeros((1, 4, 4, 3), np.uint8)
        with ImageWriter(tmp_path / "b.h5", 4, truth=("vertices",)) as writer:
            writer.append(black, {"vertices": np.zeros((1, 5, 3))})
            with pytest.raises(DataError, match=r"truth/vertices is \(6, 3\) an image, and \(5, 3\) before"):
                writer.append(black, {"vertices": np.zeros((1, 6, 3))})
            writer.finish(ImageLabels.from_names(["a"]))
        assert ImageDataset.open(tmp_path / "b.h5").truth("vertices").shape == (1, 5, 3)

    def test_arrays_in_memory_are_checked_too(self, labels):
        with pytest.raises(DataError, match=r"wanted squares, and one row each"):
            ImageDataset.from_arrays(np.zeros((7, 4, 5, 3), np.uint8), labels)
        with pytest.raises(DataError, match=r"\[6\] rows and 7 rows of labels"):
            ImageDataset.from_arrays(np.zeros((6, 4, 4, 3), np.uint8), labels)


class TestForeignFiles:
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
    def test_a_file_cut_short_is_one_clear_line(self, path, share):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError) as caught:
            ImageDataset.open(path).pixels()
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)

    def test_a_file_cut_while_it_is_open_is_noticed(self, tmp_path):
        pixels = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8)
        ImageDataset.from_arrays(pixels, ImageLabels.from_names(["x"] * 40)).save(tmp_path / "a.h5")
        stored = ImageDataset.open(tmp_path / "a.h5")
        stored.pixels(np.array([0]))
        with (tmp_path / "a.h5").open("r+b") as file:
            file.truncate(200_000)
        with pytest.raises(DataError, match=r"cut short"):
            stored.pixels()

    def test_what_is_no_such_file_is_told(self, path, tmp_path):
        with pytest.raises(DataError, match=r"is absent; wanted a file of images, images\.h5\. Check the name"):
            ImageDataset.open(tmp_path / "none.h5")
        with pytest.raises(DataError, match=r"is a folder"):
            ImageDataset.open(tmp_path)
        (tmp_path / "text.h5").write_text("hello")
        with pytest.raises(DataError, match=r"is no HDF5 file; wanted a file of images, as prepare_images writes it"):
            ImageDataset.open(tmp_path / "text.h5")
        with h5py.File(tmp_path / "faces.h5", "w") as file:
            file.attrs["format"] = "meshdisent.faces"
        with pytest.raises(DataError, match=r"another kind \(format 'meshdisent\.faces'\); wanted format"):
            ImageDataset.open(tmp_path / "faces.h5")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda f: f.attrs.__setitem__("format_version", FORMAT_VERSION + 1), "written by a later meshdisent"),
            (lambda f: f.attrs.__setitem__("image_size", 7), r"image_size is .*7.*; the images have 6"),
            (lambda f: f.__delitem__("subjects"), "has no array subjects; a file of images must have it"),
            (lambda f: replace(f, "frame", np.zeros(6, np.int32)), "frame is 6; wanted 7"),
            (lambda f: replace(f, "frame", np.array([7, 1, 3, -1, 3, 20, -1])), "image 1 is frame 1 of 'anna/a' and"),
            (lambda f: replace(f, "subject", np.full(7, 2)), r"subject\[0\] is 2; wanted -1 to 1"),
            (lambda f: replace(f, "images", np.zeros((7, 6, 6, 3), np.int16)), "wanted squares of uint8"),
            (lambda f: replace(f, "images", np.zeros((7, 6, 5, 3), np.uint8)), "wanted squares of uint8"),
            (lambda f: replace(f, "lists/turned", np.array([7])), r"lists/turned\[0\] is 7; wanted 0 to 6"),
            (lambda f: replace(f, "pairs", np.full((3, 2), 9)), r"pairs\[0\] is 9; wanted 0 to 6"),
            (lambda f: replace(f, "pair_is_same", np.zeros(2, bool)), "pair_is_same is 2; wanted 3"),
            (lambda f: f.__setitem__("truth/hair", np.zeros(7)), r"has truth/hair; wanted depth"),
            (lambda f: replace(f, "truth/depth", np.zeros((7, 6, 5), np.float32)), "truth/depth is 7x6x5; wanted"),
            (lambda f: link(f, "split"), "split is a link to another place"),
            (lambda f: replace(f, "subjects", np.array([b"anna", b"anna"])), "subjects holds 'anna' twice"),
        ],
    )  # fmt: skip
    def test_arrays_that_do_not_fit_are_named(self, path, change, said):
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises(DataError, match=said):
            ImageDataset.open(path)

    def test_damaged_pixels_are_found_by_their_checksum(self, path):
        with h5py.File(path) as file:
            offset = file["images"].id.get_chunk_info(0).byte_offset
        content = bytearray(path.read_bytes())
        content[offset + 5] ^= 255
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"is damaged or cut short"):
            ImageDataset.open(path).pixels()

    def test_nan_in_a_truth_is_found_when_it_is_read(self, path):
        with h5py.File(path, "r+") as file:
            file["truth/depth"][2, 1, 1] = np.nan
        stored = ImageDataset.open(path)
        assert stored.truth("depth", np.array([0])).shape == (1, 6, 6)
        with pytest.raises(DataError, match=r"truth/depth has a value that is not finite"):
            stored.truth("depth")


class TestLabels:
    def test_a_label_outside_the_table_is_refused(self):
        with pytest.raises(DataError, match=r"'grin' is none of smile"):
            ImageLabels.from_names(["a"], expressions=["grin"], expression_table=["smile"])

    def test_columns_of_other_lengths_are_refused(self):
        with pytest.raises(DataError, match=r"2 frames were given for 1 images"):
            ImageLabels.from_names(["a"], frames=[1, 2])

    def test_pairs_need_one_answer_each(self):
        pairs = VerificationPairs(rows=np.array([[0, 0]]), is_same=np.array([True, True]), fold=np.array([0]))
        with pytest.raises(DataError, match=r"1 pairs, 2 answers and 1 folds"):
            ImageLabels.from_names(["a"], pairs=pairs)

    def test_frames_of_one_sequence_may_lie_apart_but_not_backwards(self):
        ImageLabels.from_names(["a"] * 3, sequences=["s", "t", "s"], frames=[1, 0, 2])
        with pytest.raises(DataError, match=r"image 2 is frame 1 of 's'"):
            ImageLabels.from_names(["a"] * 3, sequences=["s", "t", "s"], frames=[2, 0, 1])

    def test_an_empty_name_is_refused(self):
        with pytest.raises(MeshdisentError, match=r"holds ''; wanted names that are not empty"):
            ImageLabels.from_names([""])


def replace(file, name, values):
    del file[name]
    file[name] = values


def link(file, name):
    del file[name]
    file[name] = h5py.ExternalLink("elsewhere.h5", name)
