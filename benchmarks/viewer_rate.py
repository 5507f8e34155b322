"""How often the viewer draws while a slider is dragged, and how much later than the hand the face is.

    python benchmarks/viewer_rate.py --vertices 5000 --recipe wsdf

A model with the networks of a recipe, untrained, on the synthetic head; a hand that moves a slider 250 times a second;
and a page in another process that takes what the server sends: everything but the browser's own drawing.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from speed_cases import wsdf

from meshdisent.data.synthetic import SyntheticHead
from meshdisent.morphable.contract import MorphableModel
from meshdisent.show.viewer import ModelPage
from meshdisent.show.viewer_server import serving
from meshdisent.training.recipe import read_recipe

HAND_HZ = 250


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vertices", type=int, default=5000)
    parser.add_argument("--recipe", default="wsdf", help="whose networks")
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args(arguments)
    print(json.dumps(measure(untrained(given.recipe, given.vertices), given.seconds)))
    return 0


def untrained(recipe: str, vertex_count: int) -> MorphableModel:
    """A WSDF of the recipe's size on the synthetic head."""
    return wsdf(read_recipe(recipe), SyntheticHead(vertex_count).topology, "cpu").eval()


def measure(model: MorphableModel, seconds: float) -> dict[str, Any]:
    """Drag a slider for some seconds.

    Returns
    -------
    ``drawn``, ``received``: faces drawn and windows of messages that the page got, a second; ``lag_ms``: how much later
    than the hand a face is drawn, median; ``cpu_ms``: processor time of this process for a face.
    """
    with serving("127.0.0.1", 0) as server:
        page = ModelPage(server, model, "model")
        moved, lags = [0.0], []
        draw = page._scene.draw

        def draw_and_note(*face: Any) -> None:
            draw(*face)
            lags.append(time.perf_counter() - moved[0])

        watcher = Path(__file__).with_name("viewer_watch.py")
        command = [sys.executable, str(watcher), str(server.get_port())]
        viewer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert viewer.stdout is not None
        viewer.stdout.readline()  # it has got the page
        page._scene.draw = draw_and_note  # type: ignore[method-assign]
        cpu, begun, number = time.process_time(), time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            number += 1
            value, at = 2 * (number % 500) / 500 - 1, time.perf_counter()

            def move(value: float = value, at: float = at) -> None:
                moved[0] = at
                page.state.move("identity", 0, value)

            page.worker.post("slider", move)
            time.sleep(1 / HAND_HZ)
        taken, cpu = time.perf_counter() - begun, time.process_time() - cpu
        page.worker.stop()
        time.sleep(0.5)
    arrived = [at for at in map(float, viewer.communicate()[0].split()) if begun <= at <= begun + taken]
    return {
        "vertices": model.topology.vertex_count,
        "drawn": round(len(lags) / taken, 1),
        "received": round(len(arrived) / taken, 1),
        "lag_ms": round(1e3 * sorted(lags)[len(lags) // 2], 1),
        "cpu_ms": round(1e3 * cpu / len(lags), 1),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    raise SystemExit(main())
