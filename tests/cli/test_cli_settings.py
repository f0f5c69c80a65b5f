"""`config`, `keys` and `logs`: what needs no server and no model."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.cli.config import with_line
from codehearth.cli.logs import last_lines
from codehearth.settings import setting_fields
from tests.cli.command_line import Hearth


def config_file(hearth: Hearth) -> Path:
    return hearth.home / ".config" / "hearth" / "config.toml"


def test_every_setting_is_shown_with_its_source(hearth: Hearth) -> None:
    config_file(hearth).parent.mkdir(parents=True)
    config_file(hearth).write_text("port = 9001\nslots = 2\n")
    (hearth.home / "hearth.toml").write_text("slots = 3\n")

    shown = hearth("config", "--json", variables={"HEARTH_DRAIN": "2m"}).document
    table = hearth("config").out

    assert list(shown) == [setting.name for setting in setting_fields()]
    assert shown["port"] == {"value": 9001, "source": str(config_file(hearth))}
    assert shown["slots"] == {"value": 3, "source": "hearth.toml"}
    assert shown["drain"] == {"value": 120.0, "source": "HEARTH_DRAIN"}
    assert shown["model"] == {"value": "starter", "source": "default"}
    assert "keep_alive" in table


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("port", "9000", "9000"),
        ("page", "no", "false"),
        ("memory", "8GiB", str(8 * 2**30)),
        ("keep_alive", "5m", "300.0"),
        ("model", 'a "quoted" \\ name', 'a "quoted" \\ name'),
        ("allowed_hosts", "a.example, b.example", '["a.example", "b.example"]'),
    ],
)
def test_what_is_set_is_what_holds(hearth: Hearth, name: str, value: str, shown: str) -> None:
    written = hearth("config", "set", name, value)

    assert (written.code, written.out) == (0, "")
    assert hearth("config", "get", name).out == f"{shown}\n"


def test_setting_one_thing_leaves_the_others_and_the_comments(hearth: Hearth) -> None:
    config_file(hearth).parent.mkdir(parents=True)
    config_file(hearth).write_text("# mine\nport = 1  # low\nslots = 2\n")

    hearth("config", "set", "port", "9000")
    hearth("config", "set", "drain", "5s")

    assert config_file(hearth).read_text() == '# mine\nport = 9000\nslots = 2\ndrain = "5s"\n'


def test_a_setting_that_something_else_overrides_says_so(hearth: Hearth) -> None:
    result = hearth("config", "set", "port", "9000", variables={"HEARTH_PORT": "9001"})

    assert "HEARTH_PORT wins over the file" in result.err


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("port", "70000", "at most 65535"),
        ("port", "many", "not a whole number"),
        ("hub", "nowhere", "one of"),
        ("prot", "1", "did you mean port"),
    ],
)
def test_what_cannot_be_is_not_written(
    hearth: Hearth, name: str, value: str, complaint: str
) -> None:
    result = hearth("config", "set", name, value)

    assert result.code == 2
    assert complaint in result.err
    assert not config_file(hearth).exists()


def test_a_file_that_one_line_cannot_change_is_left_alone(hearth: Hearth) -> None:
    text = 'allowed_hosts = [\n  "a.example",\n]\n'
    config_file(hearth).parent.mkdir(parents=True)
    config_file(hearth).write_text(text)

    result = hearth("config", "set", "allowed_hosts", "b.example")

    assert result.code == 2
    assert "cannot be changed safely" in result.err
    assert config_file(hearth).read_text() == text


def test_the_files_place_is_told(hearth: Hearth) -> None:
    assert hearth("config", "path").out == f"{config_file(hearth)}\n"


@given(st.dictionaries(st.sampled_from(["port", "slots", "threads"]), st.integers(0, 99)))
def test_lines_set_one_after_the_other_make_the_table(table: dict[str, int]) -> None:
    text = "# begun\nport = 5 # five"
    for name, value in table.items():
        text = with_line(text, name, str(value))

    assert tomllib.loads(text) == {"port": 5} | table


def test_a_key_is_alone_on_standard_output(hearth: Hearth) -> None:
    result = hearth("keys", "create", "me", "--role", "admin")

    assert result.code == 0
    assert result.out.startswith("sk-")
    assert len(result.out.splitlines()) == 1
    assert result.out.strip() not in result.err
    assert "cannot be shown again" in result.err


def test_keys_are_listed_without_themselves_and_revoked(hearth: Hearth) -> None:
    key = hearth("keys", "create", "me").out.strip()
    hearth("keys", "create", "you")
    hearth("keys", "revoke", "you")

    listed = hearth("keys", "list", "--json")
    table = hearth("keys", "list")

    assert [(entry["name"], entry["role"]) for entry in listed.document] == [
        ("me", "chat"),
        ("you", "chat"),
    ]
    assert listed.document[0]["revoked_at"] is None
    assert listed.document[1]["revoked_at"] > 0
    assert key not in listed.out + table.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("create", ""), 2),
        (("create", "a\nb"), 2),
        (("create", "me", "--role", "king"), 2),
        (("revoke", "nobody"), 4),
        (("revoke",), 2),
    ],
)
def test_keys_that_cannot_be_are_refused(
    hearth: Hearth, arguments: tuple[str, ...], code: int
) -> None:
    assert hearth("keys", *arguments).code == code


def test_two_keys_cannot_have_one_name(hearth: Hearth) -> None:
    hearth("keys", "create", "me")

    result = hearth("keys", "create", "me")

    assert (result.code, result.out) == (2, "")
    assert "`hearth keys revoke me`" in result.err


def test_without_a_log_the_hint_starts_a_server(hearth: Hearth) -> None:
    result = hearth("logs")

    assert result.code == 4
    assert "hearth serve" in result.err


@given(st.lists(st.text("ab é🙂", max_size=9), max_size=30), st.integers(0, 40))
def test_the_last_lines_are_the_last_lines(lines: list[str], number: int) -> None:
    with tempfile.TemporaryFile() as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
        file.flush()

        assert last_lines(file.fileno(), number) == (lines[-number:] if number else [])


def test_a_long_log_is_read_from_its_end(tmp_path: Path) -> None:
    file = tmp_path / "long.log"
    file.write_text("".join(f"line {number}\n" for number in range(50_000)))

    with file.open("rb") as opened:
        assert last_lines(opened.fileno(), 2) == ["line 49998", "line 49999"]
