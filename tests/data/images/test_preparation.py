"""From photographs to images.h5: every kind of file that people have, every answer that the report gives."""

import csv
import io

import h5py
import numpy as np
import pytest
from PIL import Image

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.data.images.image_reading import read_photo
from meshdisent.data.images.layouts import CelebaLayout, LfwLayout
from meshdisent.data.images.preparation import prepare_images
from meshdisent.errors import DataError, UsageError


@pytest.fixture
def people(album):
    """Three people, two with frames, one of them numbered without leading zeros; files that are none beside them."""
    album("anna/clip 1/frame_2.jpg", "anna/clip 1/frame_10.jpg", "anna/clip 1/frame_1.JPG", "jörg/1.png", "zoë/b.jpeg")
    album.strays("anna/clip 1", "frame_1.JPG")
    return album


def colors(images):
    return images.pixels()[:, 4, 4].astype(int)


def is_color(found, wanted):
    return np.abs(found - np.array(wanted)).max() <= 4  # JPEG


def test_a_folder_becomes_a_dataset(people, tmp_path):
    result = prepare_images("folder", people.root, tmp_path / "a.h5", size=8)
    images = ImageDataset.open(tmp_path / "a.h5")
    assert images.subjects == ("anna", "jörg", "zoë")
    assert images.sequences == ("anna/clip 1",)
    assert images.frame.tolist() == [1, 2, 10, -1, -1]
    names = [
        "anna/clip 1/frame_1.JPG",
        "anna/clip 1/frame_2.jpg",
        "anna/clip 1/frame_10.jpg",
        "jörg/1.png",
        "zoë/b.jpeg",
    ]
    for found, name in zip(colors(images), names, strict=True):
        assert is_color(found, people.colors[name]), name
    assert (result.images, result.subjects, result.sequences, result.pairs) == (5, 3, 1, 0)
    assert sorted(images.split[[0, 3, 4]].tolist()) == [0, 1, 2]  # one subject each, none in two splits
    assert len(set(images.split[:3].tolist())) == 1
    assert result.splits == {
        name: int((images.split == k).sum()) for k, name in enumerate(("train", "val", "test", "dropped"))
    }
    assert result.passed_over["hidden or macOS side files"] == 3
    assert result.passed_over["other files (.db)"] == 1
    assert result.rejected == ()
    assert images.attributes["layout"] == "folder"
    assert '"crop": "center"' in images.attributes["settings"]


def test_gray_transparent_and_palette_images_are_read_in_color(album, tmp_path):
    album("a/1.jpg", mode="L")
    album("a/2.png", mode="RGBA")
    album("a/3.png", mode="P")
    album("a/4.jpg", mode="CMYK")
    prepare_images("folder", album.root, tmp_path / "a.h5", size=8)
    found = colors(ImageDataset.open(tmp_path / "a.h5"))
    assert len(found) == 4
    assert len(set(found[0])) == 1
    for k, name in ((1, "a/2.png"), (2, "a/3.png")):
        assert np.abs(found[k] - album.colors[name]).max() <= 26  # a palette has steps


def test_a_photo_taken_with_a_turned_camera_is_put_upright(tmp_path):
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = (250, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees to see it upright
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    upright = read_photo(tmp_path / "a.png")
    assert upright.shape == (16, 8, 3)
    assert upright[2, 4].tolist() == [250, 0, 0]
    assert read_photo(tmp_path / "a.png", upright=False).shape == (8, 16, 3)


def test_a_photo_that_is_absent_or_too_large_is_told_as_such(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"absent\.jpg is not there; wanted a photograph\."):
        read_photo(tmp_path / "absent.jpg")
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "large.png")
    for limit in (1000, 100):  # Pillow warns above its limit, and raises above twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(DataError, match=rf"large\.png has more than {limit:,} pixels, which no face needs\. Scale"):
            read_photo(tmp_path / "large.png")


