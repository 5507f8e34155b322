"""Files of the first format version, as they were written when it was the newest. They are not to be made again:

    python tests/first_version/make_files.py NEW_FOLDER     # only when a format gets a new version, beside the old ones

A run that was stopped half-way, a model file of each kind, both kinds of datasets, a map, landmarks; and in
``expected.npz`` what the models said of the scans when the files were written.
"""

import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

TESTS = Path(__file__).resolve().parents[1]
STOPPED, STEPS = 4, 8
SHOWN = 3


def helper(path: str) -> Any:
    """A module of the tests, by its path."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, TESTS / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[Path(path).stem] = module
    spec.loader.exec_module(module)
    return module


def scans() -> Any:
    """Six people with two expressions on 42 vertices."""
    from meshdisent.data.dataset import ScanDataset

    vertices, faces = helper("shapes.py").sphere(1)
    random = np.random.default_rng(0)
    bumps = np.exp(-4 * ((vertices[:, None] - vertices[None, ::5]) ** 2).sum(axis=2))
    who = random.normal(0, 3, (6, bumps.shape[1])) @ bumps.T
    what = np.stack([0 * who[0], random.normal(0, 2, bumps.shape[1]) @ bumps.T])
    height = who[:, None] + what[None] + random.normal(0, 0.1, (6, 2, len(vertices)))
    template = 80 * vertices
    return ScanDataset.from_arrays(
        (template + height[..., None] * vertices).reshape(12, -1, 3),
        faces,
        np.repeat(["ann", "ben", "zoë", "d e", "eve", "fay"], 2).tolist(),
        ["neutral", "smile"] * 6,
        template=template,
        split=["train"] * 8 + ["val"] * 2 + ["test"] * 2,
        truth={"ann": template + who[0][:, None] * vertices},
    )


def recipes() -> dict[str, Any]:
    """A recipe of each morphable model that trains in moments."""
    from meshdisent.morphable.coma import CoMAConfig
    from meshdisent.morphable.fed_config import DiscriminatorConfig, FEDConfig
    from meshdisent.morphable.linear import LinearConfig
    from meshdisent.morphable.multilinear import MultilinearConfig
    from meshdisent.morphable.wsdf_config import HierarchyConfig, WSDFConfig
    from meshdisent.nn.chebyshev import ChebyshevEncoderConfig
    from meshdisent.nn.discriminator import DiscriminatorNetworkConfig
    from meshdisent.nn.pointnet import PointEncoderConfig
    from meshdisent.nn.spiral import SpiralEncoderConfig
    from meshdisent.training.recipe import Recipe, SamplerConfig, TrainingConfig

    configs = {
        "wsdf": WSDFConfig(
            identity_size=3,
            expression_size=2,
            fused_size=6,
            hidden=(8,),
            encoder=SpiralEncoderConfig(channels=(3, 4, 4, 4, 4), feature=8),
            hierarchy=HierarchyConfig(factors=(2.0, 2.0)),
        ),
        "fed": FEDConfig(
            identity_size=3,
            expression_size=2,
            encoder=PointEncoderConfig(channels=(4, 8)),
            hidden=(8,),
            discriminator=DiscriminatorConfig(
                network=DiscriminatorNetworkConfig(channels=(4, 8), hidden=(6, 4)), pretraining_steps=2
            ),
        ),
        "coma": CoMAConfig(code_size=3, encoder=ChebyshevEncoderConfig(channels=(3, 4), order=3), factors=(2.0, 2.0)),
        "linear": LinearConfig(identity_size=3, expression_size=2),
        "multilinear": MultilinearConfig(identity_size=3, expression_size=1),
    }
    training = TrainingConfig(
        steps=STEPS, learning_rate=1e-3, sampler=SamplerConfig(kind="uniform", anchors=4, partners=0)
    )
    weak = dataclasses.replace(training, sampler=SamplerConfig(anchors=3, partners=1))
    closed = {"linear", "multilinear"}
    return {
        name: Recipe(
            model=name,
            seed=1,
            config=config,
            training=None if name in closed else weak if name == "wsdf" else training,
        )
        for name, config in configs.items()
    }


def stopped_run(recipe: Any, data: Any, folder: Path) -> None:
    """Train until a signal stops it after some steps; the folder keeps its checkpoint."""
    from meshdisent.training.batches import Batches
    from meshdisent.training.loop import run_recipe
    from meshdisent.training.progress import Interrupted

    next_batch, waiting = Batches.next, [STOPPED]

    def interrupted(self: Any) -> Any:
        waiting[0] -= 1
        if waiting[0] == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return next_batch(self)

    Batches.next = interrupted  # type: ignore[method-assign]
    try:
        run_recipe(recipe, data, folder, progress=False)
    except Interrupted:
        return
    finally:
        Batches.next = next_batch  # type: ignore[method-assign]
    raise AssertionError("the run was not stopped")


def main() -> None:
    """Write everything into a new folder."""
    from meshdisent.data.known_faces import need_landmarks
    from meshdisent.data.synthetic import SyntheticHead
    from meshdisent.mesh.resampling import resampling_map, save_map
    from meshdisent.training.loop import run_recipe

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    torch.set_num_threads(1)
    data = scans()
    data.save(folder / "faces.h5")
    shown = torch.from_numpy(data.vertices()[:SHOWN])
    expected = {"vertices": data.vertices()}
    for name, recipe in recipes().items():
        run_recipe(recipe, data, folder / name, progress=False)
        shutil.copyfile(folder / name / "model.safetensors", folder / f"{name}.safetensors")
        shutil.rmtree(folder / name)
        from meshdisent import load

        model = load(folder / f"{name}.safetensors")
        with torch.no_grad():
            codes = model.encode(shown)
            expected |= {f"{name}/identity": codes.identity.numpy(), f"{name}/expression": codes.expression.numpy()}
            expected[f"{name}/decoded"] = model.decode(codes).numpy()
    stopped_run(recipes()["wsdf"], data, folder / "run")
    (folder / "run" / ".lock").unlink(missing_ok=True)
    pictures(folder, expected)
    head, small = SyntheticHead(2000), SyntheticHead(1200)
    save_map(resampling_map(head.topology, small.topology, tolerance_mm=20.0), folder / "map.npz")
    (folder / "landmarks.json").write_text(json.dumps(need_landmarks(small.topology).rows, indent=1), encoding="utf-8")
    np.savez_compressed(folder / "expected.npz", **expected)


def pictures(folder: Path, expected: dict[str, np.ndarray]) -> None:
    """A dataset of pictures, and the smallest model of them."""
    sys.path.insert(0, str(TESTS / "latentface"))
    from tiny_faces import tiny_images, tiny_recipe

    from meshdisent import load
    from meshdisent.latentface.face_views import look
    from meshdisent.training.loop import run_recipe

    images = tiny_images(sequences=3, frames=4, has_truth=True)
    images.save(folder / "images.h5")
    expected["pixels"] = images.pixels()
    run_recipe(tiny_recipe(), images, folder / "latentface", progress=False)
    shutil.copyfile(folder / "latentface" / "model.safetensors", folder / "latentface.safetensors")
    shutil.rmtree(folder / "latentface")
    seen = look(
        load(folder / "latentface.safetensors"), torch.from_numpy(images.pixels()[:2]).permute(0, 3, 1, 2) / 255
    )
    assert seen.codes is not None
    expected |= {"latentface/depth": seen.depth.numpy(), "latentface/texture": seen.codes.texture_identity.numpy()}


if __name__ == "__main__":
    main()
