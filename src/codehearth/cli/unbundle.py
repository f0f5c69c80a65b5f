"""`hearth unbundle`: the models of a bundle are checked and installed."""

from __future__ import annotations

from pathlib import Path

import click

from codehearth.cli.options import settings_now
from codehearth.cli.output import print_data, say


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Only read it all and tell whether it is whole.")
def unbundle(file: Path, check: bool) -> None:
    """Install the models of a bundle that `hearth bundle` wrote.

    FILE may also be the folder that `tar xf` made of it. Every file is held against its hash
    before it counts; what is damaged, cut, or not what a bundle may hold is refused. The names of
    the models are printed.
    """
    from codehearth.cli.shelf import store_of
    from codehearth.models.unpacking import unpack, verify

    if check:
        manifest = verify(file)
        say(f"{file} is whole: {len(manifest.files)} files.")
        names = tuple(model.name for model in manifest.models)
    else:
        names = unpack(file, store_of(settings_now()), say=say)
        say("The models are here: `hearth ls` shows them." if names else "It holds no models.")
    for name in names:
        print_data(name)
