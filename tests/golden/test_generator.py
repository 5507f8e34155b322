"""The published generator and decoder, with their Jacobians."""

import torch
from torch.func import jacfwd, vmap

from meshdisent.nn.decoders import Generator, published_decoder


def test_generator_and_decoder_give_the_published_outputs_and_jacobians(golden):
    arrays = golden("generator")
    generator = Generator(12, (16, 14), 10)
    generator.load_state_dict({key: torch.from_numpy(value) for key, value in arrays.under("param.").items()})
    fused = torch.from_numpy(arrays["in"])
    ours = {"out_f32": generator(fused).flatten(1)}
    generator.double()
    fused = fused.double()
    ours["out_f64"] = generator(fused).flatten(1)
    ours["jacobian_f64"] = _by_scan(lambda code: generator(code[None])[0].flatten(), fused)

    state = {key: torch.from_numpy(value) for key, value in arrays.under("decoder.param.").items()}
    decoder = published_decoder(state).double()
    identity, expression = (torch.from_numpy(arrays[f"decoder.{key}"]).double() for key in ("z_id", "z_exp"))
    ours |= {
        "decoder.out_f64": decoder(identity, expression),
        "decoder.neutral_f64": decoder.neutral(identity),
        "decoder.jac_id_f64": _by_scan(lambda i, e: decoder(i[None], e[None])[0], identity, expression),
        "decoder.jac_exp_f64": _by_scan(lambda e, i: decoder(i[None], e[None])[0], expression, identity),
    }
    arrays.check(ours, tolerance=1e-10, loose={"out_f32": 1e-6})


def _by_scan(function, *codes):
    """Jacobian of a function of one scan's codes with respect to the first, for each scan."""
    return vmap(jacfwd(function))(*codes)
