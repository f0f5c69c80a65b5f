"""`hearth rm`: a model leaves the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from codehearth.cli.options import model_argument, settings_now, yes_option
from codehearth.cli.output import print_data, say, size
from codehearth.errors import ModelNotFound

if TYPE_CHECKING:
    from codehearth.lab.tuning.jobs import Jobs
    from codehearth.models.store import Store


@click.command()
@model_argument()
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@yes_option
def rm(model: str, dry_run: bool, yes: bool) -> None:
    """Delete a model that was fetched or made here.

    What `hearth quantize` and `hearth tune` made goes, with what a stopped one left and the rows
    that a training kept; so does `starter:bf16`, which is made again when it is wanted. What was
    fetched leaves the hub's cache, which other programs share. A running server lets go of it.
    """
    from codehearth.cli.letting_go import let_go
    from codehearth.cli.questions import agreed
    from codehearth.cli.shelf import store_of
    from codehearth.lab.tuning.jobs import Jobs
    from codehearth.models.tuned import FORMS

    settings = settings_now()
    store = store_of(settings)
    trainings = Jobs(settings.data / "tune")
    try:
        found = store.locate(model)
    except ModelNotFound:
        if dry_run or not _discard(store, trainings, model):
            raise
        return
    store.check_removable(found)
    if dry_run:
        for file in found.files:
            print_data(str(found.folder / file))
        say(f"{size(found.num_bytes)} would be freed.")
        return
    if not agreed(f"Delete '{found.name}' ({size(found.num_bytes)})?", yes=yes, default=False):
        say("Nothing was deleted.")
        return
    let_go(settings, found.name, forms=FORMS if found.source == "tuned" else ())
    freed = store.remove(model)
    if found.source == "tuned":
        trainings.forget(found.name)
    say(f"'{found.name}' is deleted; {size(freed)} are free again.")


def _discard(store: Store, trainings: Jobs, model: str) -> bool:
    """What stopped commands left of a model that never came to be; False where that is nothing."""
    freed = store.made.discard(model)
    if freed:
        say(f"What a stopped `hearth quantize` left of '{model}' is deleted; {size(freed)} free.")
    forgotten = trainings.forget(model)
    if forgotten:
        say(f"What a stopped `hearth tune` left of '{model}' is deleted.")
    return bool(freed or forgotten)
