"""FED's published loss terms: values and gradients, in double precision."""

from pathlib import Path

import numpy as np
import pytest
import torch

from meshdisent.losses import fed
from meshdisent.mesh.laplacian import uniform_laplacian
from meshdisent.mesh.topology import Topology

#: Settings of the information bottleneck: beta and training scans.
BOTTLENECKS = {"nomask": (50.0, 18424), "mask": (50.0, 18424), "beta0": (0.0, 18424), "beta3_n100": (3.0, 100)}


def test_losses_are_the_published_numbers(golden_fed):
    arrays = golden_fed("losses")
    ours = {
        **reconstruction(arrays),
        **divergence(arrays),
        **latent(arrays),
        **entropy(arrays),
        **roughness(arrays),
        "logsumexp/dim1": torch.logsumexp(torch.from_numpy(arrays["logsumexp/x"]), dim=1),
    }
    for name, (beta, scan_count) in BOTTLENECKS.items():
        ours |= bottleneck(arrays, f"ib_{name}/", beta, scan_count)
    arrays.check(ours, tolerance=1e-13, loose={"logsumexp/dim1": 1e-7})  # computed in single precision


def test_the_copy_is_equal_to_the_original(golden_fed_path):
    original = Path(__file__).resolve().parents[3] / "shared" / "golden" / "fed" / "losses.npz"
    if not original.is_file():
        pytest.skip("needs ../shared (the reference data beside the checkout), which is absent")
    copy = golden_fed_path("losses.npz")
    assert copy != original
    assert copy.read_bytes() == original.read_bytes()


def inputs(arrays, *keys):
    return [torch.from_numpy(arrays[key]).requires_grad_() for key in keys]


def reconstruction(arrays):
    made, target = inputs(arrays, "recon/pred", "recon/target")
    value = fed.mean_square(made, target)
    value.backward()
    return {"recon/value": value, "recon/grad_pred": made.grad}


def divergence(arrays):
    mean, log_variance, noise = inputs(arrays, "kl/mu", "kl/logvar", "kl/eps")
    code = mean + torch.exp(log_variance / 2) * noise
    each = fed.sampled_divergence(log_variance, noise, code)
    each.mean().backward()
    return {
        "kl/z": code,
        "kl/per_sample": each,
        "kl/value": each.mean(),
        "kl/grad_mu": mean.grad,
        "kl/grad_logvar": log_variance.grad,
        "kl/closed_form_per_sample_for_comparison": fed.divergence(mean, log_variance),
    }


def bottleneck(arrays, prefix, beta, scan_count):
    mean, log_variance, mean_exp, log_variance_exp = inputs(
        arrays, *(f"{prefix}{kind}_{code}" for code in ("id", "exp") for kind in ("mu", "logvar"))
    )
    noise = torch.from_numpy(arrays[f"{prefix}eps_id"])
    assert arrays[f"{prefix}eps_exp"].shape == mean_exp.shape, "drawn, and not used: in closed form"
    has_mask = f"{prefix}neutral_mask" in list(arrays)
    at_rest = torch.from_numpy(arrays[f"{prefix}neutral_mask"]) if has_mask else torch.zeros(len(mean)).bool()
    identity = fed.bottleneck(mean, log_variance, noise, at_rest, beta=beta, scan_count=scan_count)
    expression = fed.divergence(mean_exp, log_variance_exp)
    values = identity.mean() / mean.shape[1], expression.mean() / mean_exp.shape[1]
    (values[0] + 2 * values[1]).backward()
    return {
        f"{prefix}per_sample_id": identity,
        f"{prefix}per_sample_exp": expression,
        f"{prefix}value_id": values[0],
        f"{prefix}value_exp": values[1],
        f"{prefix}grad_mu_id": mean.grad,
        f"{prefix}grad_logvar_id": log_variance.grad,
        f"{prefix}grad_mu_exp": mean_exp.grad,
        f"{prefix}grad_logvar_exp": log_variance_exp.grad,
    }


def latent(arrays):
    again, first = inputs(arrays, "neutral_latent/z_reencoded", "neutral_latent/z_id")
    value = fed.latent_consistency(again, first)
    value.backward()
    return {
        "neutral_latent/value": value,
        "neutral_latent/grad_z_reencoded": again.grad,
        "neutral_latent/grad_z_id": first.grad,
    }


def entropy(arrays):
    label = torch.from_numpy(arrays["cross_entropy/label"]) == 1
    ours = {}
    for term, is_same in (("cross_entropy", label), ("generator_adversarial", torch.ones_like(label))):
        (logits,) = inputs(arrays, f"{term}/logits")
        value = fed.pair_entropy(logits, is_same)
        value.backward()
        ours |= {f"{term}/value": value, f"{term}/grad_logits": logits.grad}
    return ours


def roughness(arrays):
    (faces,) = inputs(arrays, "laplacian/x")
    topology = Topology(np.zeros((int(arrays["laplacian/n_vertices"]), 3)), arrays["laplacian/faces"])
    laplacian = uniform_laplacian(topology)
    sparse = torch.from_numpy(laplacian.toarray()).to_sparse()
    value = fed.roughness(faces, sparse)
    value.backward()
    return {
        "laplacian/matrix": laplacian.toarray(),
        "laplacian/per_sample": torch.stack([fed.roughness(face[None], sparse) for face in faces]),
        "laplacian/value": value,
        "laplacian/grad_x": faces.grad,
    }
