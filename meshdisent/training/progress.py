"""What a person sees while a model trains, and how it is stopped.

On a terminal one line is kept up to date; into a file or a pipe a line goes at most every 30 seconds.
"""

import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from types import FrameType
from typing import Any

from tqdm import tqdm


class Interrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C or SIGTERM, after it had finished its step and written a checkpoint."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.exit_code = 128 + number


class StopRequest:
    """Remembers which signal, if any, has asked training to stop."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._asked_at = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal; asked again after more than a second, do not wait for the step to end."""
        if self.number is None:
            self.number, self._asked_at = number, perf_counter()
        elif perf_counter() - self._asked_at > 1.0:  # a process group often gets the same signal twice at once
            raise KeyboardInterrupt


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """While the block runs, Ctrl-C and SIGTERM are noted instead of raised (in the main thread; others get none)."""
    request = StopRequest()
    before: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and shells in scripts want it
                    before[number] = signal.signal(number, request)
        yield request
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)


class LiveLine:
    """The line on standard error: step, time left, speed, validation figures in mm, terms.

    Parameters
    ----------
    steps, minutes : Where training ends, as far as known.
    shown : False keeps silent, except for :meth:`say`.
    speaks : False keeps silent in any case.
    """

    def __init__(self, *, steps: int | None, minutes: float | None, shown: bool, speaks: bool = True):
        self.steps, self.minutes, self.speaks = steps, minutes, speaks
        shown = shown and speaks
        self.shown = shown
        self.on_terminal = sys.stderr.isatty()
        self._bar: Any = None
        if shown and self.on_terminal:
            layout = "{percentage:3.0f}% |{bar:12}| {desc}"
            self._bar = tqdm(total=1.0, bar_format=layout, ncols=_columns(), nrows=24)
        self._last: tuple[float, int] | None = None
        self._speed: float | None = None

    def __enter__(self) -> "LiveLine":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(
        self, step: int, seconds: float, terms: Mapping[str, float], figures: Mapping[str, Any], now: bool = False
    ) -> None:
        """Show where training stands, unless the line is still fresh; ``now`` shows it in any case."""
        clock = perf_counter()
        if self._last is None:
            self._last = clock, step
        fresh = clock - self._last[0] < (0.25 if self.on_terminal else 30.0)
        if not self.shown or (fresh and not now):
            return
        if step > self._last[1] and clock > self._last[0]:
            speed = (step - self._last[1]) / (clock - self._last[0])
            self._speed = speed if self._speed is None else 0.7 * self._speed + 0.3 * speed
        self._last = clock, step
        text = describe(step, self.steps, self.seconds_left(step, seconds), self._speed, terms, figures)
        if self._bar is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.ncols = _columns()  # the window may have changed
            self._bar.n = min(self.fraction(step, seconds), 1.0)
            self._bar.set_description_str(text)

    def say(self, message: str) -> None:
        """Print a message that stays, above the line."""
        if not self.speaks:
            return
        if self._bar is None:
            print(message, file=sys.stderr, flush=True)
        else:
            self._bar.write(message, file=sys.stderr)

    def fraction(self, step: int, seconds: float) -> float:
        """How much of the training is done, by steps or minutes, whichever is further."""
        return fraction_done(self.steps, self.minutes, step, seconds)

    def seconds_left(self, step: int, seconds: float) -> float | None:
        """Time until training ends, None while the speed is unknown."""
        by_minutes = [60 * self.minutes - seconds] if self.minutes is not None else []
        by_steps = [(self.steps - step) / self._speed] if self.steps is not None and self._speed else []
        left = by_minutes + by_steps
        return max(min(left), 0.0) if left else None


def fraction_done(steps: int | None, minutes: float | None, step: int, seconds: float) -> float:
    """How much of the training is done, by steps or minutes, whichever is further.

    Examples
    --------
    >>> fraction_done(200, 10.0, step=50, seconds=300.0)
    0.5
    """
    by_steps = step / steps if steps is not None else 0.0
    by_minutes = seconds / (60 * minutes) if minutes is not None else 0.0
    return max(by_steps, by_minutes)


def describe(
    step: int,
    steps: int | None,
    seconds_left: float | None,
    speed: float | None,
    terms: Mapping[str, float],
    figures: Mapping[str, Any],
) -> str:
    """The text of the line.

    Examples
    --------
    >>> describe(40, 1200, 95.0, 12.26, {"reconstruct": 83.51, "kl": 0.0123}, {"E_avd": 1.2345})
    'step 40/1,200 · 2 min left · 12 steps/s · E_avd 1.23 mm · reconstruct 83.5 kl 0.0123'
    """
    parts = [f"step {step:,}" + (f"/{steps:,}" if steps is not None else "")]
    if seconds_left is not None:
        parts.append(f"{seconds_left:.0f} s left" if seconds_left < 90 else f"{seconds_left / 60:.0f} min left")
    if speed is not None:
        parts.append(f"{speed:.{0 if speed >= 10 else 1 if speed >= 1 else 2}f} steps/s")
    shown = [f"{name} {value:.2f}" for name, value in figures.items() if isinstance(value, float)]
    if shown:
        parts.append(
            ", ".join(shown) + (" mm" if all(name.startswith("E_") for name in figures if name != "measured") else "")
        )
    if terms:
        parts.append(" ".join(f"{name} {value:.3g}" for name, value in terms.items()))
    return " · ".join(parts)


def _columns() -> int:
    """Width of the terminal. Some say 0, which tqdm would take at its word, as it does with the height."""
    return shutil.get_terminal_size((100, 24)).columns - 1
