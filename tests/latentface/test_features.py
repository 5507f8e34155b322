"""Latents side by side, in the order of the papers."""

import pytest
import torch

from meshdisent.errors import DataError
from meshdisent.latentface import features
from meshdisent.latentface.features import FaceLatents
from meshdisent.latentface.frontalization import frontalization_distance

FACE = FaceLatents(*(value * torch.ones(2, 3) for value in (2.0, 3.0, 5.0, 7.0)))


def blocks(found):
    return [part[0, 0].item() for part in found.split(3, dim=1)]


def test_each_feature_has_its_place():
    assert blocks(features.expression_features(*FACE)) == [-1, 2, -2, 5]
    assert blocks(features.offset_features(*FACE)) == [-1, -2]
    assert blocks(features.identity_features(FACE)) == [3, 7]
    assert blocks(features.view_features(FACE)) == [3, 2, 7, 5]


def test_the_mirror_image_comes_behind_the_image():
    mirror = FaceLatents(*(10 * values for values in FACE))
    assert blocks(features.verification_features(FACE, mirror)) == [3, 2, 7, 5, 30, 20, 70, 50]


def test_published_sizes():
    face = FaceLatents(*(torch.zeros(1, 256) for _ in range(4)))
    assert features.expression_features(*face).shape == (1, 1024)
    assert features.verification_features(face, face).shape == (1, 2048)


class TestFrontalization:
    def embed(self, images):
        return images.flatten(1)[:, :2]

    def images(self, *rows):
        return torch.tensor([[*row, 0.0] for row in rows]).reshape(-1, 3, 1, 1)

    def test_distances_by_hand_in_batches(self):
        first = self.images((1.0, 0), (3.0, 4.0), (1.0, 0))
        second = self.images((5.0, 0), (-3.0, -4.0), (0, 1.0))
        found = frontalization_distance(self.embed, first, second, batch_size=2)
        assert found.cosine.tolist() == pytest.approx([0, 2, 1])
        assert found.euclidean.tolist() == pytest.approx([4, 10, 2**0.5])
        assert found.mean_cosine == pytest.approx(1)
        assert found.mean_euclidean == pytest.approx((14 + 2**0.5) / 3)

    def test_embeddings_without_a_direction_are_named(self):
        first, second = self.images((1.0, 0), (1.0, 0)), self.images((1.0, 0), (0, 0))
        with pytest.raises(DataError, match=r"A vector of pair 1 has no length, or is not finite"):
            frontalization_distance(self.embed, first, second)
        with pytest.raises(DataError, match=r"2 images and 1 frontal views"):
            frontalization_distance(self.embed, first, second[:1])
        with pytest.raises(DataError, match=r"0 images and 0"):
            frontalization_distance(self.embed, first[:0], second[:0])
