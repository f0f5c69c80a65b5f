"""`hearth repo`: the repositories whose code is found for chats and completions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from codehearth.cli.options import json_option, repositories_here, settings_now
from codehearth.cli.output import count, moment, print_data, print_json, print_table, say

if TYPE_CHECKING:
    from codehearth.repo.shelf import Shelf


_name_argument = click.argument("name", shell_complete=repositories_here)


@click.group()
def repo() -> None:
    """Index repositories, whose code models are then shown.

    `hearth repo add` in a folder, then `hearth run --repo NAME`, the page's list below the text, or
    "repository": "NAME" in a request. Everything stays on this machine.
    """


@repo.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option("--name", help="Another name than the folder's.")
@json_option
def add(path: Path, name: str | None, as_json: bool) -> None:
    """Index a folder, or what changed in it since.

    Files that git ignores, hidden ones, other people's (node_modules, vendor), secrets and what is
    no text are left out. A server that uses the index keeps it fresh.
    """
    from codehearth.cli.progress import Pace

    pace = Pace()

    def tell(done: int, total: int) -> None:
        if pace.is_due():
            say(f"{done} of {total} files are read.")

    name, refreshed = _shelf().add(path, name, tell=tell)
    facts = _shelf().get(name).facts()
    if as_json:
        print_json(
            {
                "name": name,
                "root": str(facts.root),
                "num_files": refreshed.num_files,
                "num_read": refreshed.num_read,
                "num_gone": refreshed.num_gone,
                "num_chunks": facts.num_chunks,
            }
        )
        return
    say(
        f"'{name}' is indexed: {count(facts.num_files)} files in {count(facts.num_chunks)} pieces; "
        f"{refreshed.num_read} read now, {refreshed.num_gone} gone."
    )
    if facts.num_files == 0:
        say("No file of a known language is there that git does not ignore.")
        return
    say(f'Ask about it: `hearth run --repo {name} "where is …?"`')


@repo.command("list")
@json_option
def list_repositories(as_json: bool) -> None:
    """Show what is indexed here."""
    known = _shelf().all()
    if as_json:
        print_json(
            [
                {
                    "name": one.name,
                    "root": str(one.facts.root),
                    "num_files": one.facts.num_files,
                    "num_chunks": one.facts.num_chunks,
                    "git_urls": list(one.facts.git_urls),
                    "indexed_at": int(one.facts.indexed_at),
                }
                for one in known
            ]
        )
        return
    if not known:
        say("No repository is indexed. `hearth repo add PATH` does it.")
        return
    print_table(
        ("NAME", "FILES", "PIECES", "INDEXED", "FOLDER"),
        [
            (
                one.name,
                str(one.facts.num_files),
                str(one.facts.num_chunks),
                moment(one.facts.indexed_at),
                str(one.facts.root),
            )
            for one in known
        ],
    )


@repo.command()
@_name_argument
@click.argument("words", nargs=-1, required=True)
@click.option("-n", "limit", type=click.IntRange(1, 40), default=5, show_default=True, metavar="N")
@json_option
def search(name: str, words: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Show what would be found for a question."""
    from codehearth.repo.query import terms_of

    found = _shelf().get(name).search(terms_of(" ".join(words)), limit=limit)
    if as_json:
        print_json([one.as_document() for one in found])
        return
    if not found:
        say("Nothing is found. Names from the code, and words of its comments, are.")
    for one in found:
        print_data(f"{one.place}\n{_indented(one.text)}\n")


@repo.command("rm")
@_name_argument
def remove(name: str) -> None:
    """Forget an index; the folder itself stays as it is."""
    _shelf().remove(name)
    say(f"The index of '{name}' is gone; its folder is as it was.")


def _shelf() -> Shelf:
    from codehearth.repo.shelf import Shelf

    return Shelf(settings_now().data)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n"))
