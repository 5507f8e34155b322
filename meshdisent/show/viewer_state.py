"""One face of a model that people change by hand: sliders to codes, codes to vertices, codes to JSON and back.

Nothing here knows of a browser; :mod:`meshdisent.show.viewer` has the page.
"""

import hashlib
import json
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.editing import as_scans
from meshdisent.errors import DataError, UsageError
from meshdisent.morphable.code_directions import CodeDirections, leading_directions
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.morphable.named_expressions import find_expression

FORMAT, VERSION = "meshdisent.codes", 1
#: No code is longer than this many letters.
LONGEST_JSON = 2_000_000
#: Codes of rest are equal if their faces are, to this many mm.
_SAME_MM = 0.01

Factor = Literal["identity", "expression"]
Vertices = Float[np.ndarray, "vertex 3"]


class FaceState:
    """A pair of codes of a model and all that the viewer does to it. The face begins as the mean person at rest.

    Parameters
    ----------
    model : Any morphable model; one without two codes cannot be neutralized.

    Attributes
    ----------
    directions : Directions of each code that the model has, the leading ones first: what sliders move along.
    codes : (1, I) and (1, E).
    is_at_rest : Whether the neutral of the identity is shown, whatever the expression code says.
    strengths : How strong each named expression was made.

    Examples
    --------
    >>> state = FaceState(model)
    >>> state.move("identity", 0, 1.5)
    >>> abs(state.sliders("identity")[:2]).round(3).tolist(), state.is_at_rest
    ([1.5, 0.0], True)
    """

    def __init__(self, model: MorphableModel):
        self.model = model.eval()
        self.has_rest = bool(model.identity_size and model.expression_size)
        factors: tuple[Factor, ...] = ("identity", "expression")
        self.directions: dict[Factor, CodeDirections] = {
            factor: leading_directions(model, factor) for factor in factors if _size(model, factor)
        }
        self._mean = Codes(model.prior().identity_mean[None], model.prior().expression_mean[None])
        self._weights = _digest(model)
        self._rest = self._code_at_rest() if self.has_rest else self._mean.expression
        self.reset()

    def reset(self) -> None:
        """The mean person at rest."""
        self.codes = Codes(self._mean.identity, self._rest)
        self.is_at_rest = self.has_rest
        self.strengths: dict[str, float] = {}

    @torch.no_grad()
    def vertices(self) -> Float[np.ndarray, "vertex 3"]:
        """The face, mm."""
        shown = self.model.neutral(self.codes.identity) if self.is_at_rest else self.model.decode(self.codes)
        return shown[0].float().cpu().numpy()

    def sliders(self, factor: Factor) -> Float[np.ndarray, " code"]:
        """Where a code lies along its directions, in standard deviations."""
        code = getattr(self.codes, factor).double().cpu()
        return self.directions[factor].coordinates(code)[0].numpy()

    def move(self, factor: Factor, number: int, deviations: float) -> None:
        """Put one slider somewhere; all others stay. A moved expression is no longer at rest."""
        axes = self.directions[factor]
        step = deviations - float(self.sliders(factor)[number])
        self._set(factor, getattr(self.codes, factor) + self._like(step * axes.directions[number]))

    def neutralize(self) -> None:
        """The same person at rest.

        Raises
        ------
        UsageError : If the model has no two codes.
        """
        if not self.has_rest:
            raise UsageError(f"A {self.model.name} model does not know a face at rest; it has one code for everything.")
        self.codes = Codes(self.codes.identity, self._rest)
        self.is_at_rest, self.strengths = True, {}

    def randomize(self, seed: int, what: Literal["face", "person", "expression"] = "face") -> None:
        """Draw both codes, or one of them, where codes of the training scans lie."""
        drawn = self.model.prior().sample(1, torch.Generator().manual_seed(seed))
        if what != "expression":
            self._set("identity", drawn.identity)
        if what != "person":
            self._set("expression", drawn.expression)

    @torch.no_grad()
    def encode(self, scan: Vertices, where: str = "the scan") -> Codes:
        """Codes of a scan in mm; it is checked as all scans are."""
        return self.model.encode(torch.from_numpy(as_scans(self.model, scan, where)).to(self._mean.identity))

    def show(self, codes: Codes) -> None:
        """Show other codes."""
        self.model.check_codes(codes)
        self.codes, self.is_at_rest, self.strengths = codes, False, {}

    def blend(
        self, first: Codes, second: Codes, share: float, only: Literal["both", "identity", "expression"] = "both"
    ) -> None:
        """Show what lies between two scans, ``share`` of the way; a code that does not move is that of the first."""
        self.show(
            Codes(
                *(
                    torch.lerp(a, b, share) if only in ("both", factor) else a
                    for factor, a, b in zip(Codes._fields, first, second, strict=True)
                )
            )
        )

    def set_strength(self, name: str, strength: float) -> None:
        """Make a named expression so strong; what else the face does stays.

        Codes of named expressions add up, and zero is the face at rest.
        """
        code = find_expression(self.model.named_expressions, name).to(self._mean.expression)[None]
        change = strength - self.strengths.get(name, 0.0)
        before = torch.zeros_like(code) if self.is_at_rest else self.codes.expression
        strengths = {**self.strengths, name: strength}
        self._set("expression", before + change * code)
        self.strengths = {known: value for known, value in strengths.items() if value}

    def errors_mm(self, scan: Vertices) -> Float[np.ndarray, " vertex"]:
        """Distance of each vertex to the same vertex of a scan."""
        return np.linalg.norm(self.vertices() - scan, axis=1)

    def to_json(self) -> str:
        """The codes as one JSON object, exact to the last bit of single precision."""
        return json.dumps(
            {
                "format": FORMAT,
                "version": VERSION,
                "model": self.model.name,
                "weights": self._weights,
                "at_rest": self.is_at_rest,
                **{factor: [float(str(x)) for x in code[0].float().cpu().numpy()] for factor, code in self._named()},
            }
        )

    def load_json(self, text: str) -> None:
        """Show the codes that :meth:`to_json` wrote; nothing changes if they cannot be used.

        Raises
        ------
        DataError : If the text is something else, is of other weights, or does not fit the model.
        """
        content = _read_json(text)
        if content.get("weights") != self._weights:
            raise DataError(
                f"The code is of a {content.get('model')!r} model with weights {content.get('weights')!r}; wanted one "
                f"of this {self.model.name} model, {self._weights!r}. Codes of one model mean nothing to another."
            )
        codes = Codes(*(self._like(_numbers(content, name, _size(self.model, name))) for name in Codes._fields))
        at_rest = content.get("at_rest")
        if not isinstance(at_rest, bool) or (at_rest and not self.has_rest):
            raise DataError(f"The code has at_rest {at_rest!r}; wanted true or false. Copy the whole code again.")
        self.show(codes)
        self.is_at_rest = at_rest

    def _named(self) -> list[tuple[str, Tensor]]:
        return list(self.codes._asdict().items())

    def _set(self, factor: Factor, code: Tensor) -> None:
        self.codes = self.codes._replace(**{factor: code})
        if factor == "expression":
            self.is_at_rest, self.strengths = False, {}

    def _like(self, values: Tensor) -> Tensor:
        return values.to(self._mean.identity)[None] if values.ndim == 1 else values.to(self._mean.identity)

    @torch.no_grad()
    def _code_at_rest(self) -> Tensor:
        """The expression code from which sliders begin: zero where its face is the neutral, else the neutral's own."""
        zero = torch.zeros_like(self._mean.expression)
        neutral = self.model.neutral(self._mean.identity)
        shown = self.model.decode(Codes(self._mean.identity, zero))
        return zero if float((shown - neutral).abs().max()) < _SAME_MM else self.model.encode(neutral).expression


def _size(model: MorphableModel, factor: str) -> int:
    return model.identity_size if factor == "identity" else model.expression_size


def _digest(model: MorphableModel) -> str:
    """16 hexadecimal digits of all weights."""
    digest = hashlib.sha256(model.name.encode())
    for name, values in sorted(model.state_dict().items()):
        digest.update(name.encode() + values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _read_json(text: str) -> dict[str, Any]:
    if len(text) > LONGEST_JSON:
        raise DataError(f"The code has {len(text):,} letters; wanted at most {LONGEST_JSON:,}. Is it another file?")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"The code is no JSON ({str(error)[:80]}). Copy it whole, from {{ to }}.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
        raise DataError(
            f"This JSON is no code of a face; wanted an object with format {FORMAT!r} and version {VERSION}, as the "
            "viewer writes it."
        )
    return content


def _numbers(content: dict[str, Any], name: str, size: int) -> Float[Tensor, " code"]:
    values = content.get(name)
    if not isinstance(values, list) or len(values) != size or not all(map(_is_number, values)):
        raise DataError(f"The code has no {name} of {size} finite numbers. Copy the whole code again.")
    return torch.tensor([float(x) for x in values], dtype=torch.float64)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e30  # which is false of NaN
