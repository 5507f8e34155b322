"""LatentFace's five networks: sizes at every image size, norms, ranges, gradients, and what they refuse."""

import pytest
import torch
from torch import nn

from meshdisent.errors import DataError, RecipeError
from meshdisent.latentface import networks
from meshdisent.latentface.networks import ConfidenceNetwork, NetworkConfig

SMALL = {"width": 8, "code_size": 12, "number_width": 4, "confidence_width": 8, "confidence_code_size": 10}


def images(batch, size):
    return torch.rand(batch, 3, size, size) * 2 - 1


@pytest.mark.parametrize("size", [32, 64, 128, 256])
@pytest.mark.parametrize("batch", [1, 2])
def test_every_power_of_two_from_32_on_has_codes_maps_and_numbers(size, batch):
    config = NetworkConfig(image_size=size, **SMALL)
    shown = images(batch, size)
    code, depth = networks.shape_network(config)(shown)
    texture, albedo = networks.texture_network(config)(shown)
    assert code.shape == texture.shape == (batch, 12)
    assert depth.shape == (batch, 1, size, size)
    assert albedo.shape == (batch, 3, size, size)
    assert networks.light_network(config)(shown).shape == (batch, 4)
    assert networks.view_network(config)(shown).shape == (batch, 6)
    pixels, features = ConfidenceNetwork(config)(shown)
    assert pixels.shape == (batch, 2, size, size)
    assert features.shape == (batch, 2, size // 4, size // 4)


def test_results_lie_in_their_ranges():
    config = NetworkConfig(image_size=32, **SMALL)
    shown = 50 * images(4, 32)
    code, depth = networks.shape_network(config)(shown)
    assert (code >= 0).all()
    assert (code == 0).any()
    loud = networks.shape_network(config)
    nn.init.constant_(loud.decoder.layers[-2].weight, 10.0)
    assert loud(shown)[1].abs().max() > 2  # raw depth has no activation
    loud = networks.texture_network(config)
    nn.init.constant_(loud.decoder.layers[-2].weight, 10.0)
    assert 0.99 < loud(shown)[1].abs().max() <= 1
    assert all((sigma > 0).all() for sigma in ConfidenceNetwork(config)(shown))
    assert networks.view_network(config)(shown).abs().max() <= 1
    assert depth.isfinite().all()


def test_extra_stages_of_large_images_have_their_own_weights():
    config = NetworkConfig(image_size=256, **SMALL)
    for network in (networks.shape_network(config), networks.light_network(config), ConfidenceNetwork(config)):
        modules = [m for m in network.modules() if not list(m.children()) and list(m.parameters())]
        assert len(modules) == len({id(m) for m in modules})
        widths = [m.out_channels for m in modules if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
        first = widths[0]
        assert widths == [first * k for k in (1, 2, 4, 8, 8, 8)]
        assert called(network, modules) == sorted(id(m) for m in modules)


def called(network, modules):
    """Which modules a pass goes through, each as often as it is used."""
    calls = []
    for module in modules:
        module.register_forward_hook(lambda m, *_: calls.append(id(m)))
    network(images(1, 256))
    return sorted(calls)


def test_a_norm_covers_four_channels_or_as_many_as_divide_them():
    def sizes(width, groups=None):
        network = networks.texture_network(NetworkConfig(image_size=32, width=width, norm_groups=groups))
        norms = [m for m in network.encoder.modules() if isinstance(m, nn.GroupNorm)]
        return [norm.num_channels // norm.num_groups for norm in norms]

    assert sizes(64) == sizes(64, groups=16) == [4, 4, 4]
    assert sizes(24) == [4, 4, 4]
    assert sizes(6) == [2, 4, 4]
    assert sizes(5) == [1, 2, 4]
    assert sizes(16, groups=16) == [1, 1, 1]
    assert sizes(48, groups=16) == [3, 3, 3]


def test_published_sizes_are_the_defaults():
    config = NetworkConfig()
    built = [networks.shape_network(config), networks.texture_network(config), ConfidenceNetwork(config)]
    built += [networks.light_network(config), networks.view_network(config)]
    counts = [sum(p.numel() for p in network.parameters()) for network in built]
    assert counts == [12_979_648, 12_982_848, 7_678_208, 1_739_264, 1_739_776]
    convolutions = [m for n in built for m in n.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert all(m.bias is None for m in convolutions)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_reach_every_weight_and_the_image(dtype):
    config = NetworkConfig(image_size=32, **SMALL)
    build = [networks.shape_network, networks.texture_network, networks.light_network, networks.view_network]
    for network in [make(config).to(dtype) for make in (*build, ConfidenceNetwork)]:
        shown = images(2, 32).to(dtype).requires_grad_()
        results = network(shown)
        results = results if isinstance(results, tuple) else (results,)
        sum((r * torch.rand_like(r)).sum() for r in results).backward()
        gradients = [shown.grad, *(p.grad for p in network.parameters())]
        assert all(g is not None and g.isfinite().all() and g.abs().max() > 0 for g in gradients)


def test_images_of_a_batch_do_not_touch_each_other():
    network = networks.texture_network(NetworkConfig(image_size=32, **SMALL)).double()
    shown = images(3, 32).double()
    code, albedo = network(shown)
    alone, drawn = network(shown[1:2])
    torch.testing.assert_close(alone, code[1:2])
    torch.testing.assert_close(drawn, albedo[1:2])


@pytest.mark.parametrize("size", [16, 48, 0, -64])
def test_other_image_sizes_are_refused(size):
    with pytest.raises(RecipeError, match=rf"image_size is {size}; wanted a power of two from 32 on. Set image_size"):
        NetworkConfig(image_size=size)


def test_impossible_sizes_are_refused():
    for name in SMALL:
        with pytest.raises(RecipeError, match=rf"{name} is 0; wanted at least 1"):
            NetworkConfig(**{name: 0})
    with pytest.raises(RecipeError, match=r"norm_groups is 16; wanted a number that divides width 24"):
        NetworkConfig(width=24, norm_groups=16)
    with pytest.raises(RecipeError, match=r"norm_groups is 0"):
        NetworkConfig(norm_groups=0)


def test_images_of_another_size_are_refused():
    config = NetworkConfig(image_size=32, **SMALL)
    for network in (networks.shape_network(config), networks.light_network(config), ConfidenceNetwork(config)):
        with pytest.raises(DataError, match=r"image has 64 x 64 pixels; this network was built for 32 x 32"):
            network(images(1, 64))
