"""FLAME templates: old and new pickles and .npz files open without chumpy; what could run a program is refused."""

import copyreg
import io
import pickle
import pickletools
import struct
import sys
import zipfile
from types import ModuleType

import numpy as np
import pytest
import scipy.sparse as sparse
from hypothesis import given
from hypothesis import strategies as st

from meshdisent.errors import MeshError
from meshdisent.mesh import contents
from meshdisent.mesh.array_pickle import ArrayPickle
from meshdisent.mesh.flame import read_flame_template, read_template
from meshdisent.mesh.mesh import Mesh

VERTICES = np.random.default_rng(0).normal(size=(6, 3)) * 0.1
FACES = np.array([[0, 1, 2], [2, 1, 3], [3, 4, 5]], np.uint32)
REGRESSOR = sparse.random(5, 6, density=0.5, format="csc", random_state=0)


@pytest.fixture
def chumpy(monkeypatch):
    """A module with classes named as in chumpy, while the file is written; it is gone when the file is read."""
    ch, reordering = ModuleType("chumpy.ch"), ModuleType("chumpy.reordering")
    ch.Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    reordering.Select = type("Select", (), {"__module__": "chumpy.reordering"})
    for module in (ModuleType("chumpy"), ch, reordering):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return {"Ch": ch.Ch, "Select": reordering.Select}


@pytest.fixture
def write(tmp_path):
    """Write a pickle in one of the ways that exist, and give its path."""

    def write_pickle(content, protocol=2):
        path = tmp_path / "generic_model.pkl"
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
        return path

    return write_pickle


def wrapped(kind, array):
    made = kind()
    made.__dict__.update(x=array, _dirty_vars=set(), _itr=None)
    return made


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_sparse_matrices_of_every_protocol(write, protocol):
    content = {"v_template": VERTICES, "f": FACES, "J_regressor": REGRESSOR, "bs_type": "lrotmin", "n": 3}
    content |= {"fortran": np.asfortranarray(VERTICES), "big": VERTICES.astype(">f4"), "one": np.float64(2.5)}
    found = ArrayPickle(write(content, protocol))
    assert found["v_template"].tobytes() == VERTICES.tobytes()
    assert np.array_equal(found["fortran"], VERTICES)
    assert np.array_equal(found["big"], VERTICES.astype(np.float32))
    assert found["big"].dtype == np.float32
    assert (found["one"], found["bs_type"], found["n"]) == (2.5, "lrotmin", 3)
    assert np.array_equal(found["J_regressor"].toarray(), REGRESSOR.toarray())
    mesh = read_flame_template(write(content, protocol))
    assert np.array_equal(mesh.vertices, VERTICES * 1000)
    assert np.array_equal(mesh.faces, FACES)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_chumpy_objects_give_their_array(write, chumpy, monkeypatch, protocol):
    path = write({"v_template": wrapped(chumpy["Ch"], VERTICES), "f": FACES, "weird": chumpy["Select"]()}, protocol)
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        monkeypatch.delitem(sys.modules, name)
    assert np.array_equal(read_flame_template(path).vertices, VERTICES * 1000)
    assert "chumpy" not in sys.modules
    with pytest.raises(MeshError, match=r"'weird' is no array \(a chumpy.reordering.Select that holds no array"):
        ArrayPickle(path)["weird"]


def test_a_file_of_python_2_opens(write):
    """As numpy 1 under Python 2 wrote it: names of old modules, byte strings, long integers."""
    stream = b"\x80\x02}(U\nv_template" + python2_array(VERTICES) + b"U\x01f" + python2_array(FACES)
    stream += b"U\x0bJ_regressorcscipy.sparse.csc\ncsc_matrix\n)\x81}(U\x04data" + python2_array(REGRESSOR.data)
    stream += b"U\x07indices" + python2_array(REGRESSOR.indices) + b"U\x06indptr" + python2_array(REGRESSOR.indptr)
    stream += b"U\x06_shapeK\x05K\x06\x86ubu."
    path = write(stream)
    assert np.array_equal(read_flame_template(path).vertices, VERTICES * 1000)
    assert np.array_equal(ArrayPickle(path)["J_regressor"].toarray(), REGRESSOR.toarray())


