"""Every image layout on a tiny tree, with what lies about in such trees and what is wrong in such lists."""

import pytest

from meshdisent.data.images.layouts import (
    IMAGE_LAYOUTS,
    AffectnetLayout,
    Affwild2Layout,
    CelebaLayout,
    ImageFolderLayout,
    ImageLayout,
    LfwLayout,
    RafdbLayout,
    SllfwLayout,
    VoxcelebLayout,
)
from meshdisent.data.images.layouts.affectnet import KEPT_EVERY
from meshdisent.data.images.layouts.recognition import find_images, recognize_images
from meshdisent.errors import DataError, UsageError


def reasons(listing):
    return [f"{r.source}: {r.reason}" for r in listing.rejected]


class TestFolder:
    def test_subjects_sequences_and_frames_in_natural_order(self, album, shown):
        album(
            "ben/2.jpg", "ben/10.jpg", "anna/run/frame_10.jpg", "anna/run/frame_2.jpg", "anna/walk/a.png", "anna/x.jpg"
        )
        album("too/deep/by/one.jpg", "stray.jpg")
        album.strays("ben", "2.jpg")
        listing = ImageFolderLayout().find(album.root)
        assert shown(listing) == [
            "anna/run/frame_2.jpg: anna None anna/run 2 None",
            "anna/run/frame_10.jpg: anna None anna/run 10 None",
            "anna/walk/a.png: anna None anna/walk 0 None",
            "anna/x.jpg: anna None None -1 None",
            "ben/2.jpg: ben None None -1 None",
            "ben/10.jpg: ben None None -1 None",
        ]
        assert listing.passed_over == {
            "hidden or macOS side files": 3,
            "other files (.db)": 1,
            "images outside a subject's folder": 1,
            "images more than two folders deep": 1,
        }

    def test_frames_whose_numbers_repeat_are_numbered_by_place(self, album, shown):
        album("anna/run/a_1.jpg", "anna/run/b_1.jpg")
        assert [r.frame for r in ImageFolderLayout().find(album.root).records] == [0, 1]

    def test_nothing_in_the_right_place(self, album):
        album("1.jpg")
        with pytest.raises(DataError, match=r"holds 1 images, none in a subject's folder"):
            ImageFolderLayout().find(album.root)
        with pytest.raises(DataError, match=r"nowhere is absent; wanted a folder"):
            ImageFolderLayout().find(album.root / "nowhere")
        with pytest.raises(DataError, match=r"1\.jpg is a file"):
            ImageFolderLayout().find(album.root / "1.jpg")
        album.text("other/notes.txt", "hello")
        with pytest.raises(DataError, match=r"holds no image \(1 other files \(\.txt\)\); wanted \.jpg"):
            ImageFolderLayout().find(album.root / "other")


