"""The clients that can be pointed at a server: rows of `data/clients.toml`; pure."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from string import Template
from typing import Literal

from codehearth.errors import NotFound

Format = Literal["json", "toml", "yaml", "vim", "lua", "shell", "steps"]
# What people also call them.
_ALIASES = {
    "continue.dev": "continue",
    "llama-vscode": "llama.vscode",
    "llama-vim": "llama.vim",
    "tabbyml": "tabby",
    "minuet-ai": "minuet",
    "minuet-ai.nvim": "minuet",
    "cmp_ai": "cmp-ai",
    "jetbrains": "proxyai",
    "codegpt": "proxyai",
    "code": "vscode",
    "vs-code": "vscode",
    "claude-code": "claude",
    "codex-cli": "codex",
    "copilot-cli": "copilot",
}


@dataclass(frozen=True)
class Target:
    """What a client is pointed at. `key` is a placeholder: real keys are not printed."""

    url: str
    model: str
    key: str
    context_tokens: int

    @property
    def fields(self) -> Mapping[str, str]:
        host, _, port = self.url.partition("://")[2].rpartition(":")
        return {
            "url": self.url,
            "host": host,
            "port": port,
            "model": self.model,
            "key": self.key,
            "context": str(self.context_tokens),
        }


@dataclass(frozen=True)
class ClientApp:
    """One client; what the fields mean stands at the top of `clients.toml`."""

    name: str
    title: str
    works: str
    cannot: str
    format: Format
    template: str
    files: Mapping[str, str]
    list_key: str = ""
    then_template: str = ""

    @property
    def can_be_written(self) -> bool:
        return bool(self.files)

    def text(self, target: Target) -> str:
        """Its configuration, ending with a newline."""
        return Template(self.template).substitute(target.fields)

    def then(self, target: Target) -> str:
        return Template(self.then_template).substitute(target.fields)

    def file(self, platform: str) -> str:
        """Its configuration file below the home folder, on the platform of `sys.platform`."""
        own = "macos" if platform == "darwin" else "linux"
        return self.files.get("any") or self.files[own]


@cache
def client_apps() -> Mapping[str, ClientApp]:
    """All clients by their name."""
    table = tomllib.loads((files("codehearth.data") / "clients.toml").read_text("utf-8"))
    return {
        name: ClientApp(
            name=name,
            title=row["title"],
            works=row["works"],
            cannot=row["cannot"],
            format=row["format"],
            template=row["text"].lstrip("\n"),
            files=row.get("files", {}),
            list_key=row.get("list_key", ""),
            then_template=row.get("then", ""),
        )
        for name, row in table.items()
    }


def find_client(name: str) -> ClientApp:
    """Raises NotFound with the nearest names, and with the reason for those that cannot."""
    wanted = name.strip().lower()
    wanted = _ALIASES.get(wanted, wanted)
    if wanted in client_apps():
        return client_apps()[wanted]
    if wanted in ("cursor", "github-copilot", "copilot-completion", "windsurf"):
        raise NotFound(
            f"The completion of '{name}' cannot be pointed at another server.",
            hint="for completion while typing, take continue, llama.vscode, tabby or zed",
        )
    near = get_close_matches(wanted, [*client_apps(), *_ALIASES], n=2)
    found = ", ".join(dict.fromkeys(_ALIASES.get(one, one) for one in near))
    raise NotFound(
        f"There is no client '{name}' here.",
        hint=f"did you mean {found}?" if found else "`hearth connect` lists them",
    )
