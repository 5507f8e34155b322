"""ONNX files beside the model, and the functions that ONNX lacks."""

import numpy as np
import pytest
import torch

from meshdisent.errors import MeshdisentError, UsageError
from meshdisent.export import onnx as onnx_files
from meshdisent.export.normal_functions import log_normal_share, normal_quantile
from meshdisent.export.onnx import write_onnx
from meshdisent.nn.folded_norm import largest_normalized
from meshdisent.nn.point_features import PointFeatures


@pytest.fixture
def packages():
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="needs the extra export (pip install 'meshdisent[export]')")


def test_a_linear_model_is_the_same_in_onnxruntime_for_any_batch(packages, linear, tmp_path):
    import onnxruntime

    result = write_onnx(linear, tmp_path / "networks")
    assert max(result.code_share, result.vertex_share) < 1e-5
    assert [path.name for path in result.files] == ["encoder.onnx", "decoder.onnx"]
    codes = linear.prior().sample(3, torch.Generator().manual_seed(9))
    decoder = onnxruntime.InferenceSession(result.files[1], providers=["CPUExecutionProvider"])
    (vertices,) = decoder.run(None, {key: value.numpy() for key, value in codes._asdict().items()})
    np.testing.assert_allclose(vertices, linear.decode(codes).detach().numpy(), atol=1e-3)
    encoder = onnxruntime.InferenceSession(result.files[0], providers=["CPUExecutionProvider"])
    names = [output.name for output in encoder.get_outputs()]
    assert names == ["identity", "expression"]
    identity, expression = encoder.run(None, {"vertices": vertices})
    np.testing.assert_allclose(identity, codes.identity, atol=1e-2)
    np.testing.assert_allclose(expression, codes.expression, atol=1e-2)


def test_a_difference_that_is_too_large_leaves_no_file(packages, linear, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_files, "_write", lambda *words: None)
    monkeypatch.setattr(onnx_files, "_share", lambda ours, theirs: 2e-4)

    class Session:
        def __init__(self, path, *options, **more):
            self.is_encoder = "encoder" in path.name

        def run(self, names, inputs):
            if self.is_encoder:
                return [code.detach().numpy() for code in linear.encode(torch.from_numpy(inputs["vertices"]))]
            return [linear.decode(linear.prior().sample(1, torch.Generator().manual_seed(1))).detach().numpy()]

    monkeypatch.setattr("onnxruntime.InferenceSession", Session)
    with pytest.raises(MeshdisentError, match=r"2.0e-04 of the largest code entry.*wanted at most 0.0001. Nothing was"):
        write_onnx(linear, tmp_path / "networks")
    assert not (tmp_path / "networks").exists()


def test_what_onnx_cannot_say_is_one_line(packages, linear, tmp_path, monkeypatch):
    def refuse(*words, **more):
        raise ValueError("\nno such operation\nand more")

    monkeypatch.setattr(torch.export, "export", refuse)
    with pytest.raises(UsageError, match=r"encoder of a linear model has a step that ONNX cannot say \(no such"):
        write_onnx(linear, tmp_path / "networks")


def test_missing_packages_are_named(linear, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(UsageError, match=r"pip install 'meshdisent\[export\]'"):
        write_onnx(linear, tmp_path / "networks")


def test_the_normal_distribution_in_plain_arithmetic():
    values = torch.linspace(-39, 9, 4801, dtype=torch.float64)
    torch.testing.assert_close(log_normal_share(values), torch.special.log_ndtr(values), rtol=1e-9, atol=1e-9)
    low = torch.exp(torch.linspace(-690, -0.01, 3001, dtype=torch.float64))
    shares = torch.cat([low, 1 - torch.logspace(-15, -1, 100, dtype=torch.float64)])
    torch.testing.assert_close(normal_quantile(shares), torch.special.ndtri(shares), rtol=1e-12, atol=1e-12)


def test_while_a_model_is_exported_point_features_are_the_same_numbers(monkeypatch):
    torch.manual_seed(0)
    features = PointFeatures(3, (8, 16)).eval()
    points = torch.randn(4, 30, 3)
    linear, norm = features.linears[0], features.norms[0]
    norm.running_mean.normal_()
    before = features(points), features.plain(points), largest_normalized(points, linear, norm)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    after = features(points), features.plain(points), largest_normalized(points, linear, norm)
    for ours, theirs in zip(after, before, strict=True):
        torch.testing.assert_close(ours, theirs)