class TestCeleba:
    @pytest.fixture
    def celeba(self, album):
        album(*(f"Img/img_celeba/00000{k}.jpg" for k in (1, 2, 3, 5)), "Img/img_align_celeba/000001.jpg")
        album.text("Eval/list_eval_partition.txt", *(f"00000{k}.jpg {k % 3}" for k in (1, 2, 3, 4)))
        album.text("Anno/identity_CelebA.txt", "000001.jpg 77", "000002.jpg 77", "000003.jpg 5", "000004.jpg 5")
        return album

    def test_the_official_lists(self, celeba, shown):
        celeba.text("list_bbox_celeba.txt", "4", "image_id x_1 y_1 width height", "000001.jpg 95  71 226 313",
                    "000002.jpg 0 0 0 0", "000003.jpg 216 59 91 126")  # fmt: skip
        listing = CelebaLayout().find(celeba.root)
        assert shown(listing) == [
            "Img/img_celeba/000001.jpg: 77 None None -1 val",
            "Img/img_celeba/000002.jpg: 77 None None -1 test",
            "Img/img_celeba/000003.jpg: 5 None None -1 train",
        ]
        assert [record.box for record in listing.records] == [(95, 71, 321, 384), None, (216, 59, 307, 185)]
        assert reasons(listing) == ["000004.jpg: is absent; list_eval_partition.txt names it in line 4"]
        assert listing.passed_over == {
            "images that list_eval_partition.txt does not name": 1,
            "boxes without an area": 1,
        }

    def test_the_crops_of_unsup3d_come_first(self, celeba):
        celeba.text("list_bbox_celeba.txt", "1", "names", "000001.jpg 1 1 5 5")
        celeba.text("celeba_crop_bbox.txt", "000001.jpg 0 -4 7 60 60")
        assert [record.box for record in CelebaLayout().find(celeba.root).records] == [(-4, 7, 56, 67), None, None]

    def test_aligned_images_have_no_box(self, celeba, shown):
        celeba.text("celeba_crop_bbox.txt", "000001.jpg 0 -4 7 60 60")
        listing = CelebaLayout(aligned=True).find(celeba.root)
        assert shown(listing) == ["Img/img_align_celeba/000001.jpg: 77 None None -1 val"]
        assert listing.records[0].box is None

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("000002.jpg 3", r"list_eval_partition\.txt, line 2: the split is '3'; wanted 0 to 2"),
            ("000002.jpg", r"line 2 is '000002\.jpg'; wanted NAME 0\|1\|2"),
            ("000002.jpg one", r"line 2: the split is 'one'"),
        ],
    )
    def test_a_wrong_line_is_named(self, celeba, line, said):
        celeba.text("Eval/list_eval_partition.txt", "000001.jpg 0", line)
        with pytest.raises(DataError, match=said):
            CelebaLayout().find(celeba.root)

    def test_lists_that_are_missing_double_or_no_text(self, celeba):
        path = celeba.text("copy/list_eval_partition.txt", "000001.jpg 0")
        with pytest.raises(DataError, match=r"wanted one list_eval_partition\.txt"):
            CelebaLayout().find(celeba.root)
        path.unlink()
        (celeba.root / "Eval/list_eval_partition.txt").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(DataError, match=r"cannot be read \(no UTF-8\)"):
            CelebaLayout().find(celeba.root)
        (celeba.root / "Eval/list_eval_partition.txt").unlink()
        with pytest.raises(DataError, match=r"has no list_eval_partition\.txt; wanted it anywhere in the folder"):
            CelebaLayout().find(celeba.root)


class TestVoxceleb:
    @pytest.fixture
    def voxceleb(self, album):
        for who in ("id10001", "id10002", "id10003", "id10004"):
            album(*(f"dev/{who}/1zcIwhmdeo4/0000{c}/frame_{k}.jpg" for c in (1, 2) for k in (10, 2, 1)))
        return album

    def test_clips_are_sequences_and_speakers_subjects(self, voxceleb, shown):
        voxceleb("dev/readme.jpg")
        listing = VoxcelebLayout(training_share=1.0).find(voxceleb.root)
        assert len(listing.records) == 24
        assert shown(listing)[:4] == [
            f"dev/id10001/1zcIwhmdeo4/0000{c}/frame_{k}.jpg: id10001 None id10001/1zcIwhmdeo4/0000{c} {k} train"
            for c, k in ((1, 1), (1, 2), (1, 10), (2, 1))
        ]
        assert listing.passed_over == {"images outside a clip's folder": 1}

    def test_the_root_may_be_the_folder_of_the_speakers_or_above(self, voxceleb):
        for root in (voxceleb.root, voxceleb.root / "dev"):
            assert VoxcelebLayout().find(root).records[0].sequence == "id10001/1zcIwhmdeo4/00001"

    def test_speakers_are_split_by_list_or_by_share(self, voxceleb, tmp_path):
        names = tmp_path / "train.txt"
        names.write_text("id10003\nid10001\nid99999\n")
        listing = VoxcelebLayout(training=names).find(voxceleb.root)
        assert {r.subject for r in listing.records if r.split == "train"} == {"id10001", "id10003"}
        assert {r.subject for r in listing.records if r.split == "test"} == {"id10002", "id10004"}
        assert listing.remarks == ("1 of 3 training speakers are absent: id99999",)
        names.write_text("anna\n")
        with pytest.raises(DataError, match=r"names anna, of whom there are no frames; the speakers are id10001"):
            VoxcelebLayout(training=names).find(voxceleb.root)
        listings = [VoxcelebLayout(training_share=0.5, seed=seed).find(voxceleb.root) for seed in (0, 0, 1, 2, 3)]
        drawn = [{r.subject for r in listing.records if r.split == "train"} for listing in listings]
        assert drawn[0] == drawn[1]
        assert {len(names) for names in drawn} == {2}
        assert len(set(map(frozenset, drawn))) > 1
        assert VoxcelebLayout().training_share * 1251 == 1147

    def test_every_few_frames(self, voxceleb):
        assert [r.frame for r in VoxcelebLayout(every=2).find(voxceleb.root).records[:4]] == [1, 10, 1, 10]
        with pytest.raises(UsageError, match=r"every 0"):
            VoxcelebLayout(every=0)

    def test_frames_that_are_no_clips(self, album):
        album("anna/1.jpg")
        with pytest.raises(DataError, match=r"holds no frame of a clip; wanted ID/VIDEO/CLIP"):
            VoxcelebLayout().find(album.root)