def python2_array(array: np.ndarray) -> bytes:
    kind, raw = array.dtype.str[1:].encode(), array.tobytes()
    stream = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R("
    stream += b"K\x01(" + b"".join(b"\x8a\x02" + struct.pack("<h", n) for n in array.shape) + b"t"
    stream += b"cnumpy\ndtype\nU" + bytes([len(kind)]) + kind + b"K\x00K\x01\x87R"
    stream += b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    return stream + b"T" + struct.pack("<i", len(raw)) + raw + b"tb"


class _Evil:
    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda path: _Evil(exec, f"open({str(path)!r}, 'w')"), r"(builtins|__builtin__)\.exec"),
        (lambda path: _Evil(io.open, str(path), "w"), r"_?io\.open"),
        (lambda path: _Evil(np.save, str(path), VERTICES), r"numpy\..*save"),
        (lambda path: _Evil(getattr, VERTICES, "tofile"), r"(builtins|__builtin__)\.getattr"),
        (lambda path: {"v_template": VERTICES, "cov": {1: [_Evil(sys.exit)]}}, r"sys\.exit"),
        (lambda path: _Evil(copyreg.constructor, print), r"copy_?reg\.constructor"),
    ],
)
def test_whatever_else_is_named_is_refused_by_name(write, tmp_path, protocol, make, name):
    path = write(make(tmp_path / "made"), protocol)
    with pytest.raises(MeshError, match=rf"names {name}; wanted arrays and sparse matrices only\. Opening it"):
        read_flame_template(path)
    assert not (tmp_path / "made").exists()


def build(state: bytes) -> bytes:
    """A dict whose value is an array with a state of our own."""
    return b"\x80\x02}U\x01xcnumpy.core.multiarray\n_reconstruct\n)R" + state + b"bs."


DOUBLE = b"cnumpy\ndtype\nU\x02f8\x85R"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (b"(K\x01K\x02\x85" + DOUBLE + b"\x89U\x08" + b"a" * 8 + b"t", r"of float64 with 8 bytes; wanted 16"),
        (b"(K\x01(t" + DOUBLE + b"\x89Nt", r"with no bytes; wanted 8"),
        (b"(K\x01K\x01\x85cnumpy\ndtype\nU\x02O8\x85R\x89U\x08" + b"a" * 8 + b"t", r"an array of 'O8', not of numbers"),
        (b"(K\x01K\x01\x85cnumpy\ndtype\nU\x03V16\x85R\x89U\x10" + b"a" * 16 + b"t", r"'V16', not of numbers"),
        (b"(K\x01K\x01\x85cnumpy\ndtype\nU\x02f8\x85R(K\x03U\x01<U\x01aNNtb\x89U\x08" + b"a" * 8 + b"t", r"records"),
        (b"(K\x01K\x01\x85NN" + b"t", r"of no known type"),
        (b"(K\x01J\xff\xff\xff\xff\x85" + DOUBLE + b"\x89U\x00t", r"of no known shape"),
        (b"K\x01", r"without content"),
    ],
)  # fmt: skip
def test_an_array_that_claims_what_it_has_not_is_refused(write, state, message):
    with pytest.raises(MeshError, match=message) as caught:
        ArrayPickle(write(build(state)))["x"]
    assert "generic_model.pkl: 'x' is no array" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"indices": np.full(15, 9)}, {"indices": np.full(15, -1)}, {"indptr": np.zeros(7, int)}, {"_shape": (5, 9)},
        {"indptr": np.array([0, 20, 3, 4, 5, 6, 15])}, {"data": np.ones(3)}, {"_shape": (-5, 6)}, {"data": None},
    ],
)  # fmt: skip
def test_a_sparse_matrix_whose_indices_do_not_fit_is_refused(write, change):
    matrix = sparse.csc_matrix(REGRESSOR)
    matrix.__dict__.update(change)
    with pytest.raises(MeshError, match="'m' is no array"):
        ArrayPickle(write({"m": matrix}))["m"]


