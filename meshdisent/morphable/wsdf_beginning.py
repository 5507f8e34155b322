"""What :class:`~meshdisent.morphable.wsdf.WSDF` begins with: encoders, linear start, synthetic people and bank."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.pseudo_neutrals import pseudo_neutrals
from meshdisent.morphable.encoder_pairs import Pair, pair_from, untrained_pair
from meshdisent.morphable.fed_beginning import measure
from meshdisent.morphable.linear import mirrored_faces
from meshdisent.morphable.linear_start import LinearStart, displacements_at_the_mean, see, show_people
from meshdisent.morphable.principal import principal_directions
from meshdisent.morphable.wsdf_config import BankConfig, WSDFConfig
from meshdisent.nn.additive import AdditiveDecoder
from meshdisent.nn.decoders import AddedDecoder, Generator, RecoupledDecoder
from meshdisent.nn.neutral_bank import NeutralBank, PrincipalBank
from meshdisent.nn.normalization import Normalization, UnitCoordinates
from meshdisent.nn.pointnet import PointEncoder, PointScanEncoder
from meshdisent.nn.principal_encoder import PrincipalEncoder
from meshdisent.nn.recoupler import Recoupler
from meshdisent.nn.synthetic_people import SyntheticPeople

#: Scans that principal directions of a bank are found on, evenly spaced.
_LOOKED_AT = 2000
#: Two encoders, for identity and expression, or one for both.
Encoders = Pair | PrincipalEncoder | PointScanEncoder


class Centers:
    """Pseudo-neutrals of a dataset, each kind computed once: seconds for thousands of scans."""

    def __init__(self, scans: ScanDataset):
        self.scans = scans
        self._found: dict[str, Float[np.ndarray, "subject vertex 3"]] = {}

    def of(self, kind: str) -> Float[np.ndarray, "subject vertex 3"]:
        """(S, V, 3) mm."""
        if kind not in self._found:
            self._found[kind] = pseudo_neutrals(self.scans, kind)
        return self._found[kind]


def begin(config: WSDFConfig, centers: Centers) -> tuple[SyntheticPeople | None, LinearStart | None, Encoders]:
    """Synthetic people, linear start and untrained encoders, as far as the configuration asks for them."""
    scans = centers.scans
    wanted, sizes, topology = config.linear_start, (config.identity_size, config.expression_size), scans.topology
    people = start = sight = None
    if wanted.is_on:
        neutrals = centers.of(wanted.neutrals)
        if config.needs_people:
            own = neutrals[np.unique(scans.subject[scans.rows("train")])]
            faces = np.concatenate([own, mirrored_faces(own, topology)]) if wanted.mirrored else own
            people = SyntheticPeople(faces, topology, wanted.mirrored, config.people.tail)
        start = LinearStart.of(scans, neutrals, sizes, wanted, people)
        if people is not None and wanted.learned_from == "people":
            others = show_people(start, displacements_at_the_mean(scans, neutrals, people), people)
            sight = see(others.scans, config.principal.components)
            start.learn(others, sight)
    if config.encoders == "principal":
        if sight is None:
            shown = torch.from_numpy(scans.vertices(scans.rows("train"))).flatten(start_dim=1)
            sight = see(shown, config.principal.components)
        return people, start, PrincipalEncoder(*sight, config.principal.hidden, *sizes)
    if config.encoders == "point":
        unit, _ = measure(scans, None)
        return people, start, PointScanEncoder(unit, PointEncoder(config.point, *sizes))
    return people, start, untrained_pair(config.pair_widths, sizes, config.hierarchy, topology)


def decoder_of(config: WSDFConfig, vertex_count: int) -> RecoupledDecoder | AddedDecoder:
    """An untrained decoder."""
    sizes = config.identity_size, config.expression_size
    if config.decoder == "additive":
        return AddedDecoder(AdditiveDecoder(*sizes, config.hidden, vertex_count))
    return RecoupledDecoder(
        Recoupler(*sizes, config.fused_size, config.exact_recoupler),
        Generator(config.fused_size, config.hidden, vertex_count),
    )


def encoders_from(state: dict[str, Tensor], config: WSDFConfig) -> Encoders:
    """Encoders of the right shapes for a file's tensors."""
    sizes = config.identity_size, config.expression_size
    if config.encoders == "principal":
        sight = state["principal_encoder.center"], state["principal_encoder.directions"]
        return PrincipalEncoder(*sight, config.principal.hidden, *sizes)
    if config.encoders == "point":
        unit = UnitCoordinates(*(state[f"point_encoder.coordinates.{name}"] for name in ("origin", "scale")))
        return PointScanEncoder(unit, PointEncoder(config.point, *sizes))
    return pair_from(state, "identity_encoder.", config.pair_widths, sizes)


def bank_of(config: BankConfig, centers: Centers, normalization: Normalization) -> NeutralBank | PrincipalBank:
    """The bank of a dataset's subjects, where training begins."""
    scans, start = centers.scans, bank_start(config, centers, normalization)
    if config.components is None:
        return NeutralBank(len(scans.subjects), start, config.beta)
    rows = scans.rows("train")
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _LOOKED_AT)).round().astype(np.int64)]
    shown = torch.from_numpy(scans.vertices(rows))
    center = shown.mean(dim=0)
    directions = principal_directions((shown - center).flatten(start_dim=1), config.components).directions
    return PrincipalBank(len(scans.subjects), start, center, directions, config.beta)


def bank_from(state: dict[str, Tensor], beta: float) -> NeutralBank | PrincipalBank:
    """The bank that a checkpoint holds."""
    if "bank.entries" in state:
        return NeutralBank(len(state["bank.entries"]), state["bank.entries"], beta)
    return PrincipalBank.of_coordinates(state["bank.coordinates"], state["bank.center"], state["bank.directions"], beta)


def bank_start(config: BankConfig, centers: Centers, normalization: Normalization) -> Tensor:
    """(V, 3) or (S, V, 3): where the bank's entries begin, in mm."""
    if config.start == "mean_scan":
        return normalization.mean
    faces = centers.of(config.start).copy()
    rows = np.isnan(faces[:, 0, 0])
    faces[rows] = normalization.mean.double().numpy()  # subjects without training scans; never read
    return torch.from_numpy(faces).float()
