"""One thread that does what people ask for by hand, and forgets what they no longer want.

A dragged slider says where it is hundreds of times a second. What is posted under one key replaces what waits there, so
the newest wish is done next and nothing queues up, however slow a face is made.
"""

import threading
from collections.abc import Callable, Hashable

Action = Callable[[], None]


class LatestOnly:
    """Runs actions on a thread of its own, one at a time.

    Parameters
    ----------
    redraw : Called after each round of actions.
    settle : Called once when nothing was asked for during ``quiet`` seconds: for what may come late.
    quiet : Seconds.

    Examples
    --------
    >>> seen = []
    >>> worker = LatestOnly(lambda: seen.append("drawn"), quiet=0.01)
    >>> with worker.paused():
    ...     for number in range(100):
    ...         worker.post("slider", lambda number=number: seen.append(number))
    >>> worker.stop()
    >>> seen
    [99, 'drawn']
    """

    def __init__(self, redraw: Action, settle: Action = lambda: None, quiet: float = 0.15):
        self._redraw, self._settle, self._quiet = redraw, settle, quiet
        self._waiting: dict[Hashable, Action] = {}
        self._changed = threading.Condition()
        self._is_stopped, self._is_paused = False, False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="meshdisent-viewer", daemon=True)
        self._thread.start()

    def post(self, key: Hashable, action: Action) -> None:
        """Ask for something; what waits under the same key is forgotten. Returns at once."""
        with self._changed:
            self._waiting.pop(key, None)  # the newest goes last
            self._waiting[key] = action
            self._changed.notify_all()

    def paused(self) -> "_Pause":
        """A block during which nothing is begun."""
        return _Pause(self)

    def wait(self) -> None:
        """Wait until the thread ends; raises what ended it. Ctrl-C comes through."""
        while self._thread.is_alive():
            self._thread.join(0.2)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Do what still waits, then end the thread."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _work(self) -> None:
        try:
            while self._round():
                pass
        except BaseException as failure:  # handed to whoever waits: a thread's own traceback would end nothing
            self._failure = failure

    def _round(self) -> bool:
        """One round; False at the end."""
        with self._changed:
            self._changed.wait_for(self._is_ready)
            actions, self._waiting = list(self._waiting.values()), {}
            if not actions:
                return False
        for action in actions:
            action()
        self._redraw()
        with self._changed:
            is_quiet = not self._changed.wait_for(self._is_ready, timeout=self._quiet)
        if is_quiet:
            self._settle()
        return True

    def _is_ready(self) -> bool:
        return not self._is_paused and (bool(self._waiting) or self._is_stopped)

    def _pause(self, is_paused: bool) -> None:
        with self._changed:
            self._is_paused = is_paused
            self._changed.notify_all()


class _Pause:
    def __init__(self, worker: LatestOnly):
        self._worker = worker

    def __enter__(self) -> None:
        self._worker._pause(True)

    def __exit__(self, *_: object) -> None:
        self._worker._pause(False)
