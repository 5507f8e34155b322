"""The server of the viewer: on this machine only, on a free port, for pages of its own only.

viser (1.1) takes the next port without a word when one is taken, hangs when a host does not exist, offers to share a
page through a machine on the internet, and lets any web page that the browser has open connect. Scans of people are
private, so all four are settled here.
"""

import contextlib
import io
import socket
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meshdisent.errors import MeshdisentError, UsageError

if TYPE_CHECKING:
    import viser

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
#: Ports that are tried, from the wanted one on.
_TRIES = 50


@contextlib.contextmanager
def serving(host: str, port: int) -> Iterator["viser.ViserServer"]:
    """A server of viser's page until the block ends.

    Raises
    ------
    MeshdisentError : If viser is not installed.
    UsageError : If no server can be had at that host and port.
    """
    try:
        import viser
    except ImportError as error:
        raise MeshdisentError(
            f'The viewer needs the package viser ({error}). Install it: pip install "meshdisent[viewer]".'
        ) from error

    class PrivateServer(viser.ViserServer):
        def request_share_url(self, verbose: bool = True) -> str | None:
            return None  # it would open a tunnel through a machine on the internet

    port = free_port(host, port)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a table of addresses; the command says where it is
        server = PrivateServer(host, port, label="meshdisent", verbose=False)
    _refuse_foreign_pages(server, host)
    try:
        yield server
    finally:
        # A page that is drawn while the server stops tells viser of changes that nobody will see.
        warnings.filterwarnings("ignore", message="Queued a ", category=UserWarning)
        with contextlib.redirect_stdout(io.StringIO()):
            server.stop()


def free_port(host: str, port: int) -> int:
    """The wanted port, or the next that is free, which is said on stderr; 0 leaves the choice to the machine.

    Raises
    ------
    UsageError : If the host is none of this machine, the port is out of range or not ours, or many are taken.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port is {port}; wanted 0 to 65535.")
    last = min(port + _TRIES, 65535) if port else 0
    for candidate in range(port, last + 1):
        problem = _problem(host, candidate)
        if problem is None:
            if candidate != port:
                print(f"Port {port} is in use; {candidate} is taken instead.", file=sys.stderr, flush=True)
            return candidate
        if not isinstance(problem, OSError) or problem.errno not in _TAKEN:
            raise UsageError(
                f"No server can be had at {host}, port {candidate} ({problem}). "
                "Wanted an address of this machine and a port from 1024 on."
            ) from problem
    raise UsageError(f"The ports {port} to {last} are in use; wanted a free one. Give another --port.")


_TAKEN = {98, 48, 10048}  # EADDRINUSE of Linux, macOS and Windows


def _problem(host: str, port: int) -> Exception | None:
    """What keeps a server from listening there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            if sys.platform != "win32":  # as asyncio does, so that a port left a moment ago counts as free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except (OSError, UnicodeError) as error:
        return error
    return None


def is_own_page(origin: str | None, asked: str | None, host: str) -> bool:
    """Whether a connection comes from a page that this server gave, or from no page at all.

    Parameters
    ----------
    origin, asked : The headers Origin and Host of the request.
    host : Where the server listens. On this machine alone only pages of this machine are its own (whatever port: it may
        be forwarded); else those of the address that was asked.

    Examples
    --------
    >>> is_own_page("http://localhost:9000", "localhost:9000", "127.0.0.1")
    True
    >>> is_own_page("https://news.example", "127.0.0.1:8080", "127.0.0.1")
    False
    """
    if origin is None:
        return True
    try:
        page = urlsplit(origin)
        return page.hostname in _LOOPBACK if host in _LOOPBACK else page.netloc == asked
    except ValueError:
        return False


def _refuse_foreign_pages(server: "viser.ViserServer", host: str) -> None:
    # viser has no setting for this. Its callbacks run before anything is sent, so a foreign page sees nothing.
    sockets: Any = server._websock_server

    async def check(connection: Any) -> None:
        live = sockets._live_connections[connection.client_id]
        headers = live.request.headers
        if not is_own_page(headers.get("Origin"), headers.get("Host"), host):
            await live.close(1008, "this page is not the viewer's own")

    sockets.on_client_connect(check)
