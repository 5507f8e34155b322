"""Scans read by the workers of a dask.distributed cluster: the same file as without."""

import os
import signal
import time

import h5py
import numpy as np
import pytest

from meshdisent.cli.main import main
from meshdisent.data import preparation
from meshdisent.data.cluster import map_on_cluster
from meshdisent.errors import UsageError
from meshdisent.mesh.mesh import Mesh

distributed = pytest.importorskip("distributed", reason="the extra cluster (dask.distributed) is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # of dask's own; whatever a lost worker makes it say


@pytest.fixture(scope="module")
def cluster():
    import dask

    with (
        dask.config.set({"distributed.worker.daemon": False, "distributed.admin.log-format": "%(message)s"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as started,
    ):
        yield started


@pytest.fixture
def scans(shapes, tmp_path):
    vertices, faces = shapes.sphere(1)
    random = np.random.default_rng(0)
    for subject in range(12):
        (tmp_path / "raw" / f"s{subject}").mkdir(parents=True)
        for name in ("neutral", "smile"):
            mesh = Mesh(50 * vertices + random.normal(size=vertices.shape), faces)
            mesh.write(tmp_path / "raw" / f"s{subject}" / f"{name}.ply")
    return tmp_path / "raw"


def slowly(number):
    time.sleep(0.2)
    return number, os.getpid()


def test_a_worker_killed_while_it_works_changes_nothing(cluster):
    results = map_on_cluster(slowly, range(24), cluster.scheduler_address)
    first = next(results)
    os.kill(first[1], signal.SIGKILL)
    found = [first, *results]
    assert [number for number, _ in found] == list(range(24))
    assert len({worker for _, worker in found}) >= 2


def test_a_cluster_prepares_the_same_file(cluster, scans, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "_BATCH", 2)
    files = []
    for name, how in (("here.h5", ["--workers", "1"]), ("there.h5", ["--cluster", cluster.scheduler_address])):
        assert main(["prepare", "folder", str(scans), "--out", str(tmp_path / name), *how]) == 0
        with h5py.File(tmp_path / name) as file:
            files.append((file.attrs["vertices_hash"], file["vertices"][:], file["subject"][:], file["split"][:]))
    for here, there in zip(*files, strict=True):
        np.testing.assert_array_equal(here, there)


def test_an_address_without_a_cluster_is_one_line(scans, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("meshdisent.data.cluster._ANSWERS_WITHIN", 1.0)
    where = ["prepare", "folder", str(scans), "--out", str(tmp_path / "faces.h5")]
    assert main([*where, "--cluster", "tcp://127.0.0.1:9"]) == 2
    assert "No cluster answers at tcp://127.0.0.1:9" in capsys.readouterr().err
    assert main([*where, "--cluster", "tcp://127.0.0.1:9", "--workers", "2"]) == 2
    assert "give one of them" in capsys.readouterr().err
    assert not (tmp_path / "faces.h5").exists()
    with pytest.raises(UsageError, match="No cluster answers"):
        list(map_on_cluster(slowly, [1], "nonsense://"))
