"""`docs/editors.md`: each client's lines, from the same table that `hearth connect` prints."""

from __future__ import annotations

from codehearth.cli.connect.clients import ClientApp, Target, client_apps

_EXAMPLE = Target("http://127.0.0.1:8000", "qwen2.5-coder-7b", "none", 32768)
_LANGUAGES = {"vim": "vim", "lua": "lua", "shell": "sh", "steps": "text"}

_HEAD = """\
# Editors and tools

Every client below can be pointed at a server of CodeHearth, with any model that it serves. `hearth
connect NAME` prints these lines with your server's address and model; with `--write` it puts them
into the client's own file, after showing the difference and asking, and keeps what was there.

The server lays out the infilling prompt for the model that answers, also where a client laid it out
for another family. It ends an answer where the statement, block or paragraph at the cursor ends,
and does not write again what follows the cursor.

**What cannot be pointed at us:** the completion while typing of GitHub Copilot and of Cursor. Their
own keys and endpoints are for chat only. Take Continue, llama.vscode, Tabby's extension or Zed for
completion; Copilot's chat can be connected (see `vscode` and `copilot`).

This page is made by `python scripts/write_reference.py` from `src/codehearth/data/clients.toml`.
"""


def editors_page() -> str:
    """The whole page."""
    apps = client_apps().values()
    table = ["| name | client | what works |", "| --- | --- | --- |"]
    table += [f"| [`{app.name}`](#{_anchor(app)}) | {app.title} | {app.works} |" for app in apps]
    return "\n".join([_HEAD, *table, "", *map(_section, apps)]).rstrip("\n") + "\n"


def _anchor(app: ClientApp) -> str:
    return app.name.replace(".", "")


def _section(app: ClientApp) -> str:
    lines = [f"## {app.name}", "", f"{app.title}: {app.works}. {app.cannot}", ""]
    if app.can_be_written:
        places = dict.fromkeys(app.files.values())
        named = " or ".join(f"`~/{place}`" for place in places)
        lines += [f"In {named} (`hearth connect {app.name} --write`):", ""]
    language = _LANGUAGES.get(app.format, app.format)
    lines += [f"```{language}", app.text(_EXAMPLE).rstrip("\n"), "```", ""]
    if app.then_template:
        lines += [app.then(_EXAMPLE), ""]
    return "\n".join(lines)
