"""FED's published networks from their state dicts: outputs, gradients and running statistics, in double precision."""

import numpy as np
import torch

from meshdisent.losses.fed import pair_entropy
from meshdisent.nn.additive import AdditiveDecoder, by_vertex, published_additive_state
from meshdisent.nn.discriminator import DiscriminatorNetworkConfig, IdentityDiscriminator, published_discriminator_state
from meshdisent.nn.pointnet import PointEncoder, PointEncoderConfig, published_point_encoder_state
from meshdisent.nn.variational import reparameterize

#: Results are stored in single precision.
SINGLE = 1e-7
HEADS = ("mu_id", "logvar_id", "mu_exp", "logvar_exp")


def state_of(golden_fed, name):
    state = golden_fed(name)
    return {key: torch.from_numpy(state[key]) for key in state}


def double(arrays, key):
    return torch.from_numpy(arrays[key]).double()


def point_encoder(golden_fed):
    encoder = PointEncoder(PointEncoderConfig(channels=(16, 16, 16, 24, 48)), 5, 3)
    encoder.load_state_dict(published_point_encoder_state(state_of(golden_fed, "vae_state")))
    return encoder.double()


def additive_decoder(golden_fed):
    decoder = AdditiveDecoder(5, 3, (32,), vertex_count=240)
    decoder.load_state_dict(published_additive_state(state_of(golden_fed, "vae_state")))
    return decoder.double()


def test_the_encoder_is_the_published_one(golden_fed):
    arrays = golden_fed("vae_encoder")
    ours = {}
    for mode in ("train", "eval"):
        encoder = point_encoder(golden_fed).train(mode == "train")
        points = double(arrays, "x").requires_grad_()
        (mu_id, logvar_id), (mu_exp, logvar_exp) = encoder(points)
        heads = dict(zip(HEADS, (mu_id, logvar_id, mu_exp, logvar_exp), strict=True))
        scalar = sum((h.flatten() * (torch.arange(h.numel()) + 1) / 10).sum() for h in heads.values())
        scalar.backward()
        ours |= {f"{mode}/{name}": value for name, value in heads.items()}
        ours[f"{mode}/grad_scalar"] = scalar
        ours[f"{mode}/grad_x"] = points.grad
        ours[f"{mode}/grad_conv1.weight"] = encoder.features.linears[0].weight.grad[..., None]
        ours[f"{mode}/grad_bn5.weight"] = encoder.features.norms[4].weight.grad
        ours |= {f"{mode}/{key}": value for key, value in layer_by_layer(golden_fed, mode, points).items()}
        if mode == "train":
            ours |= running(encoder.features.norms, "train/after/bn")
    ours |= {"eval/encoding_eval_id": ours["eval/mu_id"], "eval/encoding_eval_exp": ours["eval/mu_exp"]}
    arrays.check(ours, tolerance=SINGLE)


def layer_by_layer(golden_fed, mode, points):
    """The same network written densely; also the twin of the search for winners."""
    features = point_encoder(golden_fed).train(mode == "train").features
    rows, shown = points.detach().flatten(0, 1), {}
    with torch.no_grad():
        for number, (linear, norm) in enumerate(zip(features.linears, features.norms, strict=True), start=1):
            rows = torch.relu(norm(linear(rows)))
            shown[f"relu_bn{number}_sample0"] = rows.unflatten(0, points.shape[:2])[0].T
    kept = {key: shown[key] for key in ("relu_bn1_sample0", "relu_bn5_sample0")}
    return kept | {"feature": rows.unflatten(0, points.shape[:2]).amax(dim=1)}


def running(norms, prefix, first=1):
    ours = {}
    for number, norm in enumerate(norms, start=first):
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            ours[f"{prefix}{number}.{name}"] = getattr(norm, name).clone()
    return ours


def test_the_decoder_and_the_whole_pass_are_the_published_ones(golden_fed):
    arrays = golden_fed("vae_decoder")
    decoder, mean = additive_decoder(golden_fed), double(arrays, "mean_face")
    z_id, z_exp = double(arrays, "z_id"), double(arrays, "z_exp")
    offsets = {"id": decoder.neutral(z_id), "exp": decoder.expression_only(z_exp), "sum": decoder(z_id, z_exp)}
    faces = {"full": offsets["sum"], "identity": offsets["id"], "expression": offsets["exp"]}
    raw = offsets["id"].transpose(1, 2).flatten(1)  # all x, all y, all z
    assert torch.equal(by_vertex(raw.T).T.unflatten(1, (240, 3)), offsets["id"])
    ours = {"fc2_id_raw": raw}
    ours |= {f"out_{name}": value for name, value in offsets.items()}
    ours |= {f"face_{name}": mean + value for name, value in faces.items()}
    for mode in ("train", "eval"):
        ours |= whole_pass(golden_fed, arrays, decoder, mode)
    ours |= applications(golden_fed, arrays, decoder, mean)
    arrays.check(ours, tolerance=SINGLE)


