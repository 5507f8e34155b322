"""What pictures are compared by: VGG16's features from a file, and contrast along edges."""

import pytest
import torch

from meshdisent.errors import ModelFileError
from meshdisent.nn.edge_filters import EdgeFilters
from meshdisent.nn.vgg import WIDTHS, VGGFeatures


def test_a_flat_picture_has_no_edges_and_a_step_has_its_height():
    filters = EdgeFilters().double()
    picture = torch.full((1, 3, 32, 32), 0.3).double()
    assert filters(picture).abs().max() < 1e-2
    picture[..., 16:] += 1.0
    features = filters(picture).reshape(1, 2, 3, 4, 8, 8)  # scale, color, direction
    across, down = features[0, :, :, 0], features[0, :, :, 2]
    assert across[..., 2:6, 3:5].min() > 0.2
    assert down.abs().max() < 1e-2
    # Seen from the side, the same.
    turned = filters(picture.mT).reshape(1, 2, 3, 4, 8, 8)
    assert torch.allclose(turned[0, :, :, 2], across.mT, atol=1e-9)


def test_features_of_a_color_are_those_of_that_color():
    filters = EdgeFilters()
    picture = torch.zeros(1, 3, 32, 32)
    picture[:, 1] = torch.rand(32, 32)
    features = filters(picture).reshape(1, 2, 3, 4, 8, 8)
    assert features[:, :, [0, 2]].abs().max() < 1e-6
    assert features[:, :, 1].mean() > 0.01


def test_edges_have_gradients_everywhere():
    picture = torch.zeros(1, 3, 32, 32, requires_grad=True)
    EdgeFilters()(picture).sum().backward()
    assert torch.isfinite(picture.grad).all()


def test_vgg_is_built_from_torchvisions_names_and_what_is_missing_is_named():
    twin = VGGFeatures()
    state = {f"features.{name}": value for name, value in twin.layers.state_dict().items()}
    opened = VGGFeatures.from_state(state | {"classifier.0.weight": torch.zeros(1)}, "vgg.pth")
    picture = torch.rand(1, 3, 16, 16)
    assert torch.equal(opened(picture), twin(picture))
    assert opened(picture).shape == (1, WIDTHS[-1], 4, 4)
    assert not any(weight.requires_grad for weight in opened.parameters())
    with pytest.raises(ModelFileError, match=r"vgg.pth lacks features\.10\.weight \(1 of 14 tensors"):
        VGGFeatures.from_state({k: v for k, v in state.items() if k != "features.10.weight"}, "vgg.pth")
    with pytest.raises(ModelFileError, match=r"features\.0\.bias has shape \(3,\); VGG16 has \(64,\)"):
        VGGFeatures.from_state(state | {"features.0.bias": torch.zeros(3)}, "vgg.pth")
