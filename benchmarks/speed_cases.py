"""The rows of the speed table: what is done, by which methods, on the face of ICT-FaceKit."""

import contextlib
import dataclasses
import functools
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from picture_cases import drawing, rendering, stage_one_step
from plain_decimation import heap_decimation
from plain_fed import densely
from plain_wsdf import PlainStep
from speed_measure import Problem

from meshdisent.data.dataset import DatasetWriter, Labels, ScanDataset
from meshdisent.data.ict_facekit import read_generic
from meshdisent.data.layouts import FolderLayout
from meshdisent.data.preparation import prepare
from meshdisent.mesh.decimation import decimate
from meshdisent.mesh.hierarchy import hierarchy
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.published_hierarchy import published_hierarchy
from meshdisent.mesh.spirals import spirals
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.contract import Batch
from meshdisent.morphable.encoder_pairs import untrained_pair
from meshdisent.morphable.fed import FED
from meshdisent.morphable.wsdf import WSDF
from meshdisent.nn.discriminator import IdentityDiscriminator
from meshdisent.nn.neutral_bank import NeutralBank, confidence
from meshdisent.nn.normalization import Normalization, UnitCoordinates
from meshdisent.nn.point_features import PointFeatures
from meshdisent.training.batches import Batches
from meshdisent.training.recipe import Recipe, TrainingConfig, read_recipe
from meshdisent.training.step import Stepper

FACE = 9409  # vertices of the face region
BATCH, SUBJECTS = 32, 16


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row.

    Attributes
    ----------
    name, title : For the command line; for the table.
    prepare : (clone of ICT-FaceKit, folder for files, device) -> what is measured.
    is_long : Left out of the short run.
    on_devices : Whether it can run on an accelerator.
    has_memory : Whether peak memory says something.
    once_is_enough : A slow peer need not be repeated.
    unit, count, counted : "a second" shows ``count`` / time, of what; "each" time / ``count``.
    """

    name: str
    title: str
    prepare: Callable[[Path, Path, str], Problem]
    is_long: bool = False
    on_devices: bool = False
    has_memory: bool = True
    once_is_enough: bool = True
    unit: str = "seconds"
    count: int = 1
    counted: str = ""


def face(clone: Path, vertex_count: int | None = None) -> Topology:
    """The face region in mm, whole or decimated."""
    generic = read_generic(clone)
    vertices, faces = generic.vertices[:FACE], generic.faces[(generic.faces < FACE).all(axis=1)]
    if vertex_count is None:
        return Topology(vertices, faces)
    small = decimate(vertices, faces, vertex_count)
    return Topology(small.map @ vertices, small.faces)


def wsdf(recipe: Recipe, topology: Topology, device: str) -> WSDF:
    """An untrained model as the recipe describes it, with made-up statistics: speed does not depend on them."""
    torch.manual_seed(0)
    template = torch.from_numpy(topology.template).float()
    normalization = Normalization(template, torch.full_like(template, 2.0))
    config = recipe.config
    sizes = config.identity_size, config.expression_size
    encoders = untrained_pair(config.pair_widths, sizes, config.hierarchy, topology)
    model = WSDF(config, topology, encoders, normalization)
    model.confidence = confidence(torch.full((SUBJECTS,), 20), recipe.config.bank.confidence_shift)
    model.bank = NeutralBank(SUBJECTS, template, recipe.config.bank.beta)
    return model.to(device)


def made_up_batch(topology: Topology, device: str, count: int = BATCH) -> Batch:
    """Scans around the template, four of each subject."""
    random = torch.Generator().manual_seed(1)
    template = torch.from_numpy(topology.template).float()
    return Batch(
        vertices=(template + 2 * torch.randn(count, *template.shape, generator=random)).to(device),
        subject=(torch.arange(count) // 4 % SUBJECTS).to(device),
        expression=torch.zeros(count, dtype=torch.int64, device=device),
        rows=torch.arange(count, device=device),
    )


def step_flops(model: WSDF, batch: int) -> float:
    """Floating-point operations of the products that a training step cannot do without.

    Encoders: each convolution once forward, and backward once for its weights and, behind the first, once for its
    input. Decoder: 128 rows for 32 scans (scan, neutral, displacement, derivative) through the generator, as often.
    """
    total = 0.0
    for encoder in (model.identity_encoder, model.expression_encoder):
        assert encoder is not None
        for name, value in encoder.named_parameters():
            if value.ndim == 2:
                rows = _vertices_of(encoder, name)
                total += 2 * value.numel() * rows * batch * (2 if name == "trunk.0.conv.linear.weight" else 3)
    rows = batch * (2 + 2 * bool(model.config.loss.jacobian))
    linear = sum(layer.weight.numel() for layer in model.decoder.generator.net if isinstance(layer, torch.nn.Linear))
    return total + 3 * 2 * rows * linear + 3 * 2 * rows * model.decoder.recoupler.weight.numel()


def _vertices_of(encoder: torch.nn.Module, name: str) -> int:
    """How many vertices a layer's product is made for; 1 for those behind the last convolution."""
    if ".linear." not in name:
        return 1
    return len(encoder.get_submodule(name.removesuffix(".linear.weight")).spirals)


