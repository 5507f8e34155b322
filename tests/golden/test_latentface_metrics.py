"""Depth metrics, probe and verification of the published LatentFace and Unsup3D code, on small arrays."""

from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
import torch

from meshdisent.latentface.features import FaceLatents, expression_features, view_features
from meshdisent.latentface.probes import ProbeHead, train_on_batches
from meshdisent.latentface.verification import contiguous_folds, pair_accuracy, pair_classifier, pair_features
from meshdisent.metrics import classification, depth

SHARED = Path(__file__).resolve().parents[3] / "shared" / "golden" / "latentface"


@pytest.fixture(scope="module")
def arrays():
    path = SHARED / "metrics.npz"
    if not path.is_file():
        pytest.skip("needs golden/latentface/metrics.npz in ../shared (the reference data), which is absent")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name].astype(np.float64) if file[name].dtype.kind == "f" else file[name] for name in file}


def close(ours, published, tolerance=1e-6):
    """Published arrays were computed in double and rounded to single precision."""
    ours = ours.detach().numpy() if isinstance(ours, torch.Tensor) else ours
    assert np.shape(ours) == np.shape(published)
    assert np.abs(ours - published).max() <= tolerance * max(1.0, np.abs(published).max())


def test_masks_are_the_published_ones(arrays):
    predicted, truth = arrays["depth_pred"], arrays["depth_gt"]
    close(truth < truth.max(), arrays["mask_gt_raw"])
    close(predicted < depth.BACKGROUND, arrays["mask_pred_raw"])
    close(depth.valid_pixels(predicted, truth), arrays["mask_eroded"], 0)


def test_depth_errors_are_the_published_ones(arrays):
    predicted, truth = arrays["depth_pred"], arrays["depth_gt"]
    mask = arrays["mask_eroded"].astype(bool)
    close(depth.side(predicted, truth, mask), arrays["side"])
    close(depth.mean_absolute_error(predicted, truth, mask), arrays["mae"])
    close(depth.mean_square_error(predicted, truth, mask), arrays["mse"])
    everything = np.ones_like(mask)
    close(depth.side(predicted, truth, everything) ** 2, arrays["side_unmasked_map"].mean(axis=(1, 2)))
    count = mask.sum(axis=(1, 2))
    close(depth.side(predicted, truth, mask) ** 2, arrays["side_map"].sum(axis=(1, 2)) / count)


def test_normals_and_their_angle_are_the_published_ones(arrays):
    mask = arrays["mask_eroded"].astype(bool)
    normals = [depth.normals_of_depth(arrays[name]) for name in ("depth_pred", "depth_gt")]
    close(normals[0], arrays["normal_pred"], 2e-6)
    close(normals[1], arrays["normal_gt"], 2e-6)
    published = arrays["normal_pred"], arrays["normal_gt"]
    close(depth.angles(*published) * mask, arrays["mad_map"], 1e-5)
    close(depth.mean_angle(*published, mask), arrays["mad_deg"], 1e-6)
    close(depth.mean_angle(*normals, mask), arrays["mad_deg"], 1e-5)


def test_grey_becomes_the_published_depth(arrays):
    close(depth.depth_of_grey(arrays["gtpng_value"]), arrays["gtpng_depth"])


def test_the_probe_learns_what_the_published_one_learns(arrays):
    head = ProbeHead(24, 7).double()
    with torch.no_grad():
        head.linear.weight.copy_(torch.from_numpy(arrays["probe_w0"]))
    features, labels = torch.from_numpy(arrays["probe_x"]), torch.from_numpy(arrays["probe_y"])
    parts = list(zip(features.split(20), labels.split(20), strict=True))
    losses = train_on_batches(head, torch.optim.Adam(head.parameters(), lr=1e-3), parts * 3)
    close(np.array(losses), arrays["probe_losses"])
    close(head.norm.running_mean, arrays["probe_running_mean"])
    close(head.norm.running_var, arrays["probe_running_var"])
    close(head.norm.weight, arrays["probe_gamma"])
    close(head.norm.bias, arrays["probe_beta"])
    close(head.linear.weight, arrays["probe_w"])
    logits = head.eval()(torch.from_numpy(arrays["probe_x_test"]))
    close(logits, arrays["probe_logits"])
    table = classification.confusion(arrays["probe_y_test"], logits.argmax(1).numpy(), 7)
    close(table, arrays["probe_confusion"], 0)
    close(classification.macro_f1(table), arrays["probe_f1_macro"], 1e-15)
    close(classification.accuracy(table), arrays["probe_acc"], 1e-15)
    close(classification.expression_score(table), arrays["probe_score"], 1e-15)


def test_features_stand_in_the_published_order(arrays):
    face = FaceLatents(*(torch.from_numpy(arrays[f"feat_{name}"]) for name in ("zt", "idt", "zs", "ids")))
    close(expression_features(*face), arrays["feat_expression"], 1e-7)
    close(view_features(face), arrays["feat_verification"], 1e-7)


def test_verification_gives_the_published_folds(arrays):
    features = pair_features(torch.from_numpy(arrays["ver_f1"]), torch.from_numpy(arrays["ver_f2"]))
    close(features, arrays["ver_features"])
    labels = torch.from_numpy(arrays["ver_same"])
    fold = contiguous_folds(60)
    assert np.flatnonzero(fold == 0).tolist() == arrays["ver_fold0_test"].tolist()
    assert np.flatnonzero(fold == 9).tolist() == arrays["ver_fold9_test"].tolist()
    accuracies = []
    for k in range(10):
        classifier = pair_classifier(36).double()
        with torch.no_grad():
            classifier.weight.copy_(torch.from_numpy(arrays["ver_w0"]))
            classifier.bias.copy_(torch.from_numpy(arrays["ver_b0"]))
        rest = np.flatnonzero(fold != k)[:128]
        optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-4)
        train_on_batches(classifier, optimizer, repeat((features[rest], labels[rest]), 300))
        if k == 0:
            close(classifier.weight, arrays["ver_fold0_w"])
        accuracies.append(pair_accuracy(classifier, features[fold == k], labels[fold == k]))
    close(np.array(accuracies), arrays["ver_acc_folds"])
    close(np.mean(accuracies), arrays["ver_mean"], 1e-15)
    close(np.std(accuracies), arrays["ver_std"], 1e-15)
    close(max(accuracies), arrays["ver_max"], 1e-15)
