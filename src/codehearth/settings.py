"""The one table of settings: name, type, default, bounds and help of each.

A setting is a field of `Settings`. Its environment variable (`HEARTH_PORT`), its key in a file
(`port`), its flag (`--port`) and its line in `docs/settings.md` follow from the field.
Sources, later ones win: defaults, the user's file, `./hearth.toml`, environment, flags.

Settings are read at the door: only `cli`, `web` and `gateway` may see them. The floors below take
plain values.
"""

from __future__ import annotations

import dataclasses
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from codehearth.errors import BadSetting

Kind = Literal["text", "number", "whole", "switch", "path", "size", "duration", "names", "choice"]

FOREVER_S = -1.0
"""The duration that means "never ends", as Ollama's `keep_alive: -1`."""

_UNITS_OF_SIZE = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_UNITS_OF_TIME_S = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _setting(
    default: Any,
    kind: Kind,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    is_trusted_only: bool = False,
) -> Any:
    """A field with what the parser and the documentation need to know about it.

    `is_trusted_only` keeps it out of `./hearth.toml`: that file can come with a stranger's
    repository, so it may not name programs to run, folders to write to or doors to open.
    """
    facts = {
        "kind": kind,
        "help": text,
        "low": low,
        "high": high,
        "choices": choices,
        "is_trusted_only": is_trusted_only,
    }
    return field(default=default, metadata=facts)


@dataclass(frozen=True)
class Settings:
    """Everything that can be set, parsed and within its bounds."""

    host: str = _setting(
        "127.0.0.1",
        "text",
        "Address to listen on. Anything but loopback needs a key (`hearth keys create NAME`).",
        is_trusted_only=True,
    )
    port: int = _setting(8765, "whole", "Port to listen on; 0 takes a free one.", low=0, high=65535)
    page: bool = _setting(True, "switch", "Serve the web page at `/`.")
    run_code: bool = _setting(
        True,
        "switch",
        "Let callers run code in the sandbox: the page's run button, `/v1/verified`.",
        is_trusted_only=True,
    )
    model: str = _setting("starter", "text", "The model that answers where a request names none.")
    preload: bool = _setting(True, "switch", "Load that model when the server starts.")
    data: Path = _setting(
        Path(),
        "path",
        "Folder for keys, records, logs and engines. Default: `$XDG_DATA_HOME/hearth`.",
        is_trusted_only=True,
    )
    context: int = _setting(
        0, "whole", "Tokens of context for each request; 0 takes what fits.", low=0, high=2**24
    )
    slots: int = _setting(
        0, "whole", "Requests that one model answers at the same time; 0 chooses.", low=0, high=256
    )
    threads: int = _setting(
        0, "whole", "Threads of an engine; 0 takes the cores available.", low=0, high=1024
    )
    gpu_layers: int = _setting(
        -1, "whole", "Layers on the GPU; -1 takes what fits.", low=-1, high=10_000
    )
    memory: int = _setting(
        0, "size", "Memory that all models together may take; 0 takes what is free.", low=0
    )
    keep_alive: float = _setting(
        300.0, "duration", "How long an idle model stays loaded; -1 stays for ever.", low=-1.0
    )
    min_stay: float = _setting(
        1.0, "duration", "How long a model stays at least before another may push it out.", low=0.0
    )
    max_waiting: int = _setting(
        256, "whole", "Requests that may wait; more are sent away with 503.", low=1, high=100_000
    )
    max_requests_per_key: int = _setting(
        192, "whole", "Requests one key may have under way; more are sent away with 429.", low=1
    )
    load_timeout: float = _setting(
        120.0, "duration", "How long a load may show no sign of progress.", low=1.0
    )
    stall_timeout: float = _setting(
        300.0, "duration", "How long a model may answer nobody before it is restarted.", low=5.0
    )
    drain: float = _setting(
        30.0, "duration", "How long a shutdown waits for answers that are under way.", low=0.0
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (),
        "names",
        "Further Host names that may be used to reach the server.",
        is_trusted_only=True,
    )
    allowed_origins: tuple[str, ...] = _setting(
        (), "names", "Web origins that may call the API from a browser.", is_trusted_only=True
    )
    hub: str = _setting(
        "auto",
        "choice",
        "Where models come from.",
        choices=("auto", "huggingface", "modelscope"),
    )
    engine: str = _setting(
        "auto",
        "choice",
        "What computes. `auto` takes the fastest one here that reads a model's weights.",
        choices=("auto", "llama.cpp", "transformers", "vllm", "lmdeploy", "fastllm"),
    )
    precision: str = _setting(
        "auto",
        "choice",
        "What checkpoints are computed in; `auto` is as the weights are stored.",
        choices=("auto", "bf16", "fp16", "fp32", "int8", "int4"),
    )
    tensor_parallel: int = _setting(
        0, "whole", "GPUs that share each layer (vllm, lmdeploy); 0 takes all.", low=0, high=1024
    )
    pipeline_parallel: int = _setting(
        1, "whole", "Stages that the layers are dealt out to (vllm).", low=1, high=1024
    )
    ray: bool = _setting(
        False, "switch", "Take the GPUs of the Ray cluster that this machine is in (vllm)."
    )
    kv_precision: str = _setting(
        "auto",
        "choice",
        "What keys and values are kept in (lmdeploy).",
        choices=("auto", "int8", "int4"),
    )
    speculate: bool = _setting(
        False, "switch", "Guess tokens from what was written before, and check them (vllm)."
    )
    llama_server: str = _setting(
        "auto",
        "text",
        "A native llama-server: a path, `auto` for one built here or on PATH, `off` for the wheel.",
        is_trusted_only=True,
    )
    remotes: tuple[str, ...] = _setting(
        (),
        "names",
        "Models of other servers, as `NAME=URL` or `NAME=URL#MODEL`; several of one name share "
        "the work. Their key is read from HEARTH_REMOTE_KEY.",
        is_trusted_only=True,
    )
    allow_code: tuple[str, ...] = _setting(
        (),
        "names",
        "Repositories whose own Python code may run, as `org/repo@revision`.",
        is_trusted_only=True,
    )
    log_level: str = _setting(
        "info", "choice", "How much is logged.", choices=("debug", "info", "warning", "error")
    )

    @property
    def is_loopback(self) -> bool:
        return self.host in ("127.0.0.1", "localhost", "::1") or self.host.startswith("127.")