def training_step(recipe_name: str, vertex_count: int) -> Callable[[Path, Path, str], Problem]:
    """A step of 32 scans, ours and plain, on equal models."""

    def make(clone: Path, scratch: Path, device: str) -> Problem:
        recipe, topology = read_recipe(recipe_name), face(clone, vertex_count)
        training = recipe.training
        assert training is not None
        batch, rate = made_up_batch(topology, device), training.learning_rate

        def ours(settings: TrainingConfig) -> Callable[[], Any]:
            stepper = Stepper(wsdf(recipe, topology, device).train(), settings)
            noise = torch.Generator().manual_seed(2)
            return lambda: stepper.take([batch], noise, rate)

        def plain() -> Callable[[], Any]:
            step = PlainStep(wsdf(recipe, topology, device), rate, training.weight_decay)
            noise = torch.Generator().manual_seed(2)
            return lambda: step.take(batch, noise)

        on_gpu: dict[str, Callable[[], Any] | None] = {}
        if device.startswith("cuda"):
            on_gpu["ours, products in TF32"] = in_tf32(when_asked(lambda: ours(training)))
        rounded = dataclasses.replace(training, precision="bfloat16")
        counted = wsdf(recipe, topology, "cpu")
        parameters = sum(value.numel() for value in counted.parameters())
        return Problem(
            methods={
                "ours": when_asked(lambda: ours(training)),
                "ours, products in bfloat16": when_asked(lambda: ours(rounded)),
                **on_gpu,
                "plain": when_asked(plain),
            },
            flops=step_flops(counted, BATCH),
            bytes=28.0 * parameters,  # AdamW reads four numbers a parameter and writes three
        )

    return make


def when_asked(make: Callable[[], Callable[[], Any]]) -> Callable[[], Any]:
    """A method that is made by its first call, so that the memory of another is not counted with it."""
    made = functools.cache(make)
    return lambda: made()()


def in_tf32(call: Callable[[], Any]) -> Callable[[], Any]:
    """The same with matrix products of float32 rounded to TF32, as GPUs offer."""

    def rounded() -> Any:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            return call()
        finally:
            torch.set_float32_matmul_precision(before)

    return rounded


def fed(recipe: Recipe, topology: Topology, device: str) -> FED:
    """An untrained FED as the recipe describes it, with made-up statistics."""
    torch.manual_seed(0)
    template = torch.from_numpy(topology.template).float()
    coordinates = UnitCoordinates(torch.zeros(3), torch.tensor(100.0))
    model = FED(recipe.config, topology, coordinates, template / 100)
    if recipe.config.discriminator.is_used:
        model.discriminator = IdentityDiscriminator(recipe.config.discriminator.network)
    model.use_laplacian()
    return model.to(device)


