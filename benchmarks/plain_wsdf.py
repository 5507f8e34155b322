"""WSDF written operation by operation from the papers: what the library's own step is measured against.

Gather then linear, with the gathered features of the whole batch in memory; instance norm by torch's own function;
pooling by a sparse matrix; the whole Jacobian of the decoder, (B, 3V, E) numbers, multiplied by the code; the decoder
called anew for each thing that is asked of it; AdamW parameter by parameter. It works on the parameters of a
:class:`~meshdisent.morphable.wsdf.WSDF` without a linear start, so that both can be compared number by number.
"""

import torch
from torch import Tensor, nn

from meshdisent.losses.shared import kl_divergence, reconstruction
from meshdisent.losses.wsdf import compactness, jacobian_hinge, neutralization, published_pairing
from meshdisent.morphable.contract import Batch
from meshdisent.morphable.wsdf import WSDF, Noise
from meshdisent.nn.spiral import SpiralEncoder
from meshdisent.nn.variational import reparameterize


class PlainStep:
    """Training of a WSDF model, one plain step after the other.

    Parameters
    ----------
    model : Its parameters and its bank are changed in place.
    learning_rate, weight_decay : Of AdamW.
    """

    def __init__(self, model: WSDF, learning_rate: float, weight_decay: float):
        self.model = model
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=learning_rate, weight_decay=weight_decay, foreach=False, fused=False
        )
        self._pools: dict[int, Tensor] = {}

    def take(self, batch: Batch, generator: torch.Generator) -> float:
        """One step; returns the weighted sum of the terms."""
        noise = self.model.draw_noise(len(batch.rows), generator)
        terms = self.terms(batch, noise)
        weights = self.model.players()[0].weights
        total = torch.stack([weight * terms[name] for name, weight in weights.items() if weight]).sum()
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        return float(total.detach())

    def terms(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """What :meth:`WSDF.objective` gives, bank included."""
        model, loss = self.model, self.model.config.loss
        assert model.bank is not None
        assert model.confidence is not None
        shown = model.normalization(batch.vertices)
        posterior = [self._encode(encoder, shown) for encoder in (model.identity_encoder, model.expression_encoder)]
        identity, expression = (
            reparameterize(*part, drawn)
            for part, drawn in zip(posterior, (noise.identity, noise.expression), strict=True)
        )
        decoded = self._decode(identity, expression)
        rest = model.normalization(model.bank(batch.subject))
        neutral = self._decode(identity, torch.zeros_like(expression))
        terms = {
            "reconstruction": reconstruction(decoded, shown),
            "kl_identity": kl_divergence(*posterior[0]),
            "kl_expression": kl_divergence(*posterior[1]),
            "neutral": neutralization(neutral, rest, model.confidence[batch.subject]),
        }
        if loss.compactness:
            anchors = len(noise.anchors)
            terms["compactness"] = compactness(posterior[0][0][:anchors], posterior[0][1][:anchors], noise.anchors)
        if loss.jacobian:
            terms["jacobian"] = self._hinge(identity.detach(), expression.detach())
        model.bank.update(batch.subject, model.normalization.undo(decoded.detach()))
        return terms

    def _hinge(self, identity: Tensor, expression: Tensor) -> Tensor:
        loss = self.model.config.loss
        if loss.pairing == "published":
            identity = published_pairing(identity, loss.group)
        scale = self.model.normalization.deviation

        def one(z_id: Tensor, z_exp: Tensor) -> Tensor:
            return (self._decode(z_id[None], z_exp[None])[0] * scale).flatten()

        jacobian = torch.func.vmap(torch.func.jacfwd(one, argnums=1))(identity, expression)  # (B, 3V, E)
        directional = (jacobian @ expression[:, :, None])[:, :, 0]
        moved = self._decode(identity, expression) - self._decode(identity, torch.zeros_like(expression))
        growth = ((moved * scale).flatten(start_dim=1) * directional).sum(dim=1)
        return jacobian_hinge(growth, expression.square().sum(dim=1), loss.jacobian_upper, loss.jacobian_lower)

    def _decode(self, identity: Tensor, expression: Tensor) -> Tensor:
        recoupler, generator = self.model.decoder.recoupler, self.model.decoder.generator
        scores = recoupler.scores(identity, expression).to(recoupler.weight.dtype).flatten(start_dim=1)
        weight = recoupler.weight.flatten(start_dim=1)
        return generator.net(scores @ (weight / weight.norm(dim=1, keepdim=True)).T).unflatten(1, (-1, 3))

    def _encode(self, encoder: SpiralEncoder | None, shown: Tensor) -> tuple[Tensor, Tensor]:
        assert encoder is not None
        first, pool_1, second, pool_2, third, block_1, block_2, flatten, linear = encoder.trunk
        features = self._pooled(self._block(shown, first.conv), pool_1.kept)
        features = self._pooled(self._block(features, second.conv), pool_2.kept)
        features = self._block(features, third.conv)
        for residual in (block_1, block_2):
            inner = self._block(features, residual.block.conv)
            features = self._convolved(inner, residual.conv) + features
        mean, log_variance = encoder.head(nn.functional.elu(linear(flatten(features)))).chunk(2, dim=1)
        return mean, log_variance

    def _block(self, features: Tensor, conv: nn.Module) -> Tensor:
        return nn.functional.elu(self._convolved(features, conv))

    def _convolved(self, features: Tensor, conv: nn.Module) -> Tensor:
        gathered = features[:, conv.spirals.flatten()].view(len(features), len(conv.spirals), -1)
        return nn.functional.instance_norm(conv.linear(gathered).transpose(1, 2)).transpose(1, 2)

    def _pooled(self, features: Tensor, kept: Tensor) -> Tensor:
        fine = features.shape[1]
        if fine not in self._pools:
            entries = torch.stack([torch.arange(len(kept)), kept.cpu()])
            size = (len(kept), fine)
            matrix = torch.sparse_coo_tensor(entries, torch.ones(len(kept)), size, check_invariants=True)
            self._pools[fine] = matrix.to(features).coalesce()
        flat = features.permute(1, 0, 2).reshape(fine, -1)
        return torch.sparse.mm(self._pools[fine], flat).unflatten(1, (len(features), -1)).permute(1, 0, 2)