def setting_fields() -> tuple[dataclasses.Field[Any], ...]:
    """The fields in the order of the table, for help, documentation and flags."""
    return dataclasses.fields(Settings)


def read_settings(
    *,
    flags: Mapping[str, Any],
    environment: Mapping[str, str] = os.environ,
    folder: Path | None = None,
) -> Settings:
    """Settings merged from all sources; raises BadSetting naming the setting and its source.

    `flags` holds only what was given; None counts as not given. `folder` is where `hearth.toml`
    is looked for (the working folder).
    """
    values: dict[str, Any] = {}
    user_file = user_config_path(environment)
    project_file = (folder or Path.cwd()) / "hearth.toml"
    values.update(_from_file(user_file, is_trusted=True))
    values.update(_from_file(project_file, is_trusted=False))
    values.update(_from_environment(environment))
    values.update({name: value for name, value in flags.items() if value is not None})
    if not values.get("data"):
        values["data"] = default_data_path(environment)
    return Settings(**{name: _checked(name, value) for name, value in values.items()})


def user_config_path(environment: Mapping[str, str] = os.environ) -> Path:
    base = environment.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "hearth" / "config.toml"


def default_data_path(environment: Mapping[str, str] = os.environ) -> Path:
    base = environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "hearth"


def parse(name: str, text: str, *, source: str) -> Any:
    """One value from the text of an environment variable or flag."""
    facts = _facts(name, source)
    kind: Kind = facts["kind"]
    try:
        return _parse_kind(kind, text.strip())
    except ValueError as error:
        raise BadSetting(
            f"{source} is '{text}', which is not a {_words(kind)}.", hint=facts["help"]
        ) from error