def fed_flops(model: FED, batch: int) -> float:
    """Operations of the products of a step in dense form: 920 GFLOP for 32 scans of 4,609 vertices.

    The encoder twice, forward and backward for weights and inputs; the discriminator on two pairs a scan likewise; and
    once more for the faces, forward and backward for its input.
    """

    def forward(module: torch.nn.Module) -> float:
        shared = [part for part in module.modules() if isinstance(part, PointFeatures)]
        widths = sum(linear.weight.numel() for part in shared for linear in part.linears)
        return 2.0 * widths * model.topology.vertex_count * batch

    judged = 0.0 if model.discriminator is None else (2 * 3 + 2) * forward(model.discriminator)
    return 2 * 3 * forward(model.encoder) + judged


def fed_step(recipe_name: str, vertex_count: int) -> Callable[[Path, Path, str], Problem]:
    """A joint step of 32 scans, ours and densely, on equal models."""

    def make(clone: Path, scratch: Path, device: str) -> Problem:
        recipe, topology = read_recipe(recipe_name), face(clone, vertex_count)
        assert recipe.training is not None
        training = recipe.training
        assert training is not None
        scans = made_up_batch(topology, device)
        partners = made_up_batch(topology, device).vertices.roll(1, 0)
        batch = Batch(**vars(scans) | {"partner": partners})

        def step(change: Callable[[FED], FED]) -> Callable[[], Any]:
            model = change(fed(recipe, topology, device).train())
            stepper, noise = Stepper(model, training, model.phases()[-1]), torch.Generator().manual_seed(2)
            return lambda: stepper.take([batch], noise, training.learning_rate)

        return Problem(
            methods={
                "ours": when_asked(lambda: step(lambda model: model)),
                "dense": when_asked(lambda: step(densely)),
            },
            flops=fed_flops(fed(recipe, topology, "cpu"), BATCH),
        )

    return make


def made_up_scans(topology: Topology, subjects: int, each: int, path: Path | None = None) -> ScanDataset:
    """Subjects who show expressions, all random, in memory or in a file: speed does not depend on their looks."""
    random = np.random.default_rng(3)
    template = topology.template.astype(np.float32)
    people = template + random.normal(0, 2, (subjects, *template.shape)).astype(np.float32)
    shapes = random.normal(0, 1, (24, *template.shape)).astype(np.float32)
    names = [f"subject {number}" for number in range(subjects)]
    shown = ["neutral", *(f"expression {number}" for number in range(1, each))]
    count = subjects * each
    labels = Labels.from_names(np.repeat(names, each).tolist(), shown * subjects, frame=list(range(count)))

    def own(number: int) -> np.ndarray:
        weights = random.random((each, 24), np.float32)
        weights[0] = 0
        return people[number] + np.einsum("ek,kvc->evc", weights, shapes)

    if path is None:
        scans = np.concatenate([own(number) for number in range(subjects)])
        return ScanDataset(topology, labels, scans)
    with DatasetWriter(path, topology, {}, overwrite=True) as writer:
        for number in range(subjects):
            writer.append(own(number))
        writer.finish(labels)
    return ScanDataset.open(path)


def ict_step(clone: Path, scratch: Path, device: str) -> Problem:
    """A step of the recipe wsdf-ict, linear start and synthetic people included; there is no plain twin."""
    recipe, scans = read_recipe("wsdf-ict"), made_up_scans(face(clone, 1249), 180, 20)
    assert recipe.training is not None
    model = WSDF.for_training(recipe.config, scans).train()
    stepper = Stepper(model, recipe.training)
    batches = Batches(scans, recipe.training.sampler, torch.device("cpu"), torch.float32)
    batches.accompany(model.phases()[0].companions, 0)
    noise, rate = torch.Generator().manual_seed(2), recipe.training.learning_rate
    return Problem(methods={"ours": lambda: stepper.take([batches.next()], noise, rate)})


