"""The pre-computation for spiral networks, and the file in which it is kept."""

import numpy as np
import pytest

from meshdisent.errors import MeshError, RecipeError
from meshdisent.mesh import spiral_hierarchy as module
from meshdisent.mesh.hierarchy import hierarchy
from meshdisent.mesh.published_hierarchy import published_hierarchy
from meshdisent.mesh.spiral_hierarchy import spiral_hierarchy
from meshdisent.mesh.spirals import spirals
from meshdisent.mesh.topology import Topology


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "a cache"
    monkeypatch.setenv("MESHDISENT_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def topology(shapes):
    return Topology(*shapes.grid(14, 14, bumps=0.2))


@pytest.fixture
def never_again(monkeypatch):
    """Call it, and from then on any computation fails."""

    def forbid():
        def fail(*_):
            raise AssertionError("computed again")

        monkeypatch.setattr(module, "METHODS", dict.fromkeys(module.METHODS, fail))
        monkeypatch.setattr(module, "spirals", fail)

    return forbid


def assert_same(one, other):
    assert len(one.spirals) == len(other.spirals) == len(one.hierarchy.levels)
    for first, second in zip(one.spirals, other.spirals, strict=True):
        assert np.array_equal(first, second)
        assert first.dtype == second.dtype == np.int64
    for first, second in zip(one.hierarchy.kept, other.hierarchy.kept, strict=True):
        assert np.array_equal(first, second)
    for first, second in zip(one.hierarchy.levels, other.hierarchy.levels, strict=True):
        assert np.array_equal(first.vertices, second.vertices)
        assert np.array_equal(first.faces, second.faces)


@pytest.mark.parametrize(("method", "build"), [("ours", hierarchy), ("published", published_hierarchy)])
def test_it_is_the_hierarchy_and_the_spirals_of_its_levels(topology, method, build):
    result = spiral_hierarchy(topology, (4, 3), length=7, dilation=2, method=method)
    levels = build(topology.template, topology.faces, (4, 3)).levels
    assert [len(level.vertices) for level in result.hierarchy.levels] == [225, 57, 19]
    for level, order, expected in zip(result.hierarchy.levels, result.spirals, levels, strict=True):
        assert np.array_equal(level.faces, expected.faces)
        assert np.array_equal(order, spirals(expected.vertices, expected.faces, 7, 2))


def test_the_second_time_it_is_read(topology, never_again, cache):
    first = spiral_hierarchy(topology)
    assert len(list(cache.iterdir())) == 1
    never_again()
    again = spiral_hierarchy(topology)
    assert_same(first, again)
    assert np.array_equal(again.hierarchy.up[0].toarray(), first.hierarchy.up[0].toarray())


def test_each_setting_has_its_own_file(topology, shapes, cache):
    moved = Topology(topology.template + 1.0, topology.faces)
    spiral_hierarchy(topology)
    spiral_hierarchy(moved)
    spiral_hierarchy(topology, (4, 4, 4))
    spiral_hierarchy(topology, (4, 4, 4.5))
    spiral_hierarchy(topology, length=8)
    spiral_hierarchy(topology, dilation=2)
    spiral_hierarchy(topology, method="published")
    assert len(list(cache.iterdir())) == 7


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "other"])
def test_a_damaged_file_is_computed_again(topology, cache, damage, never_again):
    whole = spiral_hierarchy(topology)
    (file,) = cache.iterdir()
    content = file.read_bytes()
    broken = {
        "cut": content[: len(content) // 2],
        "flipped": content[:900] + bytes([content[900] ^ 255]) + content[901:],
        "empty": b"",
        "text": b"not an archive",
    }
    if damage == "other":
        np.savez(file, level_count=np.array(1), spirals_0=np.zeros((3, 9), dtype=np.int64))
    else:
        file.write_bytes(broken[damage])
    assert_same(spiral_hierarchy(topology), whole)
    never_again()
    assert_same(spiral_hierarchy(topology), whole)


def test_nothing_is_left_beside_the_file(topology, cache):
    spiral_hierarchy(topology)
    assert [path.suffix for path in cache.iterdir()] == [".npz"]


def test_a_cache_that_cannot_be_written_is_no_error(topology, cache, monkeypatch):
    cache.write_text("a file where the folder should be")
    assert len(spiral_hierarchy(topology).spirals) == 4
    monkeypatch.setenv("MESHDISENT_CACHE", "/proc/no such place")
    assert len(spiral_hierarchy(topology).spirals) == 4


def test_without_the_variable_it_is_in_the_home_folder(topology, tmp_path, monkeypatch):
    monkeypatch.delenv("MESHDISENT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    spiral_hierarchy(topology)
    (file,) = (tmp_path / "home" / ".cache" / "meshdisent").iterdir()
    assert file.name.startswith(f"spirals-{topology.template_hash}-ours-4.4.4.4-9-1-")


def test_a_tiny_template_has_one_level(shapes, cache):
    result = spiral_hierarchy(Topology(*shapes.triangle()))
    assert [order.shape for order in result.spirals] == [(3, 9)]
    assert_same(spiral_hierarchy(Topology(*shapes.triangle())), result)


def test_wrong_settings_are_refused(topology, cache):
    with pytest.raises(RecipeError, match="The hierarchy method is 'best'; wanted one of ours, published"):
        spiral_hierarchy(topology, method="best")
    with pytest.raises(MeshError, match="length 0"):
        spiral_hierarchy(topology, length=0)
    assert not cache.exists()
