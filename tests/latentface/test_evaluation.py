"""All numbers of one model on one set of pictures: what they are where the answer is known, None where nothing is."""

import json

import numpy as np
import pytest
import torch
from tiny_faces import tiny_config, tiny_images, tiny_recipe

from meshdisent.cli.main import main
from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.data.images.image_labels import ImageLabels, VerificationPairs
from meshdisent.errors import DataError
from meshdisent.latentface.evaluation import (
    depth_figures,
    evaluate_pictures,
    expression_figures,
    feature_kinds,
    person_figures,
    pictures_text,
)
from meshdisent.show.training_report import explained
from meshdisent.training.loop import build, run_recipe

pytest.importorskip("diffusers", reason="needs the extra image (diffusers)")


def colored(subjects=8, sequences=2, frames=4, size=8):
    """Pictures whose red is the subject, whose green is the sequence, and whose blue is the expression."""
    who, take, frame = (a.ravel() for a in np.mgrid[:subjects, :sequences, :frames])
    shown = frame % 2
    pixels = np.stack([30 * who, 80 * take, 200 * shown], 1).astype(np.uint8)
    pixels = np.broadcast_to(pixels[:, None, None], (len(who), size, size, 3)).copy()
    last = subjects - 3
    pairs = VerificationPairs(
        rows=np.array([[0, 4], [1, 9], [2, 6], [3, 11]]),
        is_same=np.array([True, False] * 2),
        fold=np.array([0, 0, 1, 1]),
    )
    labels = ImageLabels.from_names(
        [f"s{k}" for k in who],
        expressions=["rest" if k == 0 else "smile" for k in shown],
        sequences=[f"s{w}/{t}" for w, t in zip(who, take, strict=True)],
        frames=frame.tolist(),
        splits=["train" if k < last - 1 else "val" if k < last else "test" for k in who],
        pairs=pairs,
    )
    return ImageDataset.from_arrays(pixels, labels)


def channel(number):
    return lambda images: images[:, number].mean((1, 2))[:, None] + 0.001 * images[:, :, 0, 0]


def test_features_that_show_the_expression_are_read_and_others_are_not():
    data = colored()
    seen = expression_figures(data, channel(2))
    assert seen["accuracy"] == 1.0
    assert seen["macro_f1"] == 1.0
    assert seen["chosen_on"] == "validation"
    assert np.array(seen["confusion"]).tolist() == [[12, 0], [0, 12]]
    assert seen["chance"] == 0.5
    blind = expression_figures(data, lambda images: torch.ones(len(images), 1) + 0 * images[:, 0, 0, :1])
    assert blind["accuracy"] == 0.5
    assert expression_figures(data, channel(2), published=True)["chosen_on"] == "test"


def test_features_that_show_the_person_find_the_other_sequence():
    data = colored()
    rows = data.rows("test")

    def hue(number):
        """The channel as an angle: the cosine distance looks at directions."""

        def take(images):
            angle = 3 * images[:, number].mean((1, 2))
            return torch.stack([angle.cos(), angle.sin()], 1)

        return take

    found = person_figures(data, rows, hue(0))
    assert found["rate"] == 1.0
    assert found["chance"] == pytest.approx(4 / 20)
    assert person_figures(data, rows, hue(2))["rate"] < 0.7
    assert person_figures(colored(sequences=1), colored(sequences=1).rows("test"), hue(0)) is None


def test_a_perfect_depth_has_no_error_and_the_unknown_is_none():
    known = tiny_images(has_truth=True)
    rows = known.rows("val")
    truth = torch.from_numpy(known.truth("depth", rows))
    perfect = depth_figures(lambda images: truth[: len(images)], known, rows)
    assert perfect["SIDE"]["mean"] < 1e-6
    assert perfect["MAD"]["mean"] < 1e-3
    assert 1 < perfect["MAD_published"]["mean"] < 10  # its normals are too short
    scaled = depth_figures(lambda images: 1.07 * truth[: len(images)], known, rows)
    assert scaled["SIDE"]["mean"] < 1e-5  # the scale does not count
    assert depth_figures(lambda images: truth, tiny_images(), rows) is None


