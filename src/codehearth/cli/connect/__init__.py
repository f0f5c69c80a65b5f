"""`hearth connect`: an editor or a tool is pointed at the server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from codehearth.cli.options import complete_model_here, json_option, settings_now, yes_option
from codehearth.cli.output import facts, print_data, print_json, say
from codehearth.cli.reach import Server, client_of, find_server
from codehearth.errors import HearthError, InvalidRequest
from codehearth.settings import Settings

if TYPE_CHECKING:
    from codehearth.cli.connect.clients import ClientApp, Target

_NO_KEY = "none"
_SOME_KEY = "YOUR-KEY"
_CONTEXT_TOKENS = 8192


def _names(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    names = [app.name for app in _apps()]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command()
@click.argument("client", required=False, shell_complete=_names)
@click.option(
    "-m",
    "--model",
    shell_complete=complete_model_here,
    help="The model; without it the server's default.",
)
@click.option("--write", is_flag=True, help="Write it into the client's own file, after a look.")
@yes_option
@json_option
def connect(client: str | None, model: str | None, write: bool, yes: bool, as_json: bool) -> None:
    """Point an editor or a tool at the server.

    Without a name the clients are listed. With --write the difference to the client's own file is
    shown and, if you agree, written; what the file had before is kept beside it.

    \b
      hearth connect
      hearth connect zed
      hearth connect continue --write
    """
    from codehearth.cli.connect.clients import find_client

    if client is None:
        _list(as_json=as_json)
        return
    app = find_client(client)
    target = _target(settings_now(), model)
    if write:
        _write(app, target, yes=yes)
    elif as_json:
        print_json(_as_json(app, target))
    else:
        print_data(app.text(target).rstrip("\n"))
        _tell(app, target)


def _list(*, as_json: bool) -> None:
    if as_json:
        print_json([{"name": app.name, "title": app.title, "works": app.works} for app in _apps()])
        return
    print_data("\n".join(facts({app.name: f"{app.title}: {app.works}" for app in _apps()})))


def _apps() -> tuple[ClientApp, ...]:
    from codehearth.cli.connect.clients import client_apps

    return tuple(client_apps().values())


def _as_json(app: ClientApp, target: Target) -> dict[str, object]:
    return {
        "client": app.name,
        "url": target.url,
        "model": target.model,
        "file": str(_file_of(app)) if app.can_be_written else None,
        "format": app.format,
        "configuration": app.text(target),
        "works": app.works,
        "cannot": app.cannot,
    }


def _tell(app: ClientApp, target: Target) -> None:
    """What is to know beside the lines themselves, on standard error."""
    if app.can_be_written:
        say(f"\nThis belongs into {_file_of(app)}; --write puts it there.")
    say(f"Works: {app.works}. {app.cannot}")
    if app.then_template:
        say(app.then(target))
    if target.key == _SOME_KEY:
        say(f"{_SOME_KEY} stands for a key: `hearth keys create {app.name}` makes one.")


# --- Where it points ---


def _target(settings: Settings, model: str | None) -> Target:
    """The server that runs, else where one of these settings would be."""
    from codehearth.cli.connect.clients import Target

    server = find_server(settings)
    if server is None:
        say("No server is running; this is the address of the next `hearth serve`.")
        url = f"http://127.0.0.1:{settings.port}"
        return Target(url, model or settings.model, _key_of(settings, None), _CONTEXT_TOKENS)
    with client_of(server) as client:
        name = model or (client.default_model() if server.is_own else "")
        if not name:
            raise InvalidRequest("The server does not say which model is its own; add -m MODEL.")
        card = client.model(name)
    url = server.url.rstrip("/").removesuffix("/v1")
    context = card.context_tokens or _CONTEXT_TOKENS
    return Target(url, card.name, _key_of(settings, server), context)


def _key_of(settings: Settings, server: Server | None) -> str:
    """A placeholder: some clients refuse an empty key, and a real one is shown only once."""
    from contextlib import closing

    from codehearth.records.keys import Keys

    if server is not None and not server.is_own:
        return _SOME_KEY if server.key else _NO_KEY
    with closing(Keys(settings.data)) as keys:
        return _SOME_KEY if keys.are_required() else _NO_KEY


# --- Writing ---


def _file_of(app: ClientApp) -> Path:
    return Path.home() / app.file(sys.platform)


def _write(app: ClientApp, target: Target, *, yes: bool) -> None:
    from codehearth.cli.connect.merging import CannotMerge, merged
    from codehearth.cli.questions import agreed

    if not app.can_be_written or app.format not in ("json", "toml", "yaml"):
        raise InvalidRequest(
            f"The settings of {app.title} cannot be written by another program. {app.cannot}",
            hint=f"`hearth connect {app.name}` prints what to enter",
        )
    path = _file_of(app)
    try:
        text = _read(path)
        changed = merged(text, app.text(target), format=app.format, list_key=app.list_key)
    except CannotMerge as error:
        hint = error.hint or "paste the lines"
        raise CannotMerge(
            f"{path} was left as it is. {error.message}",
            hint=f"{hint}: `hearth connect {app.name}` prints them",
        ) from error
    if changed == text:
        say(f"{path} says so already.")
        return
    say(_difference(path, text, changed))
    if agreed(f"Write {path}?", yes=yes):
        _replace(path, changed)
        say(f"Written. {app.then(target)}".strip())


def _read(path: Path) -> str:
    """The file as it is, line ends too; empty where there is none. Raises CannotMerge."""
    from codehearth.cli.connect.merging import CannotMerge

    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise CannotMerge(f"It cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CannotMerge("It is not written in UTF-8.") from error


def _difference(path: Path, text: str, changed: str) -> str:
    from difflib import unified_diff

    lines = unified_diff(
        text.splitlines(), changed.splitlines(), str(path), str(path), lineterm="", n=2
    )
    return "\n".join(lines)


def _replace(path: Path, text: str) -> None:
    """Writes the file as a whole; what it was is kept beside it. A link stays one."""
    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    mode = place.stat().st_mode & 0o777 if place.exists() else 0o600
    part = place.with_name(place.name + ".hearth-part")
    try:
        part.touch(mode=0o600)
        part.write_bytes(text.encode("utf-8"))
        part.chmod(mode)
        if place.exists():
            backup = _free_name(place)
            backup.write_bytes(place.read_bytes())
            backup.chmod(mode)
            say(f"What it was is in {backup}.")
        part.replace(place)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise HearthError(f"{place} could not be written: {error.strerror}.") from error


def _free_name(path: Path) -> Path:
    """`settings.json.before-hearth`, and with a number where that is taken."""
    first = path.with_name(path.name + ".before-hearth")
    others = (first.with_name(f"{first.name}-{number}") for number in range(2, 10_000))
    return next(one for one in (first, *others) if not one.exists())
