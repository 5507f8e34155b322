"""LatentFace's five published networks of the first stage at both image sizes, in double precision."""

import numpy as np
import pytest
import torch

from meshdisent.latentface import networks
from meshdisent.latentface.published import published_state

#: Results are stored in single precision.
SINGLE = 2e-7
BUILD = {
    "netD": networks.shape_network,
    "netA": networks.texture_network,
    "netL": networks.light_network,
    "netV": networks.view_network,
    "netC": networks.ConfidenceNetwork,
}


def published(net, size, keys, latentface_parameters):
    """The parameters that the file lists, filled by the recipe."""
    return latentface_parameters.state(net, keys.peek(f"{net}_{size}_keys"), keys.peek(f"{net}_{size}_shapes"))


def filled(net, size, keys, latentface_parameters):
    network = BUILD[net](networks.NetworkConfig(image_size=size)).double()
    network.load_state_dict(published_state(net, published(net, size, keys, latentface_parameters)))
    return network


def test_parameters_follow_the_recipe_and_lie_in_the_published_order(golden_latentface, latentface_parameters):
    arrays = golden_latentface("state_dict_keys")
    ours = {"recipe_u8": latentface_parameters.numbers(str(arrays["recipe_name"]), 8)}
    for net, build in BUILD.items():
        for size in (64, 128):
            state = published(net, size, arrays, latentface_parameters)
            own = build(networks.NetworkConfig(image_size=size)).state_dict()
            assert list(published_state(net, state)) == list(own)
            shapes = [list(value.shape) for value in own.values()]
            first = [value.flatten()[:4].numpy() for value in state.values()]
            ours |= {
                f"{net}_{size}_keys": np.array(list(state)),
                f"{net}_{size}_shapes": np.array([shape + [0] * (4 - len(shape)) for shape in shapes]),
                f"{net}_{size}_sums": np.array([value.sum().item() for value in state.values()]),
                f"{net}_{size}_first4": np.array([np.pad(values, (0, 4 - len(values))) for values in first]),
                f"{net}_{size}_nparams": np.array(sum(value.numel() for value in own.values())),
            }
    arrays.check(ours, tolerance=1e-12)


@pytest.mark.parametrize("size", [64, 128])
def test_each_network_gives_what_the_published_one_gives(golden_latentface, latentface_parameters, size):
    arrays, keys = golden_latentface(f"networks_{size}"), golden_latentface("state_dict_keys")
    image = 2 * torch.from_numpy(arrays["image"]).double() - 1
    net = {name: filled(name, size, keys, latentface_parameters) for name in BUILD}
    ours = {}
    with torch.no_grad():
        (shape, ours["netD.raw"]), (texture, ours["netA.out"]) = net["netD"](image), net["netA"](image)
        ours |= {"netD.code": shape[:, :, None, None], "netA.code": texture[:, :, None, None]}
        ours |= {"netL.out": net["netL"](image), "netV.out": net["netV"](image)}
        ours["netC.pix"], ours["netC.perc"] = net["netC"](image)
    arrays.check(ours, tolerance=SINGLE)
