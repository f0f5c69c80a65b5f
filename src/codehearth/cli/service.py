"""`hearth service`: the server starts with the machine and is started again when it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from codehearth.cli.options import json_option, settings_options
from codehearth.cli.output import print_data, print_json, say
from codehearth.errors import HearthError, Unsupported
from codehearth.settings import Settings, read_settings, setting_fields

# Programs of the machine that engines may look for; the user's own PATH may name anything.
_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class _Keeper:
    """What keeps services here: its file for us, and its commands.

    `reach` fails where it cannot be spoken to. `replace` ends what was installed before, if
    anything was.
    """

    file: Path
    text: str
    reach: tuple[str, ...]
    replace: tuple[tuple[str, ...], ...]
    begin: tuple[tuple[str, ...], ...]
    end: tuple[tuple[str, ...], ...]
    ask: tuple[str, ...]


@click.group()
def service() -> None:
    """Keep the server running: systemd on Linux, launchd on macOS.

    The service belongs to the user who installs it and needs no root. For one that runs while
    nobody is logged in: `loginctl enable-linger`.
    """


@service.command()
@settings_options("model", "host", "port", "page", "engine", "context")
@click.option("--print", "only_print", is_flag=True, help="Print the unit and change nothing.")
def install(only_print: bool, **flags: Any) -> None:
    """Write the unit, start it, and start it with every login.

    Flags become those of `hearth serve` in it; variables that name the hubs and their caches go
    along, without tokens. Other settings are read from the user's file at each start. Installed
    anew, it takes the place of what was there.
    """
    from codehearth.models.whole_file import write_whole

    settings = read_settings(flags=flags)
    keeper = _keeper(settings, flags)
    if only_print:
        print_data(keeper.text, newline=False)
        return
    _check_can_start(settings)
    _require_program(keeper)
    _run(keeper.reach)
    (settings.data / "logs").mkdir(parents=True, exist_ok=True)  # launchd makes no folders
    keeper.file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(keeper.file, keeper.text)
    say(f"{keeper.file} is written.")
    for command in keeper.replace:
        subprocess.run(command, capture_output=True, check=False)  # it may not have been there
    for command in keeper.begin:
        _run(command)
    say("The server runs, and starts again by itself. `hearth service status` shows it.")


@service.command()
@json_option
def status(as_json: bool) -> None:
    """Tell whether the service is installed and runs. Exit code 1: it does not run."""
    settings = read_settings(flags={})
    keeper = _keeper(settings, {})
    is_installed = keeper.file.is_file()
    is_running = is_installed and _asks_well(keeper.ask)
    if as_json:
        facts = {"installed": is_installed, "running": is_running, "file": str(keeper.file)}
        print_json(facts)
    else:
        state = "runs" if is_running else "does not run"
        print_data(f"installed at {keeper.file}, {state}" if is_installed else "not installed")
    if not is_running:
        raise SystemExit(1)


@service.command()
def remove() -> None:
    """Stop the service and take its unit away. Models, keys and settings stay."""
    keeper = _keeper(read_settings(flags={}), {})
    if not keeper.file.is_file():
        say("There is no service of CodeHearth.")
        return
    for command in keeper.end:
        subprocess.run(command, capture_output=True, check=False)  # it may have ended already
    keeper.file.unlink()
    say(f"The service is removed ({keeper.file}).")


def _keeper(settings: Settings, flags: dict[str, Any]) -> _Keeper:
    from codehearth.cli.units import LABEL, UNIT, launchd_plist, systemd_unit

    argv = (sys.executable, "-m", "codehearth", "serve", *_serve_flags(flags))
    variables = _variables(settings)
    if sys.platform == "darwin":
        file = Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        domain = f"gui/{os.getuid()}"
        return _Keeper(
            file,
            launchd_plist(argv, variables, log=settings.data.absolute() / "logs" / "service.log"),
            reach=("launchctl", "print", domain),
            replace=(("launchctl", "bootout", f"{domain}/{LABEL}"),),
            begin=(("launchctl", "bootstrap", domain, str(file)),),
            end=(("launchctl", "bootout", f"{domain}/{LABEL}"),),
            ask=("launchctl", "print", f"{domain}/{LABEL}"),
        )
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    control = ("systemctl", "--user")
    return _Keeper(
        Path(base) / "systemd" / "user" / UNIT,
        systemd_unit(argv, variables),
        reach=(*control, "show-environment"),
        replace=(),
        begin=(
            (*control, "daemon-reload"),
            (*control, "enable", UNIT),
            (*control, "restart", UNIT),
        ),
        end=((*control, "disable", "--now", UNIT), (*control, "daemon-reload")),
        ask=(*control, "is-active", "--quiet", UNIT),
    )


def _variables(settings: Settings) -> dict[str, str]:
    """What the server has to know of this environment, without tokens."""
    from codehearth.models.hubs import PLACE_VARIABLES

    kept = ("XDG_CONFIG_HOME", *PLACE_VARIABLES)
    return {
        "HEARTH_DATA": str(settings.data.absolute()),
        "PATH": f"{Path(sys.executable).parent}:{_PATH}",
        **{name: os.environ[name] for name in kept if os.environ.get(name)},
    }


def _serve_flags(flags: dict[str, Any]) -> list[str]:
    words = []
    for setting in setting_fields():
        value = flags.get(setting.name)
        if value is None:
            continue
        if setting.name == "model":
            value = _whole_name(value)
        name = setting.name.replace("_", "-")
        if setting.metadata["kind"] == "switch":
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", str(value)]
    return words


def _whole_name(model: str) -> str:
    """A model's name; a path from the root on, for the service begins in another folder."""
    from codehearth.models.names import PathName, parse_name

    named = parse_name(model, allow_path=True)
    return str(named.path.absolute()) if isinstance(named, PathName) else model


def _check_can_start(settings: Settings) -> None:
    """What would end the server at once is said now; later it would only be in a log."""
    from contextlib import closing

    from codehearth.cli.shelf import store_of
    from codehearth.errors import BadSetting
    from codehearth.records.keys import Keys

    store_of(settings).find(settings.model, allow_path=True)
    with closing(Keys(settings.data)) as keys:
        if not settings.is_loopback and not keys.are_required():
            raise BadSetting(
                f"The server will not listen on {settings.host} without a key.",
                hint="make one first: `hearth keys create NAME`",
            )


def _require_program(keeper: _Keeper) -> None:
    program = keeper.begin[0][0]
    if shutil.which(program) is None:
        raise Unsupported(
            f"There is no {program} here, so nothing would keep the server running.",
            hint="`hearth service install --print` shows the unit; in a container, the container's "
            "own restart policy does this",
        )


def _run(command: tuple[str, ...]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise HearthError(
            f"`{' '.join(command)}` failed: {said[-1] if said else done.returncode}",
            hint="without a login session (su, sudo): log in as the user, or set XDG_RUNTIME_DIR",
        )


def _asks_well(command: tuple[str, ...]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
