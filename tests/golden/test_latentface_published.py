"""Opening the published format of LatentFace: a small file, and what the published program computed with it."""

import dataclasses

import numpy as np
import pytest
import torch

from meshdisent.latentface.published import load_published_latentface

pytest.importorskip("diffusers", reason="needs the extra image")

#: Results are stored in single precision.
SINGLE = 2e-7


def test_the_opened_networks_compute_what_the_published_ones_do(golden_latentface, golden_latentface_path):
    arrays = golden_latentface("forward_dev")
    networks = load_published_latentface(golden_latentface_path("published_dev.pth"))
    names = ("shape", "texture", "light", "view", "confidence", "identity_texture", "identity_shape")
    assert not any(getattr(networks, name).training for name in names)
    for name in names:
        getattr(networks, name).double()
    image = 2 * torch.from_numpy(arrays["image"]).double() - 1
    ours = {}
    with torch.no_grad():
        (z_s, ours["netD.raw"]), (z_t, ours["netA.out"]) = networks.shape(image), networks.texture(image)
        ours |= {"netD.code": z_s, "netA.code": z_t}
        ours |= {"netL.out": networks.light(image), "netV.out": networks.view(image)}
        ours["netC.pix"], ours["netC.perc"] = networks.confidence(image)
        identities = {}
        for net, model, code in (("netEA", networks.identity_texture, z_t), ("netED", networks.identity_shape, z_s)):
            noise = torch.from_numpy(arrays[f"{net}.noise"]).double()[None]
            assert model.config.rule == "published"
            identities[net] = model.sample(code, noise=noise)
            ours |= {f"{net}.identity_d014": identities[net], f"{net}.offset_d014": code - identities[net]}
            ours[f"{net}.identity_ddim"] = with_rule(model, "ddim").sample(code, noise=noise)
    id_t, id_s = identities["netEA"], identities["netED"]
    ours["features_expression"] = torch.cat([z_t - id_t, z_t, z_s - id_s, z_s], dim=1)
    ours["features_verification"] = torch.cat([id_t, z_t, id_s, z_s], dim=1)
    arrays.check(ours, tolerance=SINGLE)


def with_rule(model, rule):
    other = type(model)(dataclasses.replace(model.config, rule=rule)).double()
    other.load_state_dict(model.state_dict())
    return other


def test_sizes_are_read_off_the_tensors(golden_latentface_path):
    networks = load_published_latentface(golden_latentface_path("published_dev.pth"))
    config = networks.config
    assert (config.image_size, config.width, config.code_size, config.number_width) == (64, 16, 32, 8)
    assert (config.confidence_width, config.confidence_code_size, config.norm_groups) == (16, 16, 16)
    diffusion = networks.identity_texture.config
    assert (diffusion.latent_size, diffusion.width, diffusion.layers_per_block) == (32, 96, 2)
    assert np.allclose(
        [networks.identity_shape.latent_range.center, networks.identity_shape.latent_range.scale], [0, 1]
    )