def test_functions_of_the_reader_cannot_be_changed(write):
    stream = b"\x80\x02c_codecs\nencode\nN}U\x0c__defaults__Ns\x86b."
    with pytest.raises(MeshError, match="could not be read as a pickle"):
        ArrayPickle(write(stream))
    stream = b"\x80\x02cnumpy\nndarray\nN}U\x05stateNs\x86b."
    with pytest.raises(MeshError, match="could not be read as a pickle"):
        ArrayPickle(write(stream))


@given(content=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_nothing_else(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.pkl"
    for stream in (content, b"\x80\x02}U\x01xcnumpy\ndtype\n" + content, pickle.dumps({"a": VERTICES}, 2) + content):
        path.write_bytes(stream)
        try:
            dict(ArrayPickle(path))
        except MeshError as error:
            message = str(error)
            if content:
                assert message.startswith(str(path))


@given(place=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path_factory, place, byte):
    content = bytearray(pickle.dumps({"v_template": VERTICES, "f": FACES, "m": REGRESSOR}, 2))
    content[place % len(content)] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    path.write_bytes(bytes(content))
    try:
        mesh = read_flame_template(path)
    except MeshError:
        return
    assert np.isfinite(mesh.vertices).all()


class TestWhatIsNoTemplate:
    def test_other_flame_files(self, write):
        path = write({"face": FACES[:, 0], "nose": FACES[:, 1]})
        with pytest.raises(MeshError, match="has no v_template and no f; it has face, nose"):
            read_flame_template(path)

    def test_a_list(self, write):
        with pytest.raises(MeshError, match="holds a list; wanted a dict of arrays"):
            read_flame_template(write([1]))

    def test_truncated(self, write):
        content = pickle.dumps({"v_template": VERTICES, "f": FACES}, 2)
        with pytest.raises(MeshError, match="could not be read as a pickle"):
            read_flame_template(write(content[:-40]))

    def test_faces_outside(self, write):
        with pytest.raises(MeshError, match=r"is no FLAME model: faces, row 2"):
            read_flame_template(write({"v_template": VERTICES[:5], "f": FACES}))


class TestNpz:
    def test_a_model(self, tmp_path):
        np.savez(tmp_path / "flame.npz", v_template=VERTICES.astype(np.float32), f=FACES.astype(float), extra=VERTICES)
        mesh = read_flame_template(tmp_path / "flame.npz")
        assert np.allclose(mesh.vertices, VERTICES * 1000, atol=1e-4)
        assert np.array_equal(mesh.faces, FACES)

    def test_objects_are_refused(self, tmp_path):
        np.savez(tmp_path / "flame.npz", v_template=np.array([None, {}], object), f=FACES)
        with pytest.raises(MeshError, match=r"could not be read as the .npz .*Object arrays cannot be loaded"):
            read_flame_template(tmp_path / "flame.npz")

    def test_a_texture_is_no_model(self, tmp_path):
        np.savez(tmp_path / "FLAME_texture.npz", mean=VERTICES)
        with pytest.raises(MeshError, match="has no v_template and no f; it has mean"):
            read_flame_template(tmp_path / "FLAME_texture.npz")

    def test_one_array_or_none(self, tmp_path):
        np.save(tmp_path / "one.npy", VERTICES)
        (tmp_path / "one.npy").rename(tmp_path / "one.npz")
        with pytest.raises(MeshError, match=r"could not be read as the .npz"):
            read_flame_template(tmp_path / "one.npz")
        with pytest.raises(MeshError, match="does not exist"):
            read_flame_template(tmp_path / "absent.npz")

    def test_truncated(self, tmp_path):
        np.savez(tmp_path / "flame.npz", v_template=VERTICES, f=FACES)
        content = (tmp_path / "flame.npz").read_bytes()
        (tmp_path / "flame.npz").write_bytes(content[: len(content) // 2])
        with pytest.raises(MeshError, match=r"could not be read as the .npz"):
            read_flame_template(tmp_path / "flame.npz")


def test_the_streams_written_here_are_pickles():
    for stream in (build(b"K\x01"), b"\x80\x02" + python2_array(VERTICES) + b"."):
        assert list(pickletools.genops(stream))[-1][0].name == "STOP"


def test_a_template_is_a_mesh_in_its_unit_or_a_flame_model_in_meters(tmp_path):
    np.savez(tmp_path / "flame.npz", v_template=VERTICES, f=FACES)
    Mesh(VERTICES, FACES).write(tmp_path / "template.ply")
    np.testing.assert_allclose(read_template(tmp_path / "flame.npz", mm_per_unit=10.0).vertices, 1000 * VERTICES)
    np.testing.assert_allclose(read_template(tmp_path / "template.ply").vertices, VERTICES, rtol=1e-6)
    np.testing.assert_allclose(
        read_template(tmp_path / "template.ply", mm_per_unit=10.0).vertices, 10 * VERTICES, rtol=1e-6
    )


def test_a_template_that_is_too_large_for_a_number_in_mm_is_refused(tmp_path):
    vertices = np.array([[0.0, 0, 0], [1e307, 0, 0], [0, 1, 0]])
    np.savez(tmp_path / "model.npz", v_template=vertices, f=np.array([[0, 1, 2]]))
    with pytest.raises(MeshError, match=r"model\.npz is no FLAME model: Vertex 1"):
        read_flame_template(tmp_path / "model.npz")


def test_an_archive_that_asks_for_a_later_version_of_zip_is_refused(tmp_path):
    np.savez(tmp_path / "model.npz", v_template=VERTICES, f=FACES)
    content = bytearray((tmp_path / "model.npz").read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + 6] = 206
    (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(MeshError, match=r"could not be read as the \.npz of a FLAME model \(zip file version 20\.6"):
        read_flame_template(tmp_path / "model.npz")


def test_a_pickle_that_remembers_under_a_huge_number_takes_no_memory(write):
    """pickle would make room for all smaller numbers, too."""
    path = write(b"\x80\x02}r\xff\xff\xff\x7f.")
    with pytest.raises(MeshError, match="it remembers something as number 2147483647 in 9 bytes"):
        ArrayPickle(path)


def test_an_array_whose_head_is_no_python_is_refused(tmp_path):
    """numpy hands such a head to Python's tokenizer, whose error is of no other kind."""
    np.savez(tmp_path / "model.npz", v_template=VERTICES, f=FACES)
    with zipfile.ZipFile(tmp_path / "model.npz") as archive:
        members = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    head = members["v_template.npy"]
    head[head.index(b"}")] = ord(" ")
    with zipfile.ZipFile(tmp_path / "model.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, bytes(content))
    with pytest.raises(MeshError, match=r"could not be read as the \.npz of a FLAME model"):
        read_flame_template(tmp_path / "model.npz")


def test_an_archive_that_would_unpack_to_more_than_it_may_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "MOST_UNPACKED", 10**6)
    np.savez_compressed(tmp_path / "model.npz", v_template=np.zeros((50_000, 3)), f=FACES)
    assert (tmp_path / "model.npz").stat().st_size < 5000
    with pytest.raises(MeshError, match=r"it would unpack to 1,20\d,\d{3} bytes; wanted at most 1,000,000"):
        read_flame_template(tmp_path / "model.npz")