def _parse_kind(kind: Kind, text: str) -> Any:
    match kind:
        case "text" | "choice":
            return text
        case "whole":
            return int(text)
        case "number":
            return float(text)
        case "switch":
            return _parse_switch(text)
        case "path":
            return Path(text).expanduser()
        case "size":
            return _parse_size(text)
        case "duration":
            return parse_duration(text)
        case "names":
            return tuple(name for name in text.replace(",", " ").split() if name)


def _parse_switch(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError(text)


def _parse_size(text: str) -> int:
    plain = text.lower().removesuffix("b").removesuffix("i")
    unit = plain[-1:] if plain[-1:].isalpha() else ""
    return int(_finite(plain[: len(plain) - len(unit)]) * _unit(unit, _UNITS_OF_SIZE))


def parse_duration(text: str) -> float:
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    return _finite(number) * _unit(text[len(number) :], _UNITS_OF_TIME_S)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _unit(text: str, units: Mapping[str, float]) -> float:
    if text not in units:
        raise ValueError(text)
    return units[text]


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for known in setting_fields():
        variable = f"HEARTH_{known.name.upper()}"
        text = environment.get(variable)
        if text is not None and text != "":
            values[known.name] = parse(known.name, text, source=variable)
    return values


def _from_file(path: Path, *, is_trusted: bool) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSetting(f"{path} cannot be read: {error}") from error
    values = {}
    for name, value in table.items():
        source = f"'{name}' in {path}"
        facts = _facts(name, source)
        if facts["is_trusted_only"] and not is_trusted:
            raise BadSetting(
                f"{source} is not accepted: a file that comes with a project may not set it.",
                hint=f"set it in {user_config_path()} or as HEARTH_{name.upper()}",
            )
        values[name] = _from_toml(name, value, source=source)
    return values


def _from_toml(name: str, value: Any, *, source: str) -> Any:
    kind: Kind = _facts(name, source)["kind"]
    if isinstance(value, str):
        return parse(name, value, source=source)
    if kind == "names" and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if isinstance(value, bool) != (kind == "switch") or not isinstance(value, int | float):
        raise BadSetting(f"{source} is not a {_words(kind)}.", hint=_facts(name, source)["help"])
    return parse(name, str(value), source=source)


def _facts(name: str, source: str) -> Mapping[str, Any]:
    for known in setting_fields():
        if known.name == name:
            return known.metadata
    names = ", ".join(known.name for known in setting_fields())
    raise BadSetting(f"{source}: there is no such setting.", hint=f"the settings are {names}")


def _checked(name: str, value: Any) -> Any:
    facts = _facts(name, name)
    low, high = facts["low"], facts["high"]
    if low is not None and value < low:
        raise BadSetting(f"{name} is {value}, but must be at least {low:g}.", hint=facts["help"])
    if high is not None and value > high:
        raise BadSetting(f"{name} is {value}, but must be at most {high:g}.", hint=facts["help"])
    if facts["choices"] and value not in facts["choices"]:
        allowed = ", ".join(facts["choices"])
        raise BadSetting(f"{name} is '{value}', but must be one of {allowed}.", hint=facts["help"])
    if facts["kind"] == "text" and not value:
        raise BadSetting(f"{name} is empty.", hint=facts["help"])
    return value


def _words(kind: Kind) -> str:
    words: dict[Kind, str] = {
        "text": "text",
        "number": "number",
        "whole": "whole number",
        "switch": "switch (true or false)",
        "path": "path",
        "size": "size (such as 8GiB)",
        "duration": "duration (such as 300, 5m or 1h)",
        "names": "list of names",
        "choice": "name",
    }
    assert set(words) == set(get_args(Kind))
    return words[kind]
