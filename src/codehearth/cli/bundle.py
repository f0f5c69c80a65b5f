"""`hearth bundle`: CodeHearth and models as one file, for a machine without internet."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from codehearth.cli.options import model_argument, settings_now, yes_option
from codehearth.cli.output import print_data, say, size


@click.command(
    epilog="\b\nOn the other machine:\n"
    "  tar xf FILE && sh codehearth-bundle/install.sh   # the program and the models\n"
    "  hearth unbundle FILE                             # models alone"
)
@model_argument(required=False, several=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file to write.",
)
@click.option("--no-packages", is_flag=True, help="Models alone, for a CodeHearth that is there.")
@yes_option
def bundle(model: tuple[str, ...], output: Path, no_packages: bool, yes: bool) -> None:
    """Pack CodeHearth and models that are here into one file.

    Packages are fetched from where pip's configuration says, in the versions that run here, for
    this machine's kind of system and Python. Models must be here (`hearth pull`); those that
    `hearth quantize` made can be packed too. The file's SHA-256 is printed: compare it where you
    unpack it.
    """
    from codehearth.cli.questions import agreed
    from codehearth.cli.shelf import store_of
    from codehearth.errors import InvalidRequest, NotFound
    from codehearth.models import transfer
    from codehearth.models.packing import pack

    if no_packages and not model:
        raise InvalidRequest("Without packages and models there is nothing to pack.")
    if not output.absolute().parent.is_dir():
        raise NotFound(f"There is no folder '{output.parent}' for the bundle.")
    if output.exists() and not agreed(f"Replace '{output}'?", yes=yes, default=False):
        say("Nothing was written.")
        return
    store = store_of(settings_now())
    for name in model:
        store.find(name)  # a name that is not here is told before anything is fetched
    with ExitStack() as stack:
        packages = None
        if not no_packages:
            from codehearth.cli.wheels import collect

            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hearth-bundle-"))
            packages = collect(Path(folder), say=say)
        manifest = pack(store, model, packages, output.absolute(), say=say)
    names = ", ".join(one.name for one in manifest.models) or "no models"
    say(f"{output} holds {names}: {size(output.stat().st_size)}.")
    print_data(f"{transfer.file_digest(output, 'sha256')}  {output}")