def ict_start(clone: Path, scratch: Path, device: str) -> Problem:
    """What the recipe wsdf-ict does before the first step: neutrals, linear model, synthetic people, encoder."""
    recipe, scans = read_recipe("wsdf-ict"), made_up_scans(face(clone, 1249), 180, 20)
    return Problem(methods={"ours": lambda: WSDF.for_training(recipe.config, scans)})


def loading(clone: Path, scratch: Path, device: str) -> Problem:
    """Steps with their batches, from a file of 600 MB of which 30 may be held, and with all of it in memory."""
    recipe, topology = read_recipe("wsdf-published-coma"), face(clone, 1249)
    assert recipe.training is not None
    files = {}
    for each in (40, 800):
        files[each] = scratch / f"disk-{each}.h5"
        if not files[each].exists():
            made_up_scans(topology, 50, each, files[each])

    def steps(each: int, allowed: float) -> Callable[[], Any]:
        @functools.cache
        def begun() -> tuple[Stepper, Batches, torch.Generator]:
            scans = ScanDataset.open(files[each])
            model = WSDF.for_training(recipe.config, scans).train()
            batches = Batches(scans, recipe.training.sampler, torch.device("cpu"), torch.float32, allowed)
            return Stepper(model, recipe.training), batches, torch.Generator().manual_seed(2)

        def take() -> None:
            stepper, batches, noise = begun()
            for _ in range(5):
                stepper.take([batches.next()], noise, 1e-4)

        return take

    return Problem(
        methods={
            "40,000 scans from disk": steps(800, 3e7),
            "40,000 scans in memory": steps(800, 1e12),
            "2,000 scans from disk": steps(40, 1.5e6),
        }
    )


def coding(count: int, recipe: str = "wsdf-published") -> Callable[[Path, Path, str], Problem]:
    """Encode and decode."""

    def make(clone: Path, scratch: Path, device: str) -> Problem:
        topology = face(clone, 4609)
        model = wsdf(read_recipe(recipe), topology, device).eval()
        scans = made_up_batch(topology, device, count).vertices

        @torch.no_grad()
        def call() -> torch.Tensor:
            return model.decode(model.encode(scans))

        def rounded() -> torch.Tensor:
            with torch.autocast(torch.device(device).type, torch.bfloat16):
                return call()

        flops = step_flops(model, count) / 3  # one way; the decoder's rows are four times as many there
        # One scan alone gains nothing: what takes long is to round the weights.
        more = {"ours, products in bfloat16": rounded} if count > 1 else {}
        weights = sum(value.numel() for value in model.parameters())
        return Problem(methods={"ours": call, **more}, flops=flops, bytes=4.0 * weights)

    return make


def decimation(clone: Path, scratch: Path, device: str) -> Problem:
    """9,409 to 1,200 vertices with the map that brings scans there; peers give no map."""
    whole = face(clone)
    vertices, faces = whole.template, whole.faces
    methods: dict[str, Callable[[], Any] | None] = {"ours, with map": lambda: decimate(vertices, faces, 1200)}
    import fast_simplification

    narrow = faces.astype(np.int32)
    methods["fast-simplification, no map"] = lambda: fast_simplification.simplify(vertices, narrow, target_count=2400)
    import pyvista

    surface = pyvista.PolyData.from_regular_faces(vertices, faces)
    methods["pyvista, no map"] = lambda: surface.decimate(1 - 2400 / len(faces))
    import trimesh

    mesh = trimesh.Trimesh(vertices, faces, process=False)
    methods["trimesh, no map"] = lambda: mesh.simplify_quadric_decimation(face_count=2400)
    return Problem(methods=methods)


