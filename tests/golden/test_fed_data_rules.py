"""FED's rules for CoMA and FaceScape: windows, neutrals by level, mean face, test subjects, outliers."""

import numpy as np

from meshdisent.data.motion_levels import WINDOW, neutrals_by_level, window_starts
from meshdisent.data.published_splits import (
    FED_FACESCAPE_OUTLIERS,
    facescape_test_subjects,
    fed_facescape,
    fed_facescape_rows,
    fed_windows,
)

EVERYONE = tuple(range(1, 848))


def test_windows_neutrals_and_test_subjects(golden_fed):
    file = golden_fed("data_rules")
    divisor = float(file["coma/normalise_divisor"])
    vertices = file["coma/vertices_metres"] / np.float32(divisor)
    subject, expression, level = (file[f"coma/{name}"] for name in ("subject", "expression", "level"))
    is_test = np.zeros(len(vertices), bool)
    for start in file["coma/test_window_starts"]:
        is_test[start : start + WINDOW] = True
    train_neutral = neutrals_by_level(vertices[~is_test], subject[~is_test], level[~is_test])
    test_neutral = neutrals_by_level(vertices, subject, level)
    populations = {
        "published_filter": (603,), "if_832_is_missing_too": (603, 832), "only_832_missing": (832,), "all_847": (),
    }  # fmt: skip
    drawn = {
        f"facescape/test_ids_{name}": facescape_test_subjects([k for k in EVERYONE if k not in absent])
        for name, absent in populations.items()
    }
    file.check(
        {
            "coma/train_vertices": vertices[~is_test],
            "coma/test_vertices": vertices[is_test],
            "coma/mean_face": vertices[~is_test].mean(axis=0, dtype=np.float64),
            "coma/train_item_neutral": [train_neutral[k] for k in subject[~is_test][file["coma/train_item_index"]]],
            "coma/test_item_neutral": [test_neutral[k] for k in subject[is_test][file["coma/test_item_index"]]],
            "coma/split_starts_numpy_seed_123": window_starts(
                subject.tolist(), expression.tolist(), np.random.RandomState(123)
            ),
            "facescape/outlier_rows_in_published_order": FED_FACESCAPE_OUTLIERS,
            **drawn,
        },
        tolerance=2e-7,
        loose={"coma/mean_face": 1e-6},  # summed in single precision
        exempt={
            "coma/train_item_expression_average": "is drawn with each sample and used by no loss",
            "coma/pretrain_label_share_same": "a rate of coin tosses; tested with the pairs themselves",
        },
    )


def test_the_split_by_name_is_that_of_the_rule(golden_fed):
    file = golden_fed("data_rules")
    names = [[str(k) for k in file[f"coma/{what}"]] for what in ("subject", "expression")]
    starts = file["coma/split_starts_numpy_seed_123"]
    expected = sorted(start + k for start in starts.tolist() for k in range(WINDOW))
    assert [k for k, kind in enumerate(fed_windows(*names, 123)) if kind == "test"] == expected


def test_scans_of_the_published_count_lose_the_published_outliers(golden_fed):
    """Subject 603 stands where it does if 18 scans before it are absent, as the counts of the paper say."""
    file = golden_fed("data_rules")
    test = set(file["facescape/test_ids_published_filter"].tolist())
    subjects = [str(k) for k in EVERYONE for _ in range(20)]
    del subjects[100:118]
    del subjects[-22:]  # the other 22 of 40 absent scans
    assert len(subjects) == 16_900
    split = fed_facescape_rows(subjects, [None] * len(subjects))
    outliers = file["facescape/outlier_rows_in_published_order"].tolist()
    assert [k for k, kind in enumerate(split) if kind == "dropped"] == outliers
    assert split.count("train") + split.count("test") == 16_867
    missing = {str(k) for k in EVERYONE} - set(subjects)
    alone = fed_facescape(subjects, [None] * len(subjects))
    assert {k for k, kind in enumerate(alone) if kind == "dropped"} == set(range(12022, 12042))
    tested = {int(subjects[k]) for k, kind in enumerate(alone) if kind == "test"}
    assert missing == {"847"} and len(tested) == int(0.3 * 845)  # noqa: PT018
    assert tested != test
