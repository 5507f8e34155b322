"""The published FaceScape split."""

from meshdisent.data.published_splits import published_facescape_split


def test_split_is_the_published_one(golden):
    train, test = published_facescape_split()
    golden("facescape_split").check({"train_subjects": train, "test_subjects": test})
