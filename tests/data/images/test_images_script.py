"""The script beside the data sets makes the dataset that it promises, and names every layout with its crop."""

import re
import runpy
import sys
from pathlib import Path

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.data.images.layouts import IMAGE_LAYOUTS

SCRIPT = Path(__file__).resolve().parents[3] / "data_prep" / "images.py"


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["images.py", *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_the_script_prepares_and_says_what_it_left_out(album, tmp_path, monkeypatch, capsys):
    album("aligned/train_1_aligned.jpg", "aligned/test_1_aligned.jpg")
    album.text("list_patition_label.txt", "train_1.jpg 1", "test_1.jpg 7", "test_2.jpg 7")
    run(monkeypatch, "rafdb", album.root, tmp_path / "raf.h5")
    images = ImageDataset.open(tmp_path / "raf.h5")
    assert (len(images), images.image_size, images.expression.tolist()) == (2, 64, [0, 6])
    said = capsys.readouterr().out
    assert "test_2.jpg: is absent" in said
    assert str(images.summary()) in said


def test_a_crop_and_boxes_may_follow(album, tmp_path, monkeypatch, capsys):
    album("anna/1.jpg")
    boxes = album.text("boxes.csv", "path,left,top,right,bottom", "anna/1.jpg,5,5,30,30")
    run(monkeypatch, "folder", album.root, tmp_path / "a.h5", "detector", boxes)
    assert '"crop": "detector"' in ImageDataset.open(tmp_path / "a.h5").attributes["settings"]
    assert "passed over: 1 other files (.csv)" in capsys.readouterr().out


def test_the_script_names_every_layout_with_its_crop():
    lines = re.findall(r"^    (\w+) +(?:[A-Zac-z].*?) +(\w+)$", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(lines) == {name: layout.crop for name, layout in IMAGE_LAYOUTS.items()}
