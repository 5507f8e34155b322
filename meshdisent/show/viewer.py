"""``meshdisent view MODEL``: a face in the browser whose codes are changed by hand.

:class:`~meshdisent.show.viewer_state.FaceState` is what the face is, :class:`~meshdisent.show.viewer_scene.FaceScene`
how it looks; this file has the controls. :mod:`meshdisent.show.viewer_data` is the page of a dataset.
"""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.show.color_bar import nice_ceiling
from meshdisent.show.pictures import map_colors
from meshdisent.show.viewer_panel import LandmarkPicker, Panel, ScanPicker, color_bar_html, copy_button, note, table
from meshdisent.show.viewer_scans import Place, ScanChoices
from meshdisent.show.viewer_scene import FaceScene
from meshdisent.show.viewer_state import FaceState, Factor

if TYPE_CHECKING:
    import viser

#: How far sliders go, in standard deviations.
REACH = 3.0


class ModelPage:
    """The page of a model.

    Parameters
    ----------
    server : Of viser.
    model : Any morphable model.
    name : What to call it.
    scans : Datasets of its topology whose scans may be shown; none if empty.
    slider_count : Leading directions of each code that get a slider.
    """

    def __init__(
        self,
        server: "viser.ViserServer",
        model: MorphableModel,
        name: str,
        scans: Sequence[ScanDataset] = (),
        slider_count: int = 8,
    ):
        self.state = FaceState(model)
        self._vertices = self.state.vertices()
        self._scene = FaceScene(server, model.topology, self._vertices)
        self._panel = Panel(server, self._redraw, self._settle)
        self.worker = self._panel.worker
        self._seed = 0
        self._limit = 0.0  # of the colors, mm; it only grows while the scan is the same
        with self.worker.paused():  # a browser may be there already
            self._fill(name, scans, slider_count)
            self.worker.post("begin", lambda: None)

    def _fill(self, name: str, scans: Sequence[ScanDataset], slider_count: int) -> None:
        gui, model = self._panel.gui, self.state.model
        sizes = f"identity {model.identity_size}, expression {model.expression_size}"
        gui.add_html(table({name: f"{model.topology.vertex_count:,} vertices; {sizes}"}))
        self._buttons()
        tabs = gui.add_tab_group()
        with tabs.add_tab("Codes"):
            self._sliders = {factor: self._code_sliders(factor, slider_count) for factor in self.state.directions}
        if scans:
            with tabs.add_tab("Scans"):
                self._scan_controls(ScanChoices(scans))
        if model.named_expressions:
            with tabs.add_tab("Shapes"):
                self._shape_controls()
        with tabs.add_tab("Points"):
            self._points = LandmarkPicker(self._panel, self._scene, lambda: self._vertices)
        with tabs.add_tab("Files"):
            self._file_controls(model.topology)

    # What the face is drawn from

    def _redraw(self) -> None:
        self._vertices = self.state.vertices()
        reference = self._reference()
        colors = None
        if reference is not None:
            errors = np.linalg.norm(self._vertices - reference, axis=1)
            self._limit = max(self._limit, nice_ceiling(float(np.percentile(errors, 98))))
            colors = map_colors(errors, (0.0, self._limit))
            self._bar.content = color_bar_html((0.0, self._limit), f"Distance, mean {errors.mean():.2f} mm")
        self._scene.draw(self._vertices, colors)
        self._points.redraw()

    def _settle(self) -> None:
        """Bring all controls to where the face is, once nobody drags one."""
        self._scene.settle()
        for factor, sliders in self._sliders.items():
            for slider, value in zip(sliders, self.state.sliders(factor), strict=False):
                slider.value = float(np.clip(round(float(value), 2), -REACH, REACH))
        self._code.value = code = self.state.to_json()
        self._copy.content = copy_button(code)
        if self.state.model.named_expressions:
            self._strength.value = self.state.strengths.get(str(self._shape.value), 0.0)
            shown = {name: f"{strength:.2f}" for name, strength in self.state.strengths.items()}
            self._shapes.content = table(shown) if shown else note("No shape is on.")

    # Controls

    def _buttons(self) -> None:
        gui = self._panel.gui
        face = gui.add_button_group("Face", ("neutralize", "reset") if self.state.has_rest else ("reset",))
        chances = ("face", "person", "expression") if self.state.has_rest else ("face",)
        random = gui.add_button_group("Random", chances)

        def draw(what: Literal["face", "person", "expression"]) -> None:
            self._seed += 1
            self.state.randomize(self._seed, what)

        verbs = {"neutralize": self.state.neutralize, "reset": self.state.reset}
        self._panel.listen(face, lambda verb: verbs[verb]())
        self._panel.listen(random, draw)

    def _code_sliders(self, factor: Factor, count: int) -> "list[viser.GuiSliderHandle[float]]":
        gui, moved = self._panel.gui, self.state.directions[factor].moved_mm.tolist()
        sliders = []
        with gui.add_folder(f"{factor.capitalize()} (standard deviations)"):
            for number, mm in enumerate(moved[:count]):
                hint = f"One standard deviation moves the face by {mm:.2f} mm."
                slider = gui.add_slider(f"{factor} {number + 1}", -REACH, REACH, 0.01, 0.0, hint=hint)
                self._panel.listen(slider, partial(self.state.move, factor, number))
                sliders.append(slider)
        return sliders

    def _scan_controls(self, choices: ScanChoices) -> None:
        gui, self._choices = self._panel.gui, choices
        self._codes: dict[Place, Codes] = {}
        with gui.add_folder("First scan"):
            self._first = ScanPicker(self._panel, choices, self._choose_scan)
        with gui.add_folder("Second scan"):
            self._second = ScanPicker(self._panel, choices, self._choose_scan, choices.step(choices.first, 1))
        show = gui.add_button_group("Show", ("first scan", "second scan"))
        self._share = gui.add_slider("blend", 0.0, 1.0, 0.01, 0.0, hint="0 is the first scan, 1 the second.")
        self._moves = gui.add_dropdown("moves", ("both", "identity", "expression"), hint="The codes that are blended.")
        self._against = gui.add_dropdown(
            "error to", ("nothing", "first scan", "second scan"), hint="Distance of each vertex to that of the scan."
        )
        self._bar = gui.add_html("", visible=False)
        for handle in (self._share, self._moves):
            self._panel.listen(handle, lambda _: self._blend(), key="blend")
        self._panel.listen(self._against, self._choose_error)
        self._panel.listen(show, lambda which: self._show_end(0.0 if which == "first scan" else 1.0))

    def _shape_controls(self) -> None:
        gui = self._panel.gui
        self._shape = gui.add_dropdown("shape", tuple(self.state.model.named_expressions))
        self._strength = gui.add_slider("strength", 0.0, 1.5, 0.01, 0.0)
        self._shapes = gui.add_html(note("No shape is on."))
        self._panel.listen(self._shape, lambda _: None)  # settling shows its strength
        self._panel.listen(self._strength, lambda value: self.state.set_strength(str(self._shape.value), value))

    def _file_controls(self, topology: Topology) -> None:
        gui = self._panel.gui
        kind = gui.add_dropdown("format", ("ply", "obj"))
        self._panel.on_file_wish(
            gui.add_button("Save mesh"),
            lambda: (f"face.{kind.value}", mesh_bytes(self._vertices, topology.faces, str(kind.value))),
        )
        self._code = gui.add_text("code", self.state.to_json(), multiline=True, hint="Copy it, or paste one here.")
        self._copy = gui.add_html("")
        load = gui.add_button("Load this code")
        self._panel.listen(load, lambda _: self.state.load_json(str(self._code.value)))
        self._panel.on_file_wish(
            gui.add_button("Save code (.json)"), lambda: ("code.json", self.state.to_json().encode())
        )
        upload = gui.add_upload_button("Open code (.json)", mime_type="application/json")

        async def uploaded(event: "viser.GuiEvent[viser.GuiUploadButtonHandle]") -> None:
            content = event.target.value.content
            self._panel.post("upload", lambda: self.state.load_json(_text(content)))

        upload.on_upload(uploaded)

    # Scans

    def _blend(self) -> None:
        first, second = self._encoded(self._first.place), self._encoded(self._second.place)
        self.state.blend(first, second, float(self._share.value), self._moves.value)

    def _choose_scan(self) -> None:
        self._limit = 0.0
        self._blend()

    def _encoded(self, place: Place) -> Codes:
        if place not in self._codes:
            if len(self._codes) > 100:
                self._codes.clear()
            self._codes[place] = self.state.encode(self._choices.vertices(place), f"{place.subject}/{place.expression}")
        return self._codes[place]

    def _show_end(self, share: float) -> None:
        self._share.value, self._moves.value = share, "both"
        self._blend()

    def _choose_error(self, against: str) -> None:
        self._bar.visible, self._limit = against != "nothing", 0.0
        if self._bar.visible:
            self._show_end(0.0 if against == "first scan" else 1.0)

    def _reference(self) -> np.ndarray | None:
        """The scan that distances are measured to."""
        if not hasattr(self, "_against") or self._against.value == "nothing":
            return None
        picker = self._first if self._against.value == "first scan" else self._second
        return self._choices.vertices(picker.place)


def mesh_bytes(vertices: np.ndarray, faces: np.ndarray, kind: str) -> bytes:
    """A mesh file in memory; ``kind`` is its extension."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"face.{kind}"
        Mesh(vertices.astype(np.float64), faces).write(path)
        return path.read_bytes()


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"The file is no text ({error}); wanted the JSON of a code.") from error
