"""Pickles of arrays, read without running anything in them.

A pickle is a program. This reader knows the few names that arrays and sparse matrices need, and gives each an inert
stand-in that only remembers what it is told; any other name ends the reading before it is looked up. Arrays are made
afterwards, from numbers whose type, shape and length have been checked: numpy's own unpickling is not used, because it
believes what the file says about types. Objects of chumpy, which old FLAME and SMPL files hold, give the array inside.
"""

import io
import os
import pickle
import pickletools
import re
from collections.abc import Callable, Iterator, Mapping
from textwrap import shorten
from typing import Any

import numpy as np
import scipy.sparse as sparse

from meshdisent.errors import MeshError
from meshdisent.mesh.contents import file_contents

MOST_BYTES = 2**30  # the largest FLAME and SMPL files have 250 MB
_TYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")  # booleans, integers, floats; never objects or records
_SPARSE = {f"{name}_{kind}" for name in ("csc", "csr") for kind in ("matrix", "array")}
_SPARSE_MODULE = re.compile(r"scipy\.sparse\._?(csc|csr)")


class ArrayPickle(Mapping[str, Any]):
    """The dict in a pickle file: arrays, sparse matrices, numbers and text by name, made when they are asked for.

    Parameters
    ----------
    path : The file. Text of Python 2 is read as Latin-1.

    Raises
    ------
    MeshError : If the file is damaged, holds no dict, or names anything but arrays; later, if the value that is asked
        for is no array, sparse matrix, number or text, or claims a size that it does not have.
    """

    def __init__(self, path: str | os.PathLike):
        self.source = str(path)
        content = file_contents(path)
        if len(content) > MOST_BYTES:
            raise MeshError(f"{path} has {len(content)} bytes; wanted at most {MOST_BYTES}. Refused unread.")
        try:
            _refuse_large_memory(content)
            found = _Unpickler(io.BytesIO(content), self.source).load()
        except MeshError:
            raise
        except Exception as error:  # a damaged pickle fails in whatever way its next byte says
            raise MeshError(
                f"{path} could not be read as a pickle ({type(error).__name__}: {shorten(str(error), 200)}). It is "
                "damaged or of another format; download it again."
            ) from error
        if not isinstance(found, dict):
            raise MeshError(f"{path} holds a {_kind(found)}; wanted a dict of arrays by name.")
        self._values = {name: value for name, value in found.items() if isinstance(name, str)}

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        try:
            return _plain(value)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise MeshError(
                f"{self.source}: {name!r} is no array ({shorten(str(error), 200)}). Download the file again."
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class _StandIn:
    """An object that remembers how it was made and what state it was given."""

    kind = ""
    arguments: tuple[Any, ...]
    state: Any

    def __init__(self, *arguments: Any):
        self.arguments, self.state = arguments, None

    def __new__(cls, *arguments: Any) -> "_StandIn":
        made = super().__new__(cls)  # pickles of protocol 2 call this alone
        made.arguments, made.state = arguments, None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_StandIn):
    kind = "array"


class _Scalar(_StandIn):
    kind = "number"


class _Type(_StandIn):
    kind = "type of an array"


class _Buffer(_StandIn):
    kind = "array from a buffer"


class _Sparse(_StandIn):
    kind = "sparse matrix"
    name = ""


class _Set(_StandIn):
    kind = "set"


class _Chumpy(_StandIn):
    kind = "chumpy object"
    name = ""


class _Object(_StandIn):
    """What the oldest pickles call the base of a class."""


class _Maker:
    """A function that a pickle may call and can change nothing of."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]):
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise TypeError("a state for a function")


def _reconstruct(*arguments: Any) -> _Array:
    return _Array()  # what follows is given as its state


def _reconstructor(kind: Any, base: Any, state: Any) -> _StandIn:
    """How pickles of protocols 0 and 1 make an object of a class."""
    if not (isinstance(kind, type) and issubclass(kind, _StandIn)):
        raise TypeError("an object of no known class")
    return kind()


def _encode(text: Any, encoding: Any) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TypeError("bytes in an unknown encoding")
    return text.encode("latin-1")


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("copy_reg", "_reconstructor"): _Maker(_reconstructor),
    ("copyreg", "_reconstructor"): _Maker(_reconstructor),
    ("__builtin__", "object"): _Object,
    ("builtins", "object"): _Object,
    ("__builtin__", "set"): _Set,  # chumpy objects hold one
    ("builtins", "set"): _Set,
    ("_codecs", "encode"): _Maker(_encode),
}
for _core in ("numpy.core", "numpy._core"):
    _KNOWN[f"{_core}.multiarray", "_reconstruct"] = _Maker(_reconstruct)
    _KNOWN[f"{_core}.multiarray", "scalar"] = _Scalar
    _KNOWN[f"{_core}.numeric", "_frombuffer"] = _Buffer


def _refuse_large_memory(content: bytes) -> None:
    """A pickle numbers what it remembers; pickle makes room up to the number, whatever has been remembered."""
    for operation, number, _ in pickletools.genops(content):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(number, int) and number > len(content):
            raise ValueError(f"it remembers something as number {number} in {len(content)} bytes")


class _Unpickler(pickle.Unpickler):
    """Finds stand-ins only."""

    def __init__(self, file: io.BytesIO, source: str):
        super().__init__(file, encoding="latin1")
        self._source = source

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if name in _SPARSE and _SPARSE_MODULE.fullmatch(module):
            return type(name, (_Sparse,), {"name": name})
        if re.fullmatch(r"chumpy(\.\w+)*", module) and re.fullmatch(r"\w+", name):
            return type(name, (_Chumpy,), {"name": f"{module}.{name}"})
        raise MeshError(
            f"{self._source} names {shorten(f'{module}.{name}', 80)}; wanted arrays and sparse matrices only. Opening "
            "it could run a program, so it was refused. Get the file from where it was published."
        )


def _plain(value: Any) -> Any:
    """The array, matrix, number or text that a value stands for."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, _Array):
        return _array(value)
    if isinstance(value, _Buffer):
        content, kind, shape, order = value.arguments
        return _numbers(bytes(memoryview(content)), _dtype(kind), shape, order == "F")
    if isinstance(value, _Scalar):
        kind, content = value.arguments
        return _numbers(content, _dtype(kind), ())[()]
    if isinstance(value, _Sparse):
        return _matrix(value)
    if isinstance(value, _Chumpy):
        state = value.state
        if not isinstance(state, dict) or not isinstance(state.get("x"), _Array | _Buffer):
            raise TypeError(f"a {value.name} that holds no array of its own, but a formula")
        return _plain(state["x"])
    raise TypeError(f"a {_kind(value)}")


