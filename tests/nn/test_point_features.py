"""Features and the gradient through winning points, against the same layers written densely."""

import pytest
import torch

from meshdisent.nn.point_features import PointFeatures


def dense(features, points, *, has_norm):
    """Every layer on every point, then the maximum."""
    rows = points.flatten(0, 1)
    for linear, norm in zip(features.linears, features.norms, strict=True):
        rows = linear(rows)
        rows = torch.relu(norm(rows) if has_norm else rows)
    return rows.unflatten(0, points.shape[:2]).amax(dim=1)


def pair():
    """Two equal networks in double precision; some channels are turned around by their norm, one is always 0."""
    twins = [PointFeatures(3, (5, 7, 40)).double() for _ in range(2)]
    with torch.no_grad():
        for norm in twins[0].norms:
            norm.weight.uniform_(-1.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
        twins[0].norms[2].bias[0] = -100
        twins[0].linears[2].bias[0] = -100
    twins[1].load_state_dict(twins[0].state_dict())
    return twins


@pytest.mark.parametrize("vertices", [1, 20, 64, 128, 300])
@pytest.mark.parametrize("mode", ["plain", "training", "evaluation"])
def test_features_gradients_and_statistics_are_those_of_the_dense_form(vertices, mode):
    sparse, plain = pair()
    points = torch.randn(3, vertices, 3).double()
    weights = torch.randn(3, 40).double()
    found = []
    for twin, is_dense in ((sparse, False), (plain, True)):
        twin.train(mode == "training")
        shown = points.clone().requires_grad_()
        if is_dense:
            feature = dense(twin, shown, has_norm=mode != "plain")
        else:
            feature = twin.plain(shown) if mode == "plain" else twin(shown)
        (feature * weights).sum().backward()
        found.append((feature, shown.grad))
    torch.testing.assert_close(found[0], found[1])
    assert (found[0][0][:, 0] == 0).all(), "the silenced channel"
    assert (found[0][1] != 0).any()
    for name, parameter in sparse.named_parameters():
        twin = plain.get_parameter(name).grad
        if twin is None or parameter.grad is None:  # norms stand aside in the plain form
            assert mode == "plain"
            continue
        torch.testing.assert_close(parameter.grad, twin, rtol=1e-7, atol=1e-10)
    for name, buffer in sparse.named_buffers():
        torch.testing.assert_close(buffer, plain.get_buffer(name))


def test_a_gradient_reaches_winning_points_alone_without_a_norm():
    features = PointFeatures(3, (8, 4))
    points = torch.randn(2, 200, 3, requires_grad=True)
    features.plain(points).sum().backward()
    assert (points.grad != 0).any(dim=2).sum(dim=1).max() <= 4


def test_single_precision_is_near_double_also_for_nearly_equal_points():
    single, double = PointFeatures(3, (16, 32)), PointFeatures(3, (16, 32)).double()
    double.load_state_dict(single.state_dict())
    points = torch.randn(1, 500, 3).expand(4, -1, -1) + 1e-3 * torch.randn(4, 500, 3)
    torch.testing.assert_close(single(points), double(points.double()).float(), rtol=1e-4, atol=1e-4)


def test_half_precision_of_the_other_layers_leaves_the_statistics_alone():
    features = PointFeatures(3, (16, 32))
    points = torch.randn(2, 100, 3)
    with torch.autocast("cpu", torch.bfloat16):
        feature = features(points)
    assert feature.dtype == torch.float32
    assert features.norms[1].running_var.dtype == torch.float32
    feature.sum().backward()
    assert all(p.grad.isfinite().all() for p in features.parameters())