def heap(vertex_count: int | None) -> Callable[[Path, Path, str], Problem]:
    """The plain heap, to a quarter of the vertices, or of the whole face to 1,200."""

    def make(clone: Path, scratch: Path, device: str) -> Problem:
        start = face(clone, vertex_count)
        vertices, faces, wanted = start.template, start.faces, 1200 if vertex_count is None else vertex_count // 4
        return Problem(
            methods={
                "ours, with map": lambda: decimate(vertices, faces, wanted),
                "plain heap": lambda: heap_decimation(vertices, faces, wanted),
            }
        )

    return make


def levels(vertex_count: int) -> Callable[[Path, Path, str], Problem]:
    """A hierarchy of four levels below the template, and the spirals of all, nothing read from the cache."""

    def make(clone: Path, scratch: Path, device: str) -> Problem:
        if vertex_count > FACE:
            generic = read_generic(clone)
            vertices, faces = generic.vertices, generic.faces
        else:
            vertices, faces = (lambda t: (t.template, t.faces))(face(clone, vertex_count))

        def with_spirals(build: Callable[..., Any]) -> Callable[[], Any]:
            return lambda: [spirals(level.vertices, level.faces, 9) for level in build(vertices, faces).levels]

        return Problem(
            methods={"ours": with_spirals(hierarchy), "exact published heap": with_spirals(published_hierarchy)}
        )

    return make


def preparing(scan_count: int) -> Callable[[Path, Path, str], Problem]:
    """OBJ scans of the whole head, 26,719 vertices, with texture coordinates and groups as they come."""

    def make(clone: Path, scratch: Path, device: str) -> Problem:
        raw = scratch / f"raw-{scan_count}"
        write_heads(clone, raw, scan_count)
        layout = FolderLayout(raw=(raw,), unit="cm")

        def ours(workers: int) -> Callable[[], None]:
            settings = {"vertices": 4609, "seed": 0, "progress": False, "overwrite": True}
            return lambda: prepare(layout, scratch / "heads.h5", workers=workers, **settings)

        return Problem(methods={"ours, one core": ours(1), "ours, --workers 2": ours(2)})

    return make


def reading(scan_count: int) -> Callable[[Path, Path, str], Problem]:
    """Reading such scans, and nothing else."""

    def make(clone: Path, scratch: Path, device: str) -> Problem:
        paths = write_heads(clone, scratch / f"raw-{scan_count}", scan_count)
        return Problem(
            methods={
                "ours": lambda: [Mesh.read(path) for path in paths],
                "pyvista": lambda: [_pyvista(path) for path in paths],
                "trimesh": lambda: [_trimesh(path) for path in paths],
            }
        )

    return make


def write_heads(clone: Path, raw: Path, count: int) -> list[Path]:
    """Scans that differ in their vertices alone, four to a subject; beyond 96, links to the first ones."""
    if not raw.exists():
        lines = (clone / "FaceXModel" / "generic_neutral_mesh.obj").read_text().splitlines()
        rows = [k for k, line in enumerate(lines) if line.startswith("v ")]
        base = np.array([lines[k].split()[1:4] for k in rows], dtype=float)
        random = np.random.default_rng(0)
        written: list[Path] = []
        for scan in range(count):
            folder = raw / f"subject{scan // 4}"
            folder.mkdir(parents=True, exist_ok=True)
            written.append(folder / f"expression{scan % 4}.obj")
            if scan >= 96:
                os.link(written[scan % 96], written[scan])
                continue
            for k, point in zip(rows, base + random.normal(0, 0.01, base.shape), strict=True):
                lines[k] = "v {:.6f} {:.6f} {:.6f}".format(*point)
            written[scan].write_text("\n".join(lines) + "\n")
    return sorted(raw.rglob("*.obj"))


def _pyvista(path: Path) -> Any:
    import pyvista

    return pyvista.read(path)


def _trimesh(path: Path) -> Any:
    import trimesh

    with contextlib.redirect_stderr(io.StringIO()):
        return trimesh.load(path, process=False, maintain_order=True)