def whole_pass(golden_fed, arrays, decoder, mode):
    from meshdisent.losses.fed import sampled_divergence

    encoder = point_encoder(golden_fed).train(mode == "train")
    ours, codes = {}, []
    with torch.no_grad():
        for name, (mu, log_variance) in zip(("id", "exp"), encoder(double(arrays, "x")), strict=True):
            noise = double(arrays, f"forward_{mode}/eps_{name}")
            codes.append(reparameterize(mu, log_variance, noise))
            ours[f"forward_{mode}/z_{name}"] = codes[-1]
            ours[f"forward_{mode}/kl_{name}"] = sampled_divergence(log_variance, noise, codes[-1]).mean()
    made = {"x_hat": decoder(*codes), "x_hat_id": decoder.neutral(codes[0])}
    made["x_hat_exp"] = decoder.expression_only(codes[1])
    return ours | {f"forward_{mode}/{name}": value for name, value in made.items()}


@torch.no_grad()
def applications(golden_fed, arrays, decoder, mean):
    """Scan 0 is a, scan 2 is b; codes are means."""
    (identity, _), (expression, _) = point_encoder(golden_fed).eval()(double(arrays, "x"))
    (z_a, z_b), (e_a, e_b) = identity[[0, 2], None], expression[[0, 2], None]
    ours = {
        "transfer/a_with_exp_of_b": decoder(z_a, e_b),
        "transfer/b_with_exp_of_a": decoder(z_b, e_a),
        "transfer/a_step_50_of_150": decoder(z_a, e_a + (e_b - e_a) * 50 / 150),
    }
    for step in (1, 2, 3):
        ours[f"interpolate/id_b_to_a_step_{step}_of_4"] = decoder(z_b + (z_a - z_b) * step / 4, e_b)
    return {name: mean + value for name, value in ours.items()}


def test_the_discriminator_is_the_published_one(golden_fed):
    arrays = golden_fed("discriminator")
    keep = double(arrays, "bn1_train/dropout_keep_mask") * 2
    ours = {}
    for norm in (0, 1):
        for mode in ("train", "eval"):
            discriminator = IdentityDiscriminator(DiscriminatorNetworkConfig(channels=(16, 24, 48), hidden=(40, 32)))
            discriminator.load_state_dict(published_discriminator_state(state_of(golden_fed, "disc_state")))
            discriminator.double().train(mode == "train")
            kept = keep if mode == "train" else torch.ones_like(keep)
            values = judged(arrays, discriminator, kept if norm else None)
            if (norm, mode) == (1, "train"):
                values |= statistics(discriminator)
            ours |= {f"bn{norm}_{mode}/{key}": value for key, value in values.items()}
    # Batch statistics of nearly equal pooled rows: their single-precision copies are that far from each other.
    arrays.check(ours, tolerance=SINGLE)


def judged(arrays, discriminator, keep):
    pairs = double(arrays, "pair").requires_grad_()
    is_same = torch.from_numpy(arrays["label"]) == 1
    if keep is None:
        transform = discriminator.transform.plain(pairs)
        feature = discriminator.features.plain(pairs @ transform)
        logits = discriminator.head.plain(feature)
        assert torch.equal(logits, discriminator.plain(pairs))
    else:
        transform = discriminator.transform(pairs)
        feature = discriminator.features(pairs @ transform)
        logits = discriminator.head(feature, keep)
    value = pair_entropy(logits, is_same)
    value.backward()
    return {
        "input_transform": transform,
        "feature": feature,
        "logits": logits,
        "log_softmax": logits.log_softmax(dim=1),
        "predicted_class": logits.argmax(dim=1),
        "cross_entropy": value,
        "grad_pair": pairs.grad,
        "grad_fc3.weight": discriminator.head.linears[2].weight.grad,
        "grad_feature_network.conv1.weight": discriminator.features.linears[0].weight.grad[..., None],
    }


def statistics(discriminator):
    above, inside = "after/feature_network.stn.bn", "after/feature_network.bn"
    found = {
        **running(discriminator.transform.features.norms, above),
        **running(discriminator.transform.head.norms, above, first=4),
        **running(discriminator.features.norms, inside),
        **running(discriminator.head.norms, "after/bn", first=4),
    }
    return {key: value for key, value in found.items() if "tracked" not in key}


def test_dropout_masks_keep_half(golden_fed):
    keep = golden_fed("discriminator")["bn1_train/dropout_keep_mask"]
    assert set(np.unique(keep)) == {0.0, 1.0}
    assert 0.4 < keep.mean() < 0.6