class TestRafdb:
    def test_labels_minus_one_and_splits_by_name(self, album, shown):
        album("aligned/train_00001_aligned.jpg", "aligned/test_0002_aligned.jpg", "original/train_00001.jpg",
              "original/train_00003.jpg", "aligned/train_9_aligned.jpg")  # fmt: skip
        album.text(
            "list_patition_label.txt", "train_00001.jpg 5", "test_0002.jpg 7", "train_00003.jpg 1", "test_4.jpg 2"
        )
        listing = RafdbLayout().find(album.root)
        assert shown(listing) == [
            "aligned/train_00001_aligned.jpg: None sadness None -1 train",
            "aligned/test_0002_aligned.jpg: None neutral None -1 test",
            "original/train_00003.jpg: None surprise None -1 train",
        ]
        assert listing.expressions == ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
        assert reasons(listing) == ["test_4.jpg: is absent; list_patition_label.txt names it in line 4"]
        assert listing.passed_over == {"images that list_patition_label.txt does not name": 1}

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("train_1.jpg 8", r"list_patition_label\.txt, line 2: the label is '8'; wanted 1 to 7"),
            ("train_1.jpg 0", r"line 2: the label is '0'"),
            ("valid_1.jpg 3", r"line 2: the image is 'valid_1\.jpg'; wanted train_NUMBER or test_NUMBER"),
        ],
    )
    def test_wrong_rows_are_named(self, album, line, said):
        album("aligned/train_1_aligned.jpg")
        album.text("list_patition_label.txt", "train_1.jpg 3", line)
        with pytest.raises(DataError, match=said):
            RafdbLayout().find(album.root)


HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


def affectnet_row(name, expression=0, valence="0.1", arousal="-0.2"):
    return f"{name},3,4,20,24,1;2;3;4,{expression},{valence},{arousal}"


