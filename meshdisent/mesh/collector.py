"""Python's garbage collector, kept from walking through thousands of small sets again and again."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Let the collector wait while the block makes many small objects without cycles; also a decorator.

    What is no longer used is freed at once all the same. Decimating 9,409 vertices took twice as long with it running.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