def _array(value: _Array) -> np.ndarray:
    state = value.state
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise TypeError("an array without content")
    shape, kind, is_fortran, content = state[-4:]
    return _numbers(content, _dtype(kind), shape, bool(is_fortran))


def _dtype(kind: Any) -> np.dtype:
    """The type by its name and byte order alone; fields, sub-arrays and flags are refused."""
    if not isinstance(kind, _Type) or not kind.arguments:
        raise TypeError("an array of no known type")
    name, state = kind.arguments[0], kind.state
    if not isinstance(name, str) or not _TYPE.fullmatch(name):
        raise TypeError(f"an array of {str(name)[:20]!r}, not of numbers")
    if state is None:
        return np.dtype(name)
    if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
        raise TypeError("an array of records")
    if state[1] not in ("<", ">", "|", "="):
        raise TypeError("an array of unknown byte order")
    return np.dtype(name).newbyteorder(state[1])


def _numbers(content: Any, kind: np.dtype, shape: Any, is_fortran: bool = False) -> np.ndarray:
    """Lay bytes out as an array, if there are exactly as many as it takes."""
    content = content.encode("latin-1") if isinstance(content, str) else content
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and 0 <= n < 2**40 for n in shape):
        raise TypeError("an array of no known shape")
    wanted = kind.itemsize
    for length in shape:
        wanted *= length
    if not isinstance(content, bytes) or len(content) != wanted or len(shape) > 32:
        held = len(content) if isinstance(content, bytes) else "no"
        raise ValueError(f"an array of shape {shape} of {kind} with {held} bytes; wanted {wanted}")
    array = np.frombuffer(content, kind).reshape(shape, order="F" if is_fortran else "C")
    return array.astype(kind.newbyteorder("="))


def _matrix(value: _Sparse) -> sparse.csc_array | sparse.csr_array:
    """A compressed matrix whose indices have been checked."""
    state = value.state
    if not isinstance(state, dict):
        raise TypeError("a sparse matrix without content")
    data, indices, starts = (_plain(state[name]) for name in ("data", "indices", "indptr"))
    stated: Any = state.get("_shape", state.get("shape", ()))
    shape = tuple(int(_plain(n)) for n in stated)
    if len(shape) != 2 or min(shape) < 0 or max(shape) > 2**31:
        raise ValueError(f"a sparse matrix of shape {shape}")
    lines, width = shape if value.name.startswith("csr") else shape[::-1]
    if not _fits(data, indices, starts, lines, width):
        raise ValueError("a sparse matrix whose indices do not fit its shape")
    kind = sparse.csr_array if value.name.startswith("csr") else sparse.csc_array
    return kind((data, indices.astype(np.int64), starts.astype(np.int64)), shape=shape)


def _fits(data: np.ndarray, indices: np.ndarray, starts: np.ndarray, lines: int, width: int) -> bool:
    """Whether each line of a compressed matrix has a range of the entries, each within the width."""
    if any(part.ndim != 1 for part in (data, indices, starts)) or indices.dtype.kind + starts.dtype.kind not in _WHOLE:
        return False
    if len(starts) != lines + 1 or len(data) != len(indices) or starts[0] != 0 or starts[-1] != len(data):
        return False
    is_ascending = (np.diff(starts.astype(np.int64)) >= 0).all()
    return bool(is_ascending and (not len(indices) or (indices.min() >= 0 and indices.max() < width)))


_WHOLE = ("ii", "iu", "ui", "uu")


def _kind(value: Any) -> str:
    return getattr(value, "name", "") or getattr(value, "kind", "") or type(value).__name__