@pytest.fixture(scope="module")
def data():
    """Random pictures with everything: expressions, sequences, pairs, depth."""
    images = tiny_images(sequences=12, frames=4, has_truth=True)
    names = [f"s{k // 2}" for k in range(12) for _ in range(4)]
    fold, is_same = np.repeat([0, 1], 4), np.array([True, False] * 4)
    pairs = VerificationPairs(rows=np.arange(16).reshape(8, 2), is_same=is_same, fold=fold)
    labels = ImageLabels.from_names(
        names,
        expressions=["rest", "smile"] * 24,
        sequences=[f"q{k}" for k in range(12) for _ in range(4)],
        frames=list(range(4)) * 12,
        splits=["train"] * 24 + ["val"] * 8 + ["test"] * 16,
        pairs=pairs,
    )
    truth = {name: images.truth(name) for name in images.truth_names}
    return ImageDataset.from_arrays(images.pixels(), labels, truth=truth)


def test_everything_is_measured_and_repeats(data):
    model = build(tiny_recipe(), data)
    figures = evaluate_pictures(model, data, draws=2)
    again = evaluate_pictures(model, data, draws=2)
    assert json.dumps(figures) == json.dumps(again)
    assert (figures["pictures"], figures["subjects"]) == (16, 2)
    kinds = set(feature_kinds(model))
    assert set(figures["expression"]) == set(figures["person"]) == kinds
    assert {"codes", "texture identity", "shape expression", "identity", "expression"} <= kinds
    assert set(figures["verification"]) == {"linear", "threshold"}
    text = pictures_text(figures)
    assert "depth: SIDE" in text
    assert "person from identity" in text
    published = evaluate_pictures(model, data, published=True)
    assert published["verification"]["linear"]["protocol"] == "linear-published"


def test_what_is_not_known_is_none():
    images = tiny_images(sequences=3)
    labels = ImageLabels.from_names(["a"] * 12, splits=["test"] * 12)
    bare = ImageDataset.from_arrays(images.pixels(), labels)
    model = build(tiny_recipe(), tiny_images())
    figures = evaluate_pictures(model, bare)
    assert [figures[name] for name in ("depth", "expression", "person", "verification")] == [None] * 4
    assert "do not know the truth" in pictures_text(figures)
    with pytest.raises(DataError, match="no test pictures"):
        evaluate_pictures(model, tiny_images())


def test_where_the_truth_has_nothing_its_depth_is_drawn_as_far_as_can_be(monkeypatch):
    images, drawn = tiny_images(has_truth=True), []
    model = build(tiny_recipe(tiny_config("none")), images)
    for outside in (0.0, model.config.scene.farthest):
        depth = images.truth("depth", np.array([0])).copy()
        depth[:, :8] = outside
        monkeypatch.setattr(ImageDataset, "truth", lambda *given, depth=depth: depth)
        drawn.append(explained(model, images, np.array([0])))
        monkeypatch.undo()
    np.testing.assert_array_equal(*drawn)


def test_the_command_prints_and_writes_the_same_figures(data, tmp_path, capsys):
    data.save(tmp_path / "images.h5")
    run_recipe(tiny_recipe(tiny_config("none")), data, tmp_path / "run", progress=False)
    command = ["evaluate-images", str(tmp_path / "run"), "--data", str(tmp_path / "images.h5")]
    assert main([*command, "--json", str(tmp_path / "figures.json")]) == 0
    assert "expression from codes" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures["expression"]) == {"codes"}
    assert figures["verification"] is None
    place = tmp_path / "run" / "evaluation"
    assert json.loads((place / "figures.json").read_text()) == figures
    page = (place / "report.html").read_text()
    assert page.count("data:image/png;base64") == 1
    assert "Expression" in page
    assert "white is 0.9 m from the camera, black 1.1 m, or nothing." in page
    assert (place / "pictures.png").stat().st_size > 1000
    tiny_images(size=64).save(tmp_path / "large.h5")
    assert main([*command[:3], str(tmp_path / "large.h5")]) == 3
    assert "pictures of 64 pixels; the model wants 32" in capsys.readouterr().err
