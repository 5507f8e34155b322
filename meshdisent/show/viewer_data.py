"""``meshdisent view faces.h5``: the scans of a dataset in the browser, one after the other."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meshdisent.data.dataset import ScanDataset
from meshdisent.show.color_bar import nice_ceiling
from meshdisent.show.pictures import map_colors
from meshdisent.show.viewer import mesh_bytes
from meshdisent.show.viewer_panel import LandmarkPicker, Panel, ScanPicker, color_bar_html, note, table
from meshdisent.show.viewer_scans import ScanChoices
from meshdisent.show.viewer_scene import FaceScene

if TYPE_CHECKING:
    import viser


class DataPage:
    """The page of a dataset: subject, expression and frame are chosen, labels shown, displacement colored.

    Parameters
    ----------
    server : Of viser.
    scans : Prepared scans.
    """

    def __init__(self, server: "viser.ViserServer", scans: ScanDataset):
        self._choices = ScanChoices([scans])
        self._faces = scans.topology.faces
        self._vertices = self._choices.vertices(self._choices.first)
        self._scene = FaceScene(server, scans.topology, self._vertices)
        self._panel = Panel(server, self._redraw, self._scene.settle)
        self.worker = self._panel.worker
        self._limit = 1.0
        name = Path(scans.path).name if scans.path else "dataset"
        with self.worker.paused():  # a browser may be there already
            self._fill({name: f"{len(scans):,} scans of {len(scans.subjects):,} subjects"})
            self.worker.post("begin", lambda: None)

    def _fill(self, title: dict[str, str]) -> None:
        gui = self._panel.gui
        gui.add_html(table(title))
        turn = gui.add_button_group("Scan", ("previous", "next"))
        self._panel.listen(turn, lambda way: self._turn(1 if way == "next" else -1), each=True)
        self._picker = ScanPicker(self._panel, self._choices, lambda: None)
        self._labels = gui.add_html("")
        self._colored = gui.add_checkbox(
            "displacement", False, hint="Color by the distance of each vertex from the subject's face at rest."
        )
        self._fixed = gui.add_checkbox("keep the scale", False, hint="Compare scans by one scale of colors.")
        self._bar = gui.add_html("", visible=False)
        for handle in (self._colored, self._fixed):
            self._panel.listen(handle, lambda _: None)
        with gui.add_folder("Points", expand_by_default=False):
            self._points = LandmarkPicker(self._panel, self._scene, lambda: self._vertices)
        kind = gui.add_dropdown("format", ("ply", "obj"))
        self._panel.on_file_wish(
            gui.add_button("Save mesh"),
            lambda: (f"scan.{kind.value}", mesh_bytes(self._vertices, self._faces, str(kind.value))),
        )

    def _turn(self, steps: int) -> None:
        self._picker.set(self._choices.step(self._picker.place, steps))

    def _redraw(self) -> None:
        place = self._picker.place
        self._vertices = self._choices.vertices(place)
        self._labels.content = table(self._choices.labels(place))
        self._scene.draw(self._vertices, self._colors())
        self._points.redraw()

    def _colors(self) -> np.ndarray | None:
        """Colors of the displacement, if they are wanted and the subject's neutral is known."""
        self._bar.visible = self._colored.value
        if not self._colored.value:
            return None
        moved = self._choices.displacement_mm(self._picker.place)
        if moved is None:
            self._bar.content = note("This subject's face at rest is not known.")
            return None
        if not self._fixed.value:
            self._limit = nice_ceiling(float(np.percentile(moved, 99)))
        self._bar.content = color_bar_html((0.0, self._limit), f"From rest, mean {moved.mean():.2f} mm")
        return map_colors(moved, (0.0, self._limit))
