"""``meshdisent view MODEL|faces.h5``: a model or a dataset in the browser."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from meshdisent.errors import UsageError

if TYPE_CHECKING:
    import viser

    from meshdisent.data.dataset import ScanDataset
    from meshdisent.morphable.contract import MorphableModel
    from meshdisent.show.latest_only import LatestOnly

    MakePage = Callable[[viser.ViserServer], LatestOnly]


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Show a model or a dataset in the browser, until Ctrl-C.

    For example: meshdisent view wsdf-ict --open

    A model gets sliders along the leading directions of both codes, and with scans their reconstructions, blends and
    errors. A dataset is paged through by subject and expression. Needs: pip install "meshdisent[viewer]"
    """

    shown: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL|FACES.H5")]
    """A run folder, a model file, a name that `meshdisent models` lists, or a faces.h5."""
    scans: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[SCAN...]", help_behavior_hint="(optional)")
    ] = ()
    """Scans to look at with the model: mesh files, or faces.h5:SUBJECT/EXPRESSION."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="FACES.H5")] = None
    """A dataset whose scans to look at with the model."""
    port: Annotated[int, tyro.conf.arg(metavar="N")] = 8080
    """Of the page. If it is in use, the next free one is taken and said; 0 takes any."""
    host: str = "127.0.0.1"
    """Where to listen. 0.0.0.0 shows the page to everybody in the network, without a password."""
    sliders: Annotated[int, tyro.conf.arg(metavar="N")] = 8
    """Leading directions of each code that get a slider."""
    open: bool = False
    """Open the page in the browser of this machine."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent view", config=(tyro.conf.FlagCreatePairsOff,))
    if given.sliders < 1:
        raise UsageError(f"--sliders is {given.sliders}; wanted at least 1.")
    is_data = Path(given.shown).suffix in (".h5", ".hdf5")
    if is_data and (given.scans or given.data):
        raise UsageError(f"{given.shown} is a dataset; SCAN and --data go with a model. Give the model first.")
    worker_of = _data_page(given) if is_data else _model_page(given)

    from meshdisent.show.viewer_server import serving

    with serving(given.host, given.port) as server:
        worker = worker_of(server)
        try:
            _say_where(server, given)
            worker.wait()
        finally:
            worker.stop()
    return 0


def _data_page(given: Arguments) -> "MakePage":
    """What puts a dataset on the page; the file is read before a server runs."""
    from meshdisent.data.dataset import ScanDataset
    from meshdisent.show.viewer_data import DataPage

    scans = ScanDataset.open(given.shown)
    return lambda server: DataPage(server, scans).worker


def _model_page(given: Arguments) -> "MakePage":
    """What puts a model on the page; all files are read before a server runs."""
    from meshdisent.data.dataset import ScanDataset
    from meshdisent.morphable.contract import refuse_other_topology
    from meshdisent.morphable.model_file import load_morphable
    from meshdisent.show.viewer import ModelPage

    model = load_morphable(given.shown)
    scans = [_given_scans(given.scans, model)] if given.scans else []
    if given.data is not None:
        scans.append(ScanDataset.open(given.data))
        refuse_other_topology(model, scans[-1].topology, str(given.data))
    name = Path(given.shown).name
    return lambda server: ModelPage(server, model, name, scans, given.sliders).worker


def _given_scans(texts: tuple[str, ...], model: "MorphableModel") -> "ScanDataset":
    """Scans of the command line as a dataset."""
    import numpy as np

    from meshdisent.cli.scan_arguments import read_scans
    from meshdisent.data.dataset import ScanDataset

    scans, _ = read_scans(texts, model)
    return ScanDataset.from_arrays(
        np.stack([scan.vertices for scan in scans]),
        model.topology.faces,
        ["given scans"] * len(scans),
        [scan.name for scan in scans],
        template=model.topology.template,
    )


def _say_where(server: "viser.ViserServer", given: Arguments) -> None:
    """Print the address, and open it if that is wanted."""
    import sys
    import webbrowser

    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(given.host, given.host)
    address = f"http://{f'[{host}]' if ':' in host else host}:{server.get_port()}"
    print(f"{address}  (Ctrl-C ends it)", flush=True)
    if given.open and not webbrowser.open(address):
        print(f"No browser could be opened here; open {address} in one.", file=sys.stderr, flush=True)