_SIZES = {4609: "4,609", 1249: "1,249"}
_SETTINGS = {"wsdf-published": "FaceScape", "wsdf-published-coma": "CoMA"}


def _step(recipe: str, vertices: int) -> Case:
    short = "wsdf-facescape" if recipe == "wsdf-published" else "wsdf-coma"
    title = f"WSDF training step, {_SIZES[vertices]} vertices, batch 32, {_SETTINGS[recipe]} settings"
    return Case(
        name=f"{short}-{vertices}", title=title, prepare=training_step(recipe, vertices), on_devices=True,
        once_is_enough=False,
    )  # fmt: skip


def _fed_step(recipe: str, what: str) -> Case:
    name = "fed-4609" if what.startswith("with ") else "fed-alone-4609"
    title = f"FED training step, 4,609 vertices, batch 32, {what}"
    return Case(name=name, title=title, prepare=fed_step(recipe, 4609), on_devices=True)


CASES = (
    _step("wsdf-published", 4609),
    _step("wsdf-published-coma", 4609),
    _step("wsdf-published-coma", 1249),
    _fed_step("fed-published", "with discriminator"),
    _fed_step("fed-published/facescape-no-discriminator", "without discriminator"),
    Case(name="coding-1", title="encode and decode one scan, 4,609 vertices, FaceScape settings", prepare=coding(1)),
    Case(name="coding-64", title="the same, 64 scans", prepare=coding(64)),
    Case(name="coding-64-coma", title="the same, CoMA settings", prepare=coding(64, "wsdf-published-coma")),
    Case(name="coding-1-coma", title="encode and decode one scan, CoMA settings",
         prepare=coding(1, "wsdf-published-coma")),
    Case(name="ict-start", title="before the first step of wsdf-ict: 3,600 scans, 1,249 vertices", prepare=ict_start),
    Case(name="ict-step", title="training step of wsdf-ict, 1,249 vertices", prepare=ict_step),
    Case(name="loading", title="WSDF training step with loading, 1,249 vertices, CoMA settings", prepare=loading,
         count=5, unit="each"),
    Case(name="decimate-9409", title="quadric decimation, 9,409 to 1,200 vertices", prepare=decimation,
         has_memory=False),
    Case(name="heap-1600", title="quadric decimation, 1,600 to 400 vertices", prepare=heap(1600), has_memory=False),
    Case(name="heap-9409", title="quadric decimation, 9,409 to 1,200 vertices, plain heap", prepare=heap(None),
         is_long=True, has_memory=False),
    Case(name="levels-4609", title="hierarchy of 4 levels and spirals, 4,609 vertices", prepare=levels(4609),
         has_memory=False),
    Case(name="levels-26719", title="the same, 26,719 vertices", prepare=levels(26719), has_memory=False),
    Case(name="prepare", title="prepare 480 OBJ scans of 26,719 vertices: read, check, decimate, write",
         prepare=preparing(480), unit="a second", count=480, counted="scans"),
    Case(name="read", title="read such scans, one core", prepare=reading(8), unit="a second", count=8,
         counted="scans"),
    Case(name="raster-64", title="depth of 16 grids of 64 x 64 vertices, 64 x 64 pixels", prepare=drawing(16, 64, 64),
         on_devices=True, has_memory=False),
    Case(name="raster-256", title="depth of a mesh of 9,000 faces, 256 x 256 pixels", prepare=drawing(1, 68, 256),
         on_devices=True, has_memory=False),
    Case(name="render", title="rendered faces with their truth, 64 x 64 pixels", prepare=rendering, unit="a second",
         count=32, counted="pictures", has_memory=False),
    Case(name="latentface", title="LatentFace training step, stage one, published width, 16 pictures of 64 x 64",
         prepare=stage_one_step, on_devices=True),
)  # fmt: skip
assert len({case.name for case in CASES}) == len(CASES)
