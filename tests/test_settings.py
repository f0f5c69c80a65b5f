"""Settings: every source, their order, and errors that name setting and source."""

from __future__ import annotations

from pathlib import Path

import pytest

from codehearth.errors import BadSetting
from codehearth.settings import Settings, read_settings, setting_fields


def read(tmp_path: Path, environment: dict[str, str] | None = None, **flags: object) -> Settings:
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "data")}
    return read_settings(flags=flags, environment=home | (environment or {}), folder=tmp_path)


def write_user_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config" / "hearth" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_defaults_are_loopback_and_the_starter(tmp_path: Path) -> None:
    settings = read(tmp_path)

    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8765, "starter")
    assert settings.data == tmp_path / "data" / "hearth"
    assert settings.is_loopback


def test_a_flag_beats_the_environment_beats_the_project_beats_the_user(tmp_path: Path) -> None:
    write_user_file(tmp_path, "port = 1\nslots = 1\ncontext = 1\nkeep_alive = 1\n")
    (tmp_path / "hearth.toml").write_text("port = 2\nslots = 2\ncontext = 2\n")

    settings = read(tmp_path, {"HEARTH_PORT": "3", "HEARTH_SLOTS": "3"}, port=4)

    assert (settings.port, settings.slots, settings.context) == (4, 3, 2)
    assert settings.keep_alive == 1.0


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("MEMORY", "8GiB", 8 * 2**30),
        ("MEMORY", "512m", 512 * 2**20),
        ("MEMORY", "1000", 1000),
        ("KEEP_ALIVE", "5m", 300.0),
        ("KEEP_ALIVE", "-1", -1.0),
        ("KEEP_ALIVE", "250ms", 0.25),
        ("PAGE", "off", False),
        ("ALLOWED_HOSTS", "a.example, b.example", ("a.example", "b.example")),
    ],
)
def test_values_are_written_as_people_write_them(
    tmp_path: Path, name: str, text: str, value: object
) -> None:
    settings = read(tmp_path, {f"HEARTH_{name}": text})

    assert getattr(settings, name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("PORT", "-1"),
        ("MEMORY", "lots"),
        ("MEMORY", "inf"),
        ("KEEP_ALIVE", "nan"),
        ("KEEP_ALIVE", "5 fortnights"),
        ("PAGE", "maybe"),
        ("HUB", "elsewhere"),
    ],
)
def test_a_bad_value_stops_the_start_and_is_named(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(BadSetting) as caught:
        read(tmp_path, {f"HEARTH_{name}": text})

    assert name.lower() in caught.value.message.lower()


def test_a_projects_file_may_not_name_a_program_to_run(tmp_path: Path) -> None:
    (tmp_path / "hearth.toml").write_text('llama_server = "./evil"\n')

    with pytest.raises(BadSetting, match="llama_server"):
        read(tmp_path)


def test_the_users_own_file_may(tmp_path: Path) -> None:
    write_user_file(tmp_path, 'llama_server = "/usr/bin/llama-server"\n')

    assert read(tmp_path).llama_server == "/usr/bin/llama-server"


@pytest.mark.parametrize("text", ["port = ", "prot = 1", "port = true", "page = 3.5", "port = []"])
def test_a_file_with_a_mistake_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "hearth.toml").write_text(text)

    with pytest.raises(BadSetting, match=r"hearth\.toml"):
        read(tmp_path)


def test_every_setting_has_a_help_text() -> None:
    assert all(known.metadata["help"].endswith(".") for known in setting_fields())
