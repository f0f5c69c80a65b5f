"""Settings, variables that are none, and keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from codehearth.cli.doctor.check import Check
from codehearth.errors import HearthError
from codehearth.settings import (
    Settings,
    default_data_path,
    read_settings,
    setting_fields,
    user_config_path,
)

# Variables that begin as settings do and are none.
_OTHER_VARIABLES = ("HEARTH_URL", "HEARTH_API_KEY", "HEARTH_ENGINE_KEY")


def settings_or_defaults() -> tuple[Settings, Check]:
    """The settings, or the defaults where they are broken."""
    files = [str(file) for file in (user_config_path(), Path("hearth.toml")) if file.exists()]
    try:
        found = read_settings(flags={})
    except HearthError as error:
        defaults = Settings(data=default_data_path())
        return defaults, Check("settings", "fail", error.message, error.hint)
    detail = f"read from {', '.join(files)}" if files else "all at their defaults"
    return found, Check("settings", "ok", detail)


def unknown_variables(environment: Mapping[str, str]) -> Iterator[Check]:
    """A misspelt variable does nothing, and nobody says so but us."""
    from difflib import get_close_matches

    known = [f"HEARTH_{setting.name.upper()}" for setting in setting_fields()]
    for variable in sorted(environment):
        if variable.startswith("HEARTH_") and variable not in (*known, *_OTHER_VARIABLES):
            near = get_close_matches(variable, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "`hearth config` shows the settings"
            yield Check("settings", "warn", f"{variable} is not a setting", hint)


def keys(settings: Settings) -> Check:
    from codehearth.records.keys import Keys

    try:
        with closing(Keys(settings.data)) as records:
            required = records.are_required()
            number = sum(key.revoked_at is None for key in records.all())
    except HearthError as error:
        return Check("keys", "fail", error.message, error.hint)
    if required and not number:
        hint = "make one: `hearth keys create NAME`"
        return Check("keys", "warn", "a key is required, and there is none", hint)
    if not required and not settings.is_loopback:
        hint = "make a key first: `hearth keys create NAME`"
        return Check("keys", "fail", f"listening on {settings.host} needs a key", hint)
    return Check("keys", "ok", f"{number} in use" if required else "none needed on this machine")