def test_damaged_files_are_passed_over_by_name(people, tmp_path):
    people.cut("anna/clip 1/frame_2.jpg")
    (people.root / "zoë/b.jpeg").write_text("no image")
    (people.root / "zoë/empty.jpg").write_bytes(b"")
    deep = Image.fromarray(np.full((9, 9), 40_000, np.uint16))
    deep.save(people.root / "zoë/deep.png")
    result = prepare_images("folder", people.root, tmp_path / "a.h5", size=8)
    reasons = {r.source.rpartition("/")[2]: r.reason for r in result.rejected}
    assert set(reasons) == {"frame_2.jpg", "b.jpeg", "empty.jpg", "deep.png"}
    assert "is no whole image" in reasons["frame_2.jpg"]
    assert "is no whole image" in reasons["b.jpeg"]
    assert "has the mode I;16; wanted 8 bits" in reasons["deep.png"]
    images = ImageDataset.open(tmp_path / "a.h5")
    assert images.frame.tolist() == [1, 10, -1]
    assert is_color(colors(images)[1], people.colors["anna/clip 1/frame_10.jpg"])
    with open(result.rejected_path, newline="", encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == 5
    with pytest.raises(DataError, match=r"frame_2\.jpg: is no whole image"):
        prepare_images("folder", people.root, tmp_path / "b.h5", size=8, strict=True)
    assert not (tmp_path / "b.h5").exists()


def test_a_list_of_an_earlier_run_goes_away(people, tmp_path):
    people.cut("jörg/1.png")
    prepare_images("folder", people.root, tmp_path / "a.h5", size=8)
    assert (tmp_path / "a.rejected.csv").exists()
    (people.root / "jörg/1.png").unlink()
    prepare_images("folder", people.root, tmp_path / "a.h5", size=8, overwrite=True)
    assert not (tmp_path / "a.rejected.csv").exists()


def test_nothing_usable_leaves_no_file(album, tmp_path):
    album("a/1.jpg")
    album.cut("a/1.jpg")
    with pytest.raises(DataError, match=r"None of 1 images is usable; the first, .*a/1\.jpg: is no whole image"):
        prepare_images("folder", album.root, tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()


def test_workers_change_nothing(album, tmp_path):
    album(*(f"{name}/{k}.jpg" for name in "abc" for k in range(30)), size=(30, 24))
    album.cut("b/7.jpg")
    one = prepare_images("folder", album.root, tmp_path / "one.h5", size=16)
    two = prepare_images("folder", album.root, tmp_path / "two.h5", size=16, workers=2)
    assert ImageDataset.open(tmp_path / "one.h5").data_hash == ImageDataset.open(tmp_path / "two.h5").data_hash
    assert one.rejected == two.rejected
    assert one.images == 89


def test_the_first_subjects_only(people, tmp_path):
    assert prepare_images("folder", people.root, tmp_path / "a.h5", size=8, subjects=2).images == 4
    assert ImageDataset.open(tmp_path / "a.h5").subjects == ("anna", "jörg")
    with pytest.raises(UsageError, match=r"0 subjects were asked for, of 3"):
        prepare_images("folder", people.root, tmp_path / "b.h5", subjects=0)


def test_pairs_follow_the_images_that_are_left(album, tmp_path):
    album(*(f"{name}/{name}_000{k}.jpg" for name in ("Al", "Bo", "Cy") for k in (1, 2)))
    album.text("pairs.txt", "2 1", "Al\t1\t2", "Al\t1\tBo\t1", "Bo\t1\t2", "Cy\t1\tAl\t2")
    album.cut("Bo/Bo_0002.jpg")
    result = prepare_images(LfwLayout(), album.root, tmp_path / "a.h5", size=8)
    images = ImageDataset.open(tmp_path / "a.h5")
    assert images.pairs.rows.tolist() == [[0, 1], [0, 2], [3, 1]]
    assert images.pairs.is_same.tolist() == [True, False, False]
    assert images.pairs.fold.tolist() == [0, 0, 1]
    assert images.subjects == ("Al", "Bo", "Cy")
    assert result.remarks == ("1 of 4 pairs were left out with an image",)
    assert result.pairs == 3
    prepare_images(LfwLayout(), album.root, tmp_path / "b.h5", size=8, subjects=2)
    assert ImageDataset.open(tmp_path / "b.h5").pairs.rows.tolist() == [[0, 1], [0, 2]]


def test_boxes_are_cut_out(tmp_path):
    root = tmp_path / "photos"
    (root / "a").mkdir(parents=True)
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[20:40, 30:50] = (10, 200, 30)
    Image.fromarray(pixels).save(root / "a" / "1.png")
    Image.fromarray(pixels).save(root / "a" / "2.png")
    (tmp_path / "boxes.csv").write_text("path,left,top,right,bottom\na/1.png,30,20,50,40\n")
    result = prepare_images("folder", root, tmp_path / "a.h5", size=10, crop="box", boxes=tmp_path / "boxes.csv")
    assert (ImageDataset.open(tmp_path / "a.h5").pixels() == (10, 200, 30)).all()
    assert [r.reason for r in result.rejected] == ["no box is known; wanted one, or another crop"]
    prepare_images("folder", root, tmp_path / "b.h5", size=22, crop="detector", boxes=tmp_path / "boxes.csv")
    found = ImageDataset.open(tmp_path / "b.h5").pixels()[0]  # 29, 20.65 to 51, 42.65
    assert found[10, 0].tolist() == [0, 0, 0]
    assert found[10, 1].tolist() == [10, 200, 30]
    assert found[18, 10].tolist() == [10, 200, 30]
    assert found[20, 10].tolist() == [0, 0, 0]
    with pytest.raises(UsageError, match=r"and the crop 'whole' needs none"):
        prepare_images("folder", root, tmp_path / "c.h5", crop="whole", boxes=tmp_path / "boxes.csv")
    with pytest.raises(DataError, match=r"The crop 'box' needs a box of each face, and there is none"):
        prepare_images("folder", root, tmp_path / "c.h5", crop="box")
    (tmp_path / "boxes.csv").write_text("path,left,top,right,bottom\na/1.png,30,20,50,x\n")
    with pytest.raises(DataError, match=r"boxes\.csv, line 2: could not convert string to float"):
        prepare_images("folder", root, tmp_path / "c.h5", crop="box", boxes=tmp_path / "boxes.csv")
    (tmp_path / "boxes.csv").write_text("file,x\n")
    with pytest.raises(DataError, match=r"has the columns \['file', 'x'\]; wanted path, left"):
        prepare_images("folder", root, tmp_path / "c.h5", crop="box", boxes=tmp_path / "boxes.csv")


def test_what_cannot_work_is_told_before_anything_is_read(people, tmp_path):
    with pytest.raises(UsageError, match=r"no image layout 'celebb'; .*Did you mean 'celeba'"):
        prepare_images("celebb", people.root, tmp_path / "a.h5")
    with pytest.raises(UsageError, match=r"The crop is 'middle'"):
        prepare_images("folder", people.root, tmp_path / "a.h5", crop="middle")
    with pytest.raises(UsageError, match=r"--workers is 0"):
        prepare_images("folder", people.root, tmp_path / "a.h5", workers=0)
    (tmp_path / "a.h5").write_text("mine")
    with pytest.raises(UsageError, match=r"exists already"):
        prepare_images("folder", people.root, tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_text() == "mine"


def test_the_bar_goes_to_standard_error(people, tmp_path, capsys):
    prepare_images("folder", people.root, tmp_path / "a.h5", size=8, progress=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert "5/5" in said.err


def test_options_of_a_layout_are_kept_in_the_file(album, tmp_path):
    album("img_align_celeba/000001.jpg")
    album.text("list_eval_partition.txt", "000001.jpg 2")
    prepare_images(CelebaLayout(aligned=True), album.root, tmp_path / "a.h5", size=8, crop="center:20")
    images = ImageDataset.open(tmp_path / "a.h5")
    assert '"aligned": true' in images.attributes["settings"]
    assert images.rows("test").tolist() == [0]


def test_a_large_preparation_holds_one_block(album, tmp_path, monkeypatch):
    """The writer gets blocks of 64 images at most, however many there are."""
    from meshdisent.data.images import preparation

    sizes = []
    append = preparation.ImageWriter.append
    monkeypatch.setattr(
        preparation.ImageWriter, "append", lambda self, pixels: (sizes.append(len(pixels)), append(self, pixels))
    )
    names = [f"{name}/{k}.png" for name, count in (("a", 100), ("b", 50)) for k in range(count)]
    album(*names, size=(6, 6))
    album.cut("a/3.png")
    prepare_images("folder", album.root, tmp_path / "a.h5", size=4)
    assert sizes == [63, 64, 22]
    images = ImageDataset.open(tmp_path / "a.h5")
    names.remove("a/3.png")
    assert [images.subjects[k] for k in images.subject] == [name[0] for name in names]
    assert images.pixels()[:, 0, 0].tolist() == [list(album.colors[name]) for name in names]


def test_the_file_is_read_by_h5py_alone(people, tmp_path):
    prepare_images("folder", people.root, tmp_path / "a.h5", size=8)
    with h5py.File(io.BytesIO((tmp_path / "a.h5").read_bytes())) as file:
        assert file["images"].shape == (5, 8, 8, 3)
        assert file["sequence"][...].tolist() == [0, 0, 0, -1, -1]
