"""Builds on a Ray cluster: the atlas of a serial build, whoever is killed on the way."""

from __future__ import annotations

import importlib.util
import os
import signal
import tempfile
from pathlib import Path

import pytest
from ray_nodes import actors_of, build, descendants, end, environment, two_nodes, wait_for

from head_atlas.build import BuildOptions
from head_atlas.build.cluster import Cluster, build_on_ray
from head_atlas.build.worker import ModelSource
from head_atlas.errors import BuildError

HAS_RAY = importlib.util.find_spec("ray") is not None
OPTIONS = (
    "--prompts 80 --threads 1 --device cpu --families rand_repeat rand_flat natural ioi pronoun completion "
    "--modes zero mean resample pattern_freeze"
).split()


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed here")
def test_without_ray_it_says_what_to_install(tmp_path):
    with pytest.raises(BuildError, match=r"pip install -r requirements-cluster\.txt"):
        build_on_ray(ModelSource("no/such/model"), tmp_path / "x.h5", BuildOptions(), Cluster(), str)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="needs Ray: pip install -r requirements-cluster.txt")
def test_a_worker_a_node_and_the_driver_are_killed_and_the_atlas_is_that_of_a_serial_build(model_folder, tmp_path):
    serial, out = tmp_path / "serial.h5", tmp_path / "ray.h5"
    parts = tmp_path / "ray.h5.parts"

    def n_shards():
        return len(list(parts.glob("[!.]*.h5")))

    # sockets have short paths
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ray") as short:
        env = environment(Path(short))
        assert build(model_folder, serial, OPTIONS, env).wait() == 0
        n_units = len(list(Path(f"{serial}.parts").glob("*.h5")))
        log_path = tmp_path / "log"
        with two_nodes(Path(short), env) as (address, nodes), log_path.open("w") as log:
            ray = ["--engine", "ray", "--address", address, "--workers", "2"]
            driver = build(model_folder, out, OPTIONS, env, *ray, log=log)
            wait_for(lambda: n_shards() >= 2 and all(actors_of(node.pid) for node in nodes), 300)
            os.kill(actors_of(nodes[0].pid)[0], signal.SIGKILL)
            print("killed a worker at", n_shards(), "of", n_units)
            after = n_shards()
            wait_for(lambda: n_shards() >= after + 3, 300)
            end(nodes[1].pid)
            print("killed a node at", n_shards(), "of", n_units)
            after = n_shards()
            wait_for(lambda: n_shards() >= after + 3, 300)
            assert driver.poll() is None, log_path.read_text()
            for one in [*descendants(driver.pid), driver.pid]:
                os.kill(one, signal.SIGKILL)
            assert driver.wait() == -signal.SIGKILL
            print("killed the driver at", n_shards(), "of", n_units)
            survivors = {path.name: path.read_bytes() for path in parts.glob("[!.]*.h5")}
            assert len(survivors) < n_units
            assert not out.exists()
            again = build(model_folder, out, OPTIONS, env, *ray[:-1], "1", log=log)
            assert again.wait(timeout=600) == 0, log_path.read_text()
        print(log_path.read_text())
        assert "a worker failed with" in log_path.read_text()
    found = {path.name: path.read_bytes() for path in parts.glob("[!.]*.h5")}
    assert survivors.items() <= found.items()
    assert out.read_bytes() == serial.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="needs Ray: pip install -r requirements-cluster.txt")
def test_a_worker_that_cannot_start_is_an_error(tmp_path):
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ray") as short:
        env = environment(Path(short))
        with two_nodes(Path(short), env) as (address, _):
            ray = ["--engine", "ray", "--address", address]
            with (tmp_path / "log").open("w") as log:
                assert build("no/such", tmp_path / "x.h5", [], env, *ray, log=log).wait(timeout=300) == 1
    assert "error: " in (tmp_path / "log").read_text()
    assert not (tmp_path / "x.h5").exists()
