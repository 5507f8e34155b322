"""ONNX files of a model's encoder and decoder, for programs without Python or torch, compared with the model in mm.

``encoder.onnx``: ``vertices`` (batch, V, 3) mm to ``identity`` (batch, I) and ``expression`` (batch, E).
``decoder.onnx``: the other way. The batch may have any size.
"""

import copy
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from meshdisent.errors import MeshdisentError, UsageError
from meshdisent.export.normal_functions import decompositions
from meshdisent.files import writing_folder
from meshdisent.morphable.contract import Codes, MorphableModel

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram

#: What onnxruntime may differ by, as a share of the largest coordinate (0.02 mm of a head) and code entry.
TOLERANCE = 1e-4
#: Faces that are compared, in batches of other sizes than the one that was traced.
TRACED, COMPARED = 2, (1, 5)


@dataclass(frozen=True, kw_only=True)
class OnnxResult:
    """What was written, and the largest differences between onnxruntime and the model over some faces.

    Attributes
    ----------
    files : ``encoder.onnx`` and ``decoder.onnx``.
    code_share : Of a code entry, as a share of the largest.
    vertex_share, vertex_difference_mm : Of a coordinate, as a share of the largest, and in mm.
    """

    files: tuple[Path, Path]
    code_share: float
    vertex_share: float
    vertex_difference_mm: float


class _Encoder(nn.Module):
    def __init__(self, model: MorphableModel):
        super().__init__()
        self.model = model

    def forward(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        codes = self.model.encode(vertices)
        return codes.identity, codes.expression


class _Decoder(nn.Module):
    def __init__(self, model: MorphableModel):
        super().__init__()
        self.model = model

    def forward(self, identity: Tensor, expression: Tensor) -> Tensor:
        return self.model.decode(Codes(identity, expression))


def write_onnx(model: MorphableModel, folder: str | os.PathLike, overwrite: bool = False) -> OnnxResult:
    """Write ``encoder.onnx`` and ``decoder.onnx`` into a folder, which appears once both agree with the model.

    Raises
    ------
    UsageError : If the packages of the extra ``export`` are missing, the folder exists, or the model has a step that
        ONNX cannot say.
    MeshdisentError : If onnxruntime gives other numbers than the model.
    """
    _need_packages()
    model = copy.deepcopy(model).eval().cpu().float()  # what the caller has stays where it is
    with writing_folder(folder, overwrite) as aside, torch.no_grad():
        codes = _drawn(model, TRACED, seed=0)
        vertices = model.decode(codes)
        names = ("identity", "expression")
        _write(_Encoder(model), {"vertices": vertices}, names, aside / "encoder.onnx", model.name)
        _write(_Decoder(model), dict(zip(names, codes, strict=True)), ("vertices",), aside / "decoder.onnx", model.name)
        differences = [_compare(model, aside, count) for count in COMPARED]
    of_codes, of_vertices, millimeters = (max(column) for column in zip(*differences, strict=True))
    folder = Path(folder)
    return OnnxResult(
        files=(folder / "encoder.onnx", folder / "decoder.onnx"),
        code_share=of_codes,
        vertex_share=of_vertices,
        vertex_difference_mm=millimeters,
    )


def _need_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(
            f"ONNX files need the package {error.name}, which is not installed: pip install 'meshdisent[export]'."
        ) from error


def _drawn(model: MorphableModel, count: int, seed: int) -> Codes:
    return Codes(*(code.float() for code in model.prior().sample(count, torch.Generator().manual_seed(seed))))


def _write(module: nn.Module, inputs: dict[str, Tensor], outputs: tuple[str, ...], path: Path, name: str) -> None:
    batch = torch.export.Dim("batch", min=1)
    table = torch.export.default_decompositions()
    for operation, replacement in decompositions().items():
        table[operation] = replacement
    with _quiet():
        try:
            program = torch.export.export(
                module.eval(), tuple(inputs.values()), dynamic_shapes={key: {0: batch} for key in inputs}
            ).run_decompositions(table)
            written = torch.onnx.export(
                program, dynamo=True, input_names=list(inputs), output_names=list(outputs), verbose=False
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UsageError(
                f"The {path.stem} of a {name} model has a step that ONNX cannot say ({reason[:200].strip()}). Use the "
                "model in Python, or export another kind of model: linear and WSDF models can be written."
            ) from error
        _save(written, path)


def _save(program: "ONNXProgram | None", path: Path) -> None:
    assert program is not None
    program.save(path)


def _compare(model: MorphableModel, folder: Path, count: int) -> tuple[float, float, float]:
    """Largest differences of a code entry and of a coordinate, as shares; the latter in mm, too."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of what it optimizes

    def run(file: str, inputs: dict[str, Tensor]) -> list[Any]:
        session = onnxruntime.InferenceSession(folder / file, options, providers=["CPUExecutionProvider"])
        return session.run(None, {key: value.numpy() for key, value in inputs.items()})

    codes = _drawn(model, count, seed=count)
    vertices = model.decode(codes)
    given = Codes(*map(torch.from_numpy, run("encoder.onnx", {"vertices": vertices})))
    decoded = torch.from_numpy(run("decoder.onnx", codes._asdict())[0])
    of_codes = max(_share(*pair) for pair in zip(model.encode(vertices), given, strict=True))
    of_vertices, millimeters = _share(vertices, decoded), float((vertices - decoded).abs().max())
    if not max(of_codes, of_vertices) <= TOLERANCE:
        raise MeshdisentError(
            f"onnxruntime differs from the model by {of_codes:.1e} of the largest code entry and {of_vertices:.1e} of "
            f"the largest coordinate ({millimeters:.1e} mm); wanted at most {TOLERANCE:g}. Nothing was written. Please "
            "report it with the versions of torch, onnx and onnxruntime."
        )
    return of_codes, of_vertices, millimeters


def _share(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference as a share of the largest number."""
    return float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1e-12)) if ours.numel() else 0.0


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says about its own insides: deprecations, names of axes, a torchvision that is not there."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
