"""Whether a training step fits into memory, told before the machine ends the process without a word."""

import copy
from pathlib import Path

import torch
from torch import Tensor

from meshdisent.errors import MeshdisentError, UsageError
from meshdisent.morphable.trainable import Trainable, TrainingBatch
from meshdisent.training.machine import threads
from meshdisent.training.recipe import TrainingConfig
from meshdisent.training.step import Stepper

#: A step keeps 200 (WSDF) to 400 (FED) times the bytes of its scans. Only where so much might not fit, it is measured.
_DOUBTFUL = 1000
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int | None:
    """Memory that is left on a device, within the limit of the process' group; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            free = min(free, int((_CGROUP / limit).read_text()) - int((_CGROUP / used).read_text()))
        except (OSError, ValueError):  # another version of groups, or "max": no limit
            continue
    return max(free, 0)


def bytes_of_step(model: Trainable, config: TrainingConfig, phase: int, batch: TrainingBatch) -> int:
    """What a step keeps at least: everything saved for the backward pass, gradients, and what the optimizer stores.

    Measured on a copy of the model, on the first few scans of the batch, and scaled to all of them.
    """
    group = 1 + config.sampler.partners
    few = min(batch.count, max(2 * group, 4))
    some = batch.first(few)
    twin = copy.deepcopy(model)
    stepper = Stepper(twin, config, twin.phases()[phase])
    own = {value.untyped_storage().data_ptr() for value in (*twin.parameters(), *twin.buffers())}
    seen: dict[int, int] = {}
    kept: list[Tensor] = []

    def note(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
            kept.append(value)  # or its address could be given away twice
        return value

    # With one thread everything is computed in this one, where the hooks see it.
    with threads(1), torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        total = stepper.measure([some], torch.Generator().manual_seed(0))
    weights = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    del total
    return sum(seen.values()) * batch.count // few + 3 * weights


def check_room(model: Trainable, config: TrainingConfig, phase: int, batch: TrainingBatch) -> None:
    """Raise :class:`UsageError` if a step on such a batch cannot fit into the memory that is left."""
    free = free_bytes(batch.device)
    if free is None or batch.nbytes * _DOUBTFUL < free:
        return
    needed = bytes_of_step(model, config, phase, batch)
    if needed > free:
        fitting = max(int(batch.count * free / needed * 0.8), 1)
        raise UsageError(
            f"A training step on {batch.described} needs at least {needed / 1e9:.1f} GB, "
            f"and {free / 1e9:.1f} GB are free. Take about {fitting:,} at a time (training.sampler.anchors, "
            "partners), and as many batches a step as you like (training.accumulation)."
        )


def out_of_memory(error: BaseException, batch: TrainingBatch, kept: str) -> MeshdisentError | None:
    """What to say when an allocation failed in a step; None if the error is another one."""
    is_refused = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
    if not is_refused:
        return None
    reason = " ".join(str(error).split())[:200]
    return MeshdisentError(
        f"Memory ran out in a training step on {batch.described} ({reason}).{kept} "
        "Take fewer at a time (training.sampler.anchors, partners) and more batches a step (training.accumulation)."
    )
