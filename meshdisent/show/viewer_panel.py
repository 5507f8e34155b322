"""What the pages of the viewer have in common: wishes in, messages and files out, and pieces of the panel."""

import html
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from meshdisent.errors import MeshdisentError
from meshdisent.show.color_bar import tick_labels, ticks
from meshdisent.show.latest_only import LatestOnly
from meshdisent.show.pictures import map_colors
from meshdisent.show.viewer_pick import PickedLandmarks
from meshdisent.show.viewer_scans import Place, ScanChoices
from meshdisent.show.viewer_scene import FaceScene

if TYPE_CHECKING:
    import viser

Action = Callable[[], None]


class Panel:
    """The panel of one page, and the thread that does what it asks for.

    Parameters
    ----------
    server : Of viser.
    redraw, settle : See :class:`~meshdisent.show.latest_only.LatestOnly`.
    """

    def __init__(self, server: "viser.ViserServer", redraw: Action, settle: Action):
        self.server, self.gui = server, server.gui
        self.worker = LatestOnly(redraw, settle)
        self.gui.configure_theme(show_logo=False, show_share_button=False, brand_color=(166, 92, 70))
        self.gui.main_panel.dock_right()
        self.gui.main_panel.set_width(330)

    def listen(self, handle: Any, action: Callable[[Any], None], key: Hashable = None, each: bool = False) -> None:
        """Call ``action`` with the value whenever a person changes a control.

        Of several changes that come fast only the last counts, unless ``each`` does; controls that share a ``key``
        count as one.
        """

        async def changed(event: Any) -> None:
            if event.client is not None:  # None: the program itself moved the control
                value = event.target.value  # now: what comes next may be another
                self.post(object() if each else key or id(handle), lambda: action(value))

        (handle.on_click if hasattr(handle, "on_click") else handle.on_update)(changed)

    def on_file_wish(self, handle: Any, make: Callable[[], tuple[str, bytes]]) -> None:
        """Send a file to whoever presses a button: ``make`` gives its name and content."""

        async def pressed(event: Any) -> None:
            def send() -> None:
                name, content = make()
                event.client.send_file_download(name, content, save_immediately=True)

            if event.client is not None:
                self.post(id(handle), send)

        handle.on_click(pressed)

    def post(self, key: Hashable, action: Action) -> None:
        """Do something on the page's thread; what the user is to blame for is shown, not raised."""

        def careful() -> None:
            try:
                action()
            except MeshdisentError as error:
                self.say(" ".join(str(error).split()))

        self.worker.post(key, careful)

    def say(self, text: str, title: str = "That did not work", color: str = "red") -> None:
        """Show a line to everybody who looks at the page."""
        for client in self.server.get_clients().values():
            client.add_notification(title, text, auto_close_seconds=12.0, color=color)


class ScanPicker:
    """Controls that choose a scan: subject, expression, and the frame where there are several."""

    def __init__(self, panel: Panel, choices: ScanChoices, changed: Action, place: Place | None = None):
        self._choices, self.place = choices, place or choices.first
        gui = panel.gui
        self._subject = gui.add_dropdown("subject", choices.subjects, initial_value=self.place.subject)
        expressions = choices.expressions(self.place.subject)
        self._expression = gui.add_dropdown("expression", expressions, initial_value=self.place.expression)
        self._frame = gui.add_slider("frame", 1, 2, 1, 1, hint="Which of the scans that show this.")
        self._show_frames()

        def read(_: Any) -> None:
            self._read()
            changed()

        for handle in (self._subject, self._expression, self._frame):
            panel.listen(handle, read, key=id(self))

    def set(self, place: Place) -> None:
        """Choose a scan."""
        self.place = place
        self._subject.value = place.subject
        expressions = self._choices.expressions(place.subject)
        if self._expression.options != expressions:
            self._expression.options = expressions
        self._expression.value = place.expression
        self._show_frames()

    def _read(self) -> None:
        subject, expression = str(self._subject.value), str(self._expression.value)
        known = self._choices.expressions(subject)
        expression = expression if expression in known else known[0]
        is_same = (subject, expression) == (self.place.subject, self.place.expression)
        take = int(self._frame.value) - 1 if is_same else 0
        self.set(Place(subject=subject, expression=expression, take=take))

    def _show_frames(self) -> None:
        count = self._choices.count(self.place.subject, self.place.expression)
        self._frame.visible = count > 1
        self._frame.max = max(count, 2)
        self._frame.value = self.place.take + 1


