"""Take what a viewer's server sends, as a page does, and print when (``viewer_rate.py`` starts it).

python benchmarks/viewer_watch.py PORT
"""

import asyncio
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def watch(port: str) -> None:
    """Print the time of each message (:func:`time.perf_counter`) until the server ends; a line says that it began."""
    async with connect(f"ws://127.0.0.1:{port}", subprotocols=["viser-v1.1.1"], max_size=None) as socket:  # type: ignore[list-item]
        await socket.recv()
        await asyncio.sleep(0.5)  # what a page gets when it opens
        print("began", flush=True)
        try:
            while True:
                await socket.recv()
                print(time.perf_counter(), flush=True)
        except ConnectionClosed:
            pass


if __name__ == "__main__":
    asyncio.run(watch(sys.argv[1]))
