"""Single layers of the published encoder: outputs in both precisions, gradients in double."""

import numpy as np
import torch

from meshdisent.nn.spiral import Pool, SpiralBlock, SpiralConv, SpiralResidualBlock
from meshdisent.nn.spiral_parts import gather_spirals, instance_norm

OURS = {"block_0": "block", "block_1.": "", "layer": "linear", "indices": "spirals"}


def test_layers_give_the_published_outputs_and_gradients(golden):
    arrays = golden("layers")
    kept = torch.from_numpy(golden("hierarchy")["D0.kept"].astype(np.int64))
    layers = {
        "spiralconv": SpiralConv(3, 6, _spirals(arrays["spiralconv.param.indices"])),
        "block": SpiralBlock(3, 6, _spirals(arrays["block.param.conv.indices"])),
        "resblock": SpiralResidualBlock(12, _spirals(arrays["resblock.param.block_0.conv.indices"])),
        "instancenorm": instance_norm,
        "pool0": Pool(kept),
    }
    ours = {}
    for name, layer in layers.items():
        parameters = {}
        if name != "pool0" and isinstance(layer, torch.nn.Module):
            published = arrays.under(f"{name}.param.")
            layer.load_state_dict({_our_name(key): torch.from_numpy(value) for key, value in published.items()})
            parameters = {key: _our_name(key) for key in published if "indices" not in key}
        single = torch.from_numpy(arrays[f"{name}.in"])
        with torch.no_grad():
            ours[f"{name}.out_f32"] = layer(single)
        if isinstance(layer, torch.nn.Module):
            layer.double()
        double = single.double().requires_grad_()
        out = layer(double)
        (out * torch.from_numpy(arrays[f"{name}.cotangent"])).sum().backward()
        ours |= {f"{name}.out_f64": out, f"{name}.grad_in_f64": double.grad}
        for key, own in parameters.items():
            ours[f"{name}.grad_f64.{key}"] = layer.get_parameter(own).grad
    # Published pooling is a sparse product with these ones; ours selects.
    ours["pool0.param.sampling_matrix_val"] = np.ones(len(kept), np.float32)
    sequences = {f"sequence_len9_L{level}": golden("spirals")[f"L{level}.len9_dil1"] for level in (0, 2)}
    arrays.check(
        ours | sequences,
        tolerance=1e-12,
        # A bias before an instance norm has gradient 0 up to rounding: the published numbers are rounding too.
        loose={"*_f32": 2e-6, "block.grad_f64.conv.layer.bias": 1e3, "resblock.grad_f64.block_?.conv.layer.bias": 1e3},
    )


def test_gathering_puts_the_position_outside_and_the_channel_inside(golden):
    arrays = golden("layers")
    features = torch.from_numpy(arrays["spiralconv.in"])
    spirals = _spirals(arrays["spiralconv.param.indices"])
    slow = torch.stack([torch.cat([features[:, k] for k in spiral], dim=1) for spiral in spirals], dim=1)
    assert torch.equal(gather_spirals(features, spirals), slow)


def _spirals(published):
    return torch.from_numpy(published.astype(np.int64))


def _our_name(key):
    for theirs, own in OURS.items():
        key = key.replace(theirs, own)
    return key
