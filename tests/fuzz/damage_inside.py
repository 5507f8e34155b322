"""Files whose wrapping is whole and whose content is not: right checksums around wrong numbers, names and shapes."""

import io
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from mutations import mutated


def change_zip(path: Path, chance: random.Random) -> None:
    """Change, lose, rename or double a member of an archive; an archive in it is opened, too."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    place = chance.randrange(len(members))
    name, content = members[place]
    what = chance.random()
    if what < 0.7:
        members[place] = (name, _changed_member(content, chance))
    elif what < 0.8:
        del members[place]
    elif what < 0.9:
        members[place] = (chance.choice(("../../x", "/tmp/x", name + "x", "data.pkl")), content)
    else:
        members.append((name + "2", content * 2))
    with zipfile.ZipFile(path, "w") as archive:
        for member, bytes_of_it in members:
            archive.writestr(member, bytes_of_it)


def _changed_member(content: bytes, chance: random.Random) -> bytes:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return mutated(content, chance)
    with zipfile.ZipFile(io.BytesIO(content)) as inner:
        members = [(name, inner.read(name)) for name in inner.namelist()]
    place = chance.randrange(len(members))
    members[place] = (members[place][0], mutated(members[place][1], chance))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for member, bytes_of_it in members:
            archive.writestr(member, bytes_of_it)
    return made.getvalue()


def change_tensors(path: Path, chance: random.Random) -> None:
    """Change a tensor or a text in the head of a safetensors file, and write it again with a right digest."""
    from meshdisent.morphable.tensor_file import read_tensors, write_tensors

    tensors, head = read_tensors(path)
    head = {name: text for name, text in head.items() if name != "digest"}
    if chance.random() < 0.5:
        name = chance.choice(sorted(head))
        if chance.random() < 0.2:
            del head[name]
        else:
            head[name] = mutated(head[name].encode(), chance).decode("utf-8", "replace")
    else:
        name = chance.choice(sorted(tensors))
        found = tensors.pop(name)
        kept = _changed_array(found.numpy(), chance)
        if kept is not None:
            import torch

            tensors[chance.choice((name, name, name, name + "x"))] = torch.from_numpy(np.ascontiguousarray(kept))
    write_tensors(path, tensors, head, overwrite=True)


def change_arrays(path: Path, chance: random.Random) -> None:
    """Change an array or an attribute of an HDF5 file, or put a link to another place there."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name, what = chance.choice(sorted(names)), chance.random()
        if what < 0.2:
            key = chance.choice(sorted(file.attrs))
            file.attrs[key] = chance.choice((0, -1, 10**12, "", "x" * 1000, float("nan"), np.arange(3)))
        elif what < 0.3:
            del file[name]
            file[name] = chance.choice((h5py.ExternalLink("/etc/passwd", "/"), h5py.SoftLink("/nowhere")))
        else:
            array = file[name][()]
            del file[name]
            kept = _changed_array(array, chance) if isinstance(array, np.ndarray) else None
            if kept is not None:
                file[name] = kept


def change_npz(path: Path, chance: random.Random) -> None:
    """Change an array of an .npz file, also into one of objects, which only a pickle can hold."""
    with np.load(path) as file:
        arrays = dict(file)
    name = chance.choice(sorted(arrays))
    kept = _changed_array(arrays.pop(name), chance)
    if chance.random() < 0.2:
        kept = np.array([{}, []], dtype=object)
    np.savez(path, **arrays, **({} if kept is None else {name: kept}))


def _changed_array(array: np.ndarray, chance: random.Random) -> np.ndarray | None:
    """Other values, another shape or another type; None to leave it out."""
    what = chance.randrange(8)
    changed = array.copy()
    if what == 0:
        return None
    if what == 1 and array.ndim:
        return changed[: chance.randrange(len(array) + 1)]
    if what == 2:
        return changed[..., None] if chance.random() < 0.5 else changed.reshape(-1)
    if what == 3 and array.dtype.kind in "fiub":
        return changed.astype(chance.choice((np.float64, np.float32, np.int64, np.int8, np.uint8, np.bool_)))
    if what == 4:
        return np.zeros((0, *array.shape[1:]), array.dtype)
    if what == 5 and array.ndim:
        return np.concatenate([changed, changed])
    if array.dtype.kind in "fiu" and changed.size:
        values = (np.nan, np.inf, -1e30, 0.0) if array.dtype.kind == "f" else (0, 1, 127)
        changed.reshape(-1)[chance.randrange(changed.size)] = chance.choice(values)
    return changed


def copy_changed(path: Path, to: Path, chance: random.Random) -> None:
    """Write a copy that is changed inside."""
    shutil.copy(path, to)
    with np.errstate(all="ignore"):
        INSIDE[path.suffix](to, chance)


INSIDE: dict[str, Callable[[Path, random.Random], None]] = {
    ".zip": change_zip,
    ".pth": change_zip,
    ".npz": change_npz,
    ".safetensors": change_tensors,
    ".h5": change_arrays,
}
