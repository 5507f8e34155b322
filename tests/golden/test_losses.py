"""All published loss terms: values and gradients, in double precision."""

import json

import torch

from meshdisent.losses import shared, wsdf
from meshdisent.nn.decoders import published_decoder


def test_losses_are_the_published_numbers(golden):
    arrays = golden("losses")
    ours = {
        **_reconstruction(arrays),
        **_neutralization(arrays),
        **_divergence(arrays),
        **_compactness(arrays),
        **_jacobian(arrays),
    }
    arrays.check(
        ours,
        exempt={"total.weights_json": "settings as text; the recipes' test compares them"},
        # Reference: zero but for rounding, because the gradient of a bias cancels between f(z) and f(0).
        loose={"jac.grad_param.gen_model.net.4.bias": 1.0},
    )


def test_published_weights_are_those_of_the_facts(golden):
    weights = json.loads(str(golden("losses")["total.weights_json"]))
    assert weights["coma"] == {"rec": 1, "kl": 1, "neu": 10, "mi": 10, "jac": 10}
    assert weights["facescape"] == {"rec": 1, "kl": 1, "neu": 1, "mi": 0, "jac": 10}


def _inputs(arrays, *keys):
    return [torch.from_numpy(arrays[key]).requires_grad_() for key in keys]


def _reconstruction(arrays):
    made, target = _inputs(arrays, "rec.reconstruction", "rec.target")
    value = shared.reconstruction(made, target)
    value.backward()
    return {"rec.value": value, "rec.grad_reconstruction": made.grad, "rec.grad_target": target.grad}


def _neutralization(arrays):
    neutralized, bank, confidence = _inputs(arrays, "neu.neutralised", "neu.bank", "neu.alpha")
    value = wsdf.neutralization(neutralized, bank, confidence.detach())
    value.backward()
    assert bank.grad is None
    return {"neu.value": value, "neu.grad_neutralised": neutralized.grad}


def _divergence(arrays):
    ours, total = {}, torch.zeros(())
    for factor in ("id", "exp"):
        mean, log_variance = _inputs(arrays, f"kl.mu_{factor}", f"kl.logvar_{factor}")
        value = shared.kl_divergence(mean, log_variance)
        value.backward()
        total = total + value.detach()
        ours |= {
            f"kl.value_{factor}": value,
            f"kl.grad_mu_{factor}": mean.grad,
            f"kl.grad_logvar_{factor}": log_variance.grad,
        }
    return ours | {"kl.value": total}


def _compactness(arrays):
    mean, log_variance = _inputs(arrays, "mi.mu_id", "mi.logvar_id")
    noise = torch.from_numpy(arrays["mi.eps"])
    anchors = mean[: len(noise)], log_variance[: len(noise)], noise
    value = wsdf.compactness(*anchors)
    value.backward()
    return {
        "mi.value": value,
        "mi.log_q_pairwise": wsdf.pairwise_log_density(*anchors),
        "mi.grad_mu_id": mean.grad,
        "mi.grad_logvar_id": log_variance.grad,
    }


def _jacobian(arrays):
    state = {key: torch.from_numpy(value) for key, value in arrays.under("jac.param.").items()}
    decoder = published_decoder(state).double()
    std = torch.from_numpy(arrays["jac.norm_std"])

    def decode(identity, expression):
        return decoder(identity, expression) * std  # the mean cancels in f(z) - f(0) and in J

    paired = wsdf.published_pairing(torch.from_numpy(arrays["jac.z_id_batch"]))
    expression = torch.from_numpy(arrays["jac.z_exp_batch"])
    full = torch.func.vmap(torch.func.jacfwd(lambda e, i: decode(i[None], e[None])[0]))(expression, paired)
    displacement = decode(paired, expression) - decode(paired, torch.zeros_like(expression))
    growth, code_square = wsdf.jacobian_growth(decode, paired, expression)
    torch.testing.assert_close(growth, torch.einsum("bvc,bvce,be->b", displacement, full, expression))
    ours = {
        "jac.z_id_used": paired,
        "jac.fx_minus_f0": displacement.flatten(1),
        "jac.jacobian_exp_mm": full,
        "jac.inner": growth,
        "jac.z_sq": code_square,
    }
    for prefix in ("jac.", "jac.published_coma.", "jac.published_facescape."):
        ours |= _hinges(arrays, prefix, decoder, decode, paired, expression)
    return ours


def _hinges(arrays, prefix, decoder, decode, paired, expression):
    lower, upper = arrays[f"{prefix}gamma"].tolist()
    paired, expression = paired.clone().requires_grad_(), expression.clone().requires_grad_()
    decoder.zero_grad()
    growth, code_square = wsdf.jacobian_growth(decode, paired, expression)
    value = wsdf.jacobian_hinge(growth, code_square, upper=upper, lower=lower)
    value.backward()
    ours = {
        # Each hinge alone: the other limit is out of reach.
        f"{prefix}value_lower": wsdf.jacobian_hinge(growth, code_square, upper=1e12, lower=lower),
        f"{prefix}value_upper": wsdf.jacobian_hinge(growth, code_square, upper=upper, lower=-1e12),
        f"{prefix}value": value,
        f"{prefix}grad_z_id_used": paired.grad,
        f"{prefix}grad_z_exp": expression.grad,
    }
    if prefix == "jac.":
        for name, parameter in decoder.named_parameters():
            ours[f"jac.grad_param.{name.replace('generator.', 'gen_model.')}"] = parameter.grad
    return ours
