"""The smallest model that has all a trained model can have: two players, noise, a bank that its objective writes.

Lies beside the tests and is found through ``contract.MODELS`` like any other model; see the fixture ``tiny`` there.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from meshdisent.data.dataset import ScanDataset
from meshdisent.morphable import contract
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.morphable.trainable import Player


@dataclasses.dataclass(frozen=True, kw_only=True)
class TinyConfig:
    identity_size: int = 2
    expression_size: int = 2
    beta: float = 0.9
    kl_weight: float = 0.01
    #: Calls of the objective (from, up to) in which it goes wrong, and what is not finite then.
    broken: tuple[int, ...] = ()
    breaks: str = "loss"


class TinyAutoencoder(MorphableModel):
    name: ClassVar[str] = "tiny"
    config_class: ClassVar[type] = TinyConfig
    training_only: ClassVar[tuple[str, ...]] = ("bank", "critic")

    def __init__(self, config: TinyConfig, topology, subject_count: int):
        super().__init__(topology, config.identity_size, config.expression_size)
        size, codes = 3 * topology.vertex_count, config.identity_size + config.expression_size
        self.config = config
        self.encoder = nn.Linear(size, 2 * codes)
        self.decoder = nn.Linear(codes, size)
        self.critic = nn.Linear(codes, 1)
        self.register_buffer("mean", torch.zeros(topology.vertex_count, 3))
        self.register_buffer("bank", torch.zeros(subject_count, topology.vertex_count, 3))
        self.calls = 0

    @classmethod
    def for_training(cls, config, scans):
        model = cls(config, scans.topology, len(scans.subjects))
        mean = torch.from_numpy(scans.vertices(scans.rows("train")).mean(0))
        model.mean.copy_(mean)
        model.bank.copy_(mean.expand_as(model.bank))
        return model

    def posterior(self, vertices):
        return self.encoder((vertices - self.mean).flatten(1) / 10).chunk(2, dim=1)

    def encode(self, vertices):
        mu = self.posterior(vertices)[0]
        return Codes(mu[:, : self.identity_size], mu[:, self.identity_size :])

    def decode(self, codes):
        return self.mean + 10 * self.decoder(torch.cat(codes, dim=1)).unflatten(1, (-1, 3))

    def neutral(self, identity):
        return self.decode(Codes(identity, identity.new_zeros(len(identity), self.expression_size)))

    def expression_only(self, expression):
        return self.decode(Codes(expression.new_zeros(len(expression), self.identity_size), expression))

    def players(self):
        generator = [*self.encoder.parameters(), *self.decoder.parameters()]
        weights = {"reconstruct": 1.0, "kl": self.config.kl_weight, "neutral": 0.5, "fool": 0.1, "unused": 0.0}
        return [
            Player(name="faces", parameters=lambda: generator, objective=self.reconstruct, weights=weights),
            Player(name="critic", parameters=self.critic.parameters, objective=self.judge, weights={"judge": 1.0}),
        ]

    def reconstruct(self, batch, generator):
        self.calls += 1
        mu, log_variance = self.posterior(batch.vertices)
        noise = torch.randn(mu.shape, generator=generator, dtype=mu.dtype)
        z = mu + (log_variance / 2).exp() * noise
        codes = Codes(z[:, : self.identity_size], z[:, self.identity_size :])
        decoded, neutral = self.decode(codes), self.neutral(codes.identity)
        terms = {
            "reconstruct": (decoded - batch.vertices).square().mean(),
            "kl": 0.5 * (mu.square() + log_variance.exp() - log_variance - 1).sum(1).mean(),
            "neutral": (neutral - self.bank[batch.subject]).square().mean(),
            "fool": -self.critic(z).mean(),
            "seen": batch.rows.to(mu.dtype).mean(),
        }
        with torch.no_grad():
            for subject in batch.subject.unique():
                own = decoded[batch.subject == subject].mean(0)
                self.bank[subject] += (1 - self.config.beta) * (own - self.bank[subject])
        if self.config.broken and self.config.broken[0] <= self.calls < self.config.broken[1]:
            kinds = {
                "loss": torch.tensor(torch.nan),
                "gradient": (0 * mu).sum().sqrt(),
                "explosion": 1e6 * terms["reconstruct"],
            }
            terms["reconstruct"] = terms["reconstruct"] + kinds[self.config.breaks]
        return terms

    def judge(self, batch, generator):
        z = torch.cat(self.encode(batch.vertices), dim=1)
        return {"judge": (self.critic(z).squeeze(1) - batch.subject.to(z.dtype)).square().mean()}

    def config_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self.config) | {"subjects": len(self.bank)}

    @classmethod
    def from_parts(cls, config, topology, state):
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items() if k != "subjects"}
        model = cls(TinyConfig(**values), topology, config["subjects"])
        model.load_state_dict(model.state_dict() | state)
        return model

    @classmethod
    def fit(cls, scans, recipe=None):
        from meshdisent.training.loop import run_recipe
        from meshdisent.training.recipe import Recipe

        return run_recipe(recipe or Recipe.default("tiny"), scans).model


class TinyMean(MorphableModel):
    """A model in closed form: always the mean training scan."""

    name: ClassVar[str] = "tiny_mean"
    config_class: ClassVar[type] = TinyConfig
    trainable: ClassVar[bool] = False

    def __init__(self, topology):
        super().__init__(topology, 1, 1)
        self.register_buffer("mean", torch.zeros(topology.vertex_count, 3))

    @classmethod
    def fit(cls, scans, recipe=None):
        model = cls(scans.topology)
        model.mean.copy_(torch.from_numpy(scans.vertices(scans.rows("train")).mean(0)))
        model.calibrate(scans)
        return model

    def encode(self, vertices):
        return Codes(vertices.new_zeros(len(vertices), 1), vertices.new_zeros(len(vertices), 1))

    def decode(self, codes):
        return self.mean.expand(len(codes.identity), -1, -1)

    def neutral(self, identity):
        return self.mean.expand(len(identity), -1, -1)

    def expression_only(self, expression):
        return self.mean.expand(len(expression), -1, -1)

    def config_dict(self):
        return {}

    @classmethod
    def from_parts(cls, config, topology, state):
        model = cls(topology)
        model.load_state_dict(state)
        return model


def register() -> None:
    """Let recipes and model files find the models above."""
    contract.MODELS["tiny"] = (__name__, "TinyAutoencoder")
    contract.MODELS["tiny_mean"] = (__name__, "TinyMean")


def tiny_scans(subjects: int = 6, vertices: int = 30, seed: int = 0, val: int = 1, test: int = 0, **changes: Any):
    """Scans that are a sum of a subject and an expression: 4 expressions each, the last subjects for validation."""
    random = np.random.default_rng(seed)
    template = random.normal(size=(vertices, 3)) * 40
    face = np.stack([np.arange(vertices - 2), np.arange(1, vertices - 1), np.arange(2, vertices)], axis=1)
    who = random.normal(size=(subjects, vertices, 3)) * 3
    what = random.normal(size=(4, vertices, 3)) * 2
    what[0] = 0
    scans = template + who[:, None] + what[None]
    held_out = val + test
    splits = ["train"] * (subjects - held_out) + ["val"] * val + ["test"] * test
    arguments: dict[str, Any] = {
        "template": template,
        "split": [splits[s] for s in range(subjects) for _ in range(4)],
    }
    return ScanDataset.from_arrays(
        scans.reshape(-1, vertices, 3),
        face,
        [f"s{s}" for s in range(subjects) for _ in range(4)],
        [e for _ in range(subjects) for e in ("neutral", "smile", "frown", "open")],
        **(arguments | changes),
    )