class LandmarkPicker:
    """Controls that name points of the face which is shown."""

    def __init__(self, panel: Panel, scene: FaceScene, vertices: Callable[[], np.ndarray]):
        self.picked, self._scene, self._vertices = PickedLandmarks(), scene, vertices
        self._panel, self._is_marked, gui = panel, False, panel.gui
        is_on = gui.add_checkbox("pick points", False, hint="Then click on the face; dragging still turns it.")
        self._name = gui.add_text("name", self.picked.next_name(), hint="Of the next point.")
        self._table = gui.add_html(note("No point yet."))
        undo, clear = gui.add_button("Undo"), gui.add_button("Clear")
        save = gui.add_button("Save landmarks (.json)", hint="meshdisent register --template-landmarks reads it.")
        panel.listen(is_on, self._switch)
        panel.listen(undo, lambda _: self._and_show(self.picked.undo), each=True)
        panel.listen(clear, lambda _: self._and_show(self.picked.clear))
        panel.on_file_wish(save, lambda: ("landmarks.json", self.picked.to_json(self._vertices()).encode()))

    def redraw(self) -> None:
        """Put the points where the face is now."""
        if self.picked.vertex_of or self._is_marked:
            self._scene.mark(self.picked.vertex_of)
            self._is_marked = bool(self.picked.vertex_of)

    def _switch(self, is_on: bool) -> None:
        self._scene.pick(self._hit if is_on else None)

    def _hit(self, vertex: int) -> None:
        name = str(self._name.value)
        self._panel.post(object(), lambda: self._and_show(lambda: self.picked.add(name, vertex)))

    def _and_show(self, change: Action) -> None:
        change()
        self._name.value = self.picked.next_name()
        rows = {name: f"vertex {vertex}" for name, vertex in self.picked.vertex_of.items()}
        self._table.content = table(rows) if rows else note("No point yet.")


def table(rows: Mapping[str, str]) -> str:
    """A small table as HTML; names come from files, so all of it is escaped."""
    cells = "".join(
        f'<tr><td style="padding:1px 10px 1px 0;opacity:.65">{html.escape(name)}</td>'
        f'<td style="overflow-wrap:anywhere">{html.escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f'<table style="font-size:13px;margin:2px 12px;border-spacing:0">{cells}</table>'


def note(text: str) -> str:
    """A line as HTML, escaped."""
    return f'<div style="font-size:13px;margin:2px 12px;opacity:.8">{html.escape(text)}</div>'


def copy_button(text: str) -> str:
    """A button that copies a text, as HTML; it stands where the browser lets pages copy (on this machine, or https)."""
    style = (
        "width:100%;padding:5px;border:1px solid #a65c46;border-radius:3px;color:#a65c46;background:none;cursor:pointer"
    )
    does = "navigator.clipboard.writeText(this.dataset.text).then(() => {this.textContent = 'Copied'})"
    return (
        f'<div style="margin:0 12px"><button style="{style}" onclick="{does}" data-text="{html.escape(text)}">'
        "Copy code</button></div>"
    )


def color_bar_html(limits: tuple[float, float], title: str) -> str:
    """A lying color bar with round ticks, in mm, as HTML; what lies above the upper end has its color."""
    shades = map_colors(np.linspace(*limits, 17), limits)
    stops = ", ".join("#" + "".join(f"{round(255 * float(c)):02x}" for c in shade) for shade in shades)
    values = ticks(*limits)
    values = [value for value in values[:-1] if _shares([value], limits)[0] < 0.8] + values[
        -1:
    ]  # the last label is long
    labels = tick_labels(values)
    labels[-1] = f"\u2265 {labels[-1]} mm"
    place = "position:absolute;white-space:nowrap;left:{0:.1f}%;transform:translateX(-{0:.1f}%)"
    marks = "".join(
        f'<span style="{place.format(100 * share)}">{text}</span>'
        for share, text in zip(_shares(values, limits), labels, strict=True)
    )
    return (
        f'<div style="margin:4px 12px 8px;font-size:12px"><div>{html.escape(title)}</div>'
        f'<div style="height:12px;border-radius:2px;background:linear-gradient(to right, {stops})"></div>'
        f'<div style="position:relative;height:16px">{marks}</div></div>'
    )


def _shares(values: list[float], limits: tuple[float, float]) -> list[float]:
    return [(value - limits[0]) / (limits[1] - limits[0]) for value in values]