class TestAffectnet:
    def test_rows_boxes_and_the_rule_of_the_subset(self, album):
        """Numbers run over the rows that count, all classes together."""
        kinds = [0, 1, 2, 3, 6, 4, 8, 0, 1, 2, 3, 6, 5, 10, 7] * 4
        rows = [affectnet_row(f"7/{k}.jpg", kind, *(("-2", "-2") if kind > 7 else ())) for k, kind in enumerate(kinds)]
        album(*(f"Manually_Annotated_Images/7/{k}.jpg" for k in range(len(kinds))))
        album.text("lists/training.csv", HEADER, *rows)
        everything = AffectnetLayout(downsample=False).find(album.root)
        assert len(everything.records) == 52
        assert everything.records[0].box == (3, 4, 23, 28)
        assert everything.passed_over == {"rows without an expression in training.csv": 8}
        listing = AffectnetLayout().find(album.root)
        counted = [kind for kind in kinds if kind < 8]
        names = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
        assert listing.expressions == names
        expected = [names[kind] for k, kind in enumerate(counted) if k % KEPT_EVERY.get(names[kind], 1) == 0]
        assert [record.expression for record in listing.records] == expected
        assert expected.count("fear") == 4
        assert 0 < expected.count("surprise") < 8
        assert {record.split for record in listing.records} == {"train"}

    def test_validation_is_the_test_and_may_lack_its_header(self, album, shown):
        album("Manually_Annotated_Images/7/A b.JPG", "Manually_Annotated_Images/8/c.jpg")
        album.text(
            "validation.csv", affectnet_row("7/a b.jpg", 3), affectnet_row("8\\c.jpg", 1), affectnet_row("8/d.jpg")
        )
        listing = AffectnetLayout().find(album.root)
        assert shown(listing) == [
            "Manually_Annotated_Images/7/A b.JPG: None surprise None -1 test",
            "Manually_Annotated_Images/8/c.jpg: None happy None -1 test",
        ]
        assert reasons(listing) == ["8/d.jpg: is absent; validation.csv names it in line 3"]

    def test_images_of_one_name_in_two_folders_are_two(self, album):
        album("Manually_Annotated_Images/7/a.jpg", "Manually_Annotated_Images/8/a.jpg")
        album.text("validation.csv", HEADER, affectnet_row("8/a.jpg", 1), affectnet_row("7/a.jpg", 2))
        found = [(r.path.split("/")[-2], r.expression) for r in AffectnetLayout().find(album.root).records]
        assert found == [("8", "happy"), ("7", "sad")]

    def test_lists_of_turned_heads(self, album, tmp_path):
        album(*(f"Manually_Annotated_Images/7/{k}.jpg" for k in range(4)))
        album.text("training.csv", HEADER, affectnet_row("7/0.jpg", 4))
        album.text("validation.csv", HEADER, *(affectnet_row(f"7/{k}.jpg", k) for k in (1, 2, 3)))
        album.text("pose_30_affectnet_list.txt", "3.jpg 5", "1/1.jpg", "gone.jpg")
        own = tmp_path / "turned far.txt"
        own.write_text("2.jpg\n")
        listing = AffectnetLayout(pose_45=own).find(album.root)
        assert listing.lists == {"pose_30": (1, 3), "pose_45": (2,)}
        assert listing.remarks == ("1 of 3 images of pose_30_affectnet_list.txt are absent: gone.jpg",)

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            (affectnet_row("7/a.jpg", 11), r"training\.csv, line 2: the expression is '11'; wanted 0 to 10"),
            (affectnet_row("7/a.jpg", 1, "high"), r"training\.csv, line 2: valence is 'high'; wanted a number"),
            ("7/a.jpg,1,2", r"training\.csv, line 2 has 3 columns; wanted subDirectory_filePath"),
        ],
    )
    def test_wrong_rows_are_named(self, album, row, said):
        album("Manually_Annotated_Images/7/a.jpg")
        album.text("training.csv", HEADER, row)
        with pytest.raises(DataError, match=said):
            AffectnetLayout().find(album.root)

    def test_rows_without_valence_do_not_count(self, album):
        album("Manually_Annotated_Images/7/a.jpg")
        album.text("training.csv", affectnet_row("7/a.jpg", 4, "-2", "-2"), affectnet_row("7/a.jpg", 4, "1", "-1"))
        listing = AffectnetLayout().find(album.root)
        assert len(listing.records) == 1
        assert listing.passed_over == {"rows without valence and arousal in training.csv": 1}

    def test_without_any_table(self, album):
        album("Manually_Annotated_Images/7/a.jpg")
        with pytest.raises(DataError, match=r"has neither training\.csv nor validation\.csv"):
            AffectnetLayout().find(album.root)


CLASSES = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise"


class TestAffwild2:
    def test_frame_n_has_the_label_of_row_n_minus_1(self, album, shown):
        album(*(f"cropped_aligned/video 1/{k:05d}.jpg" for k in (1, 2, 4, 6)), "cropped_aligned/23_left/00002.jpg",
              "cropped_aligned/other/00001.jpg")  # fmt: skip
        album.text("annotations/EXPR_Set/Train_Set/video 1.txt", CLASSES, "4", "-1", "0", "6", "1")
        album.text("annotations/EXPR_Set/Validation_Set/23_left.txt", CLASSES, "0", "3")
        album.text("annotations/EXPR_Set/Train_Set/gone.txt", CLASSES, "0")
        listing = Affwild2Layout(share=1.0).find(album.root)
        assert shown(listing) == [
            "cropped_aligned/23_left/00002.jpg: None fear 23_left 2 test",
            "cropped_aligned/video 1/00001.jpg: None happiness video 1 1 train",
            "cropped_aligned/video 1/00004.jpg: None surprise video 1 4 train",
        ]
        assert listing.passed_over == {
            "frames without a label": 1, "frames behind the last label": 1, "frames of videos without a table": 1,
        }  # fmt: skip
        assert [r.reason for r in listing.rejected] == ["has labels for gone, whose frames are absent"]

    def test_a_quarter_of_the_frames_of_each_video_at_random(self, album):
        for video in ("a", "b"):
            album(*(f"cropped_aligned/{video}/{k:05d}.jpg" for k in range(1, 41)), size=(4, 4))
            album.text(f"EXPR_Set/Train_Set/{video}.txt", CLASSES, *("1",) * 40)
        drawn = {seed: Affwild2Layout(seed=seed).find(album.root).records for seed in (0, 1)}
        frames = [[r.frame for r in drawn[0] if r.sequence == video] for video in ("a", "b")]
        assert [len(of_video) for of_video in frames] == [10, 10]
        assert all(of_video == sorted(set(of_video)) for of_video in frames)
        assert frames[0] != frames[1]
        assert drawn[0] != drawn[1]
        assert drawn[0] == Affwild2Layout().find(album.root).records
        (album.root / "EXPR_Set/Train_Set/a.txt").unlink()
        assert [r.frame for r in Affwild2Layout().find(album.root).records] == frames[1]

    def test_a_label_that_is_none_of_the_classes_is_named(self, album):
        album("cropped_aligned/a/00001.jpg")
        album.text("EXPR_Set/Train_Set/a.txt", CLASSES, "0", "7")
        with pytest.raises(DataError, match=r"a\.txt, line 3: the label is '7'; wanted -1 to 6"):
            Affwild2Layout().find(album.root)
        with pytest.raises(UsageError, match=r"share 0"):
            Affwild2Layout(share=0.0)

    def test_without_any_table(self, album):
        album("cropped_aligned/a/00001.jpg")
        with pytest.raises(DataError, match=r"has no table of labels"):
            Affwild2Layout().find(album.root)


class TestLfw:
    @pytest.fixture
    def lfw(self, album):
        album(*(f"lfw/{name}/{name}_000{k}.jpg" for name in ("Al_Bo", "Cy", "Di_É") for k in (1, 2, 3)))
        return album

    def test_pairs_in_folds(self, lfw, shown):
        lfw.text("pairs.txt", "2\t1", "Al_Bo\t1\t3", "Al_Bo\t1\tCy\t2", "Di_É\t1\t2", "Cy\t2\tDi_É\t1")
        listing = LfwLayout().find(lfw.root)
        assert shown(listing)[:2] == [
            "lfw/Al_Bo/Al_Bo_0001.jpg: Al_Bo None None -1 test",
            "lfw/Al_Bo/Al_Bo_0003.jpg: Al_Bo None None -1 test",
        ]
        assert listing.pairs == ((0, 1, True, 0), (0, 2, False, 0), (3, 4, True, 1), (2, 3, False, 1))
        assert listing.passed_over == {"images that no pair names": 4}

    def test_a_pair_without_its_image_is_counted(self, lfw):
        lfw.text("pairs.txt", "1 1", "Al_Bo 1 4", "Al_Bo 1 Cy 2")
        listing = LfwLayout().find(lfw.root)
        assert reasons(listing) == ["Al_Bo_0004: is absent; pairs.txt names it in line 2"]
        assert listing.remarks == ("1 of 2 pairs lack an image",)
        assert listing.pairs == ((0, 1, False, 0),)

    @pytest.mark.parametrize(
        ("lines", "said"),
        [
            (["1 1", "Cy 1 2"], r"has 1 pairs; wanted 2, 1 of one person and 1 of two in each of 1 folds"),
            (["1 1", "Cy 1 2", "Cy 1 3"], r"line 3 is 'Cy 1 3'; wanted NAME K OTHER L"),
            (["1 1", "Cy 1 Al_Bo 2", "Cy 1 3"], r"line 2 is 'Cy 1 Al_Bo 2'; wanted NAME K L"),
            (["1 1", "Cy 1 x", "Cy 1 Al_Bo 3"], r"line 2: an image is 'x'; wanted 1 to"),
            (["Cy 1 2"], r"line 1 is 'Cy 1 2'; wanted FOLDS PAIRS"),
            ([""], r"line 1 is ''; wanted FOLDS PAIRS"),
        ],
    )
    def test_wrong_lists_are_told(self, lfw, lines, said):
        lfw.text("pairs.txt", *lines)
        with pytest.raises(DataError, match=said):
            LfwLayout().find(lfw.root)

    def test_people_who_look_alike(self, lfw):
        lines = ["Cy/Cy_0001.jpg", "Cy/Cy_0002.jpg", "Cy/Cy_0001.jpg", "Al_Bo/Al_Bo_0001.jpg"] * 10
        lfw.text("pair_SLLFW.txt", *lines)
        listing = SllfwLayout().find(lfw.root)
        assert listing.pairs[:4] == ((1, 2, True, 0), (1, 0, False, 0), (1, 2, True, 1), (1, 0, False, 1))
        assert listing.pairs[-1].fold == 9
        lfw.text("pair_SLLFW.txt", *lines[:-1])
        with pytest.raises(DataError, match=r"has 39 lines; wanted two for each pair"):
            SllfwLayout().find(lfw.root)
        lfw.text("pair_SLLFW.txt", *lines[:-1], "Cy_0001.jpg")
        with pytest.raises(DataError, match=r"line 40 is 'Cy_0001\.jpg'; wanted NAME/NAME_0001\.jpg"):
            SllfwLayout().find(lfw.root)


TREES = {
    "celeba": "img_celeba/000001.jpg",
    "voxceleb": "id10001/1zcIwhmdeo4/00001/1.jpg",
    "rafdb": "aligned/train_00001_aligned.jpg",
    "affectnet": "Manually_Annotated_Images/7/a.jpg",
    "affwild2": "cropped_aligned/video/00001.jpg",
    "lfw": "lfw/Al_Bo/Al_Bo_0001.jpg",
}


class TestRecognition:
    @pytest.mark.parametrize("name", TREES)
    def test_a_layout_at_the_wrong_folder_says_which_it_looks_like(self, album, name):
        album(TREES[name])
        assert recognize_images(album.root) == name
        for other, layout in IMAGE_LAYOUTS.items():
            if other in ("celeba", "rafdb", "affectnet", "affwild2") and other != name:
                with pytest.raises(DataError, match=rf"The folder looks like the layout {name}\."):
                    find_images(layout(), album.root)

    def test_a_data_set_is_not_taken_for_a_folder_of_subjects(self, album):
        album("img_celeba/000001.jpg")
        with pytest.raises(DataError, match=r"looks like the data set celeba, .* Give the layout celeba"):
            find_images(ImageFolderLayout(), album.root)

    def test_what_lies_by_subject_may_be_read_as_a_folder(self, album):
        album("Al_Bo/Al_Bo_0001.jpg")
        assert find_images(ImageFolderLayout(), album.root).records[0].subject == "Al_Bo"

    def test_own_photos_look_like_nothing(self, album):
        album("anna/1.jpg")
        assert recognize_images(album.root) is None
        with pytest.raises(DataError) as caught:
            find_images(CelebaLayout(), album.root)
        assert "looks like" not in str(caught.value)


@pytest.mark.parametrize("name", IMAGE_LAYOUTS)
def test_each_layout_is_one(name):
    layout = IMAGE_LAYOUTS[name]()
    assert isinstance(layout, ImageLayout)
    assert layout.name == name
    assert hash(layout) is not None
