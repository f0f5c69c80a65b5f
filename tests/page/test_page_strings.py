"""Every text of the page is in both tables, and the page's files name nobody else's servers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from codehearth.gateway.page.fits import Place
from codehearth.gateway.page.pull import State as PullState
from codehearth.lab.evaluation.estimator import Verdict
from codehearth.lab.sandbox.program import Ending
from codehearth.lab.tuning.evaluating import Judgement
from codehearth.lab.tuning.jobs import Phase
from codehearth.pool.status import State as PoolState
from codehearth.text.languages import find_language
from codehearth.web.files import FOLDER
from codehearth.wire.tuning import TuneRequest

SCRIPTS = sorted(FOLDER.glob("*.js"))
TABLES = {path.stem: json.loads(path.read_text("utf-8")) for path in FOLDER.glob("strings/*.json")}


def listed(script: str, pattern: str) -> tuple[str, ...]:
    """The values that stand in a script's own list, as `pattern` finds them."""
    found = tuple(re.findall(pattern, (FOLDER / script).read_text("utf-8"), re.M))
    assert found, (script, pattern)
    return found


COLUMNS = listed("measure.js", r'^  \["(\w+)", \(row\)')
ERRORS = listed("errors.js", r'^  \w+: "(error\.\w+)",$')
PARAMETERS = listed("page.js", r"^  (\w+): \{ low:")
VIEWS = tuple(re.findall(r'"(\w+)"', listed("app.js", r"^const VIEWS = (.*);$")[0]))
PROMPTS = tuple(re.findall(r'"(\w+)"', listed("composer.js", r"^const FIRST_PROMPTS = (.*);$")[0]))
WELCOMES = tuple(re.findall(r'"(\w+)"', listed("chat.js", r"^    const prompts = (.*);$")[0]))
FIELDS = (*listed("tune.js", r'\blabelled\("(\w+)"'),)
PHASES = (*get_args(Phase), "interrupted")
SUITES = get_args(TuneRequest.model_fields["evaluate"].annotation)
STATES = ("on_disk", "loaded", "not_here", "downloading", *get_args(PoolState))
# Keys that are made at run time, as the script writes them, and every value that each can have.
MADE: dict[str, tuple[str, ...]] = {
    "${key}.title": ERRORS,
    "${key}.text": ERRORS,
    "compare.head.${name}": ("model", "wins", "losses", "ties"),
    "compare.winner.${winner}": ("first", "second", "tie", "neither"),
    "connect.${group}": ("editor", "agent", "script"),
    "fits.${model.fits}": get_args(Place),
    "measure.${name}": COLUMNS,
    "measure.${name}.why": COLUMNS,
    "models.${group}": ("here", "not_here"),
    "models.${name}": ("chat", "load", "unload", "pull", "smaller"),
    "models.head.${name}": ("name", "state", "size", "fit", "memory", "precision"),
    "models.scope.${scope}": ("all", "here", "not_here"),
    "nav.${name}": VIEWS,
    "parameters.${name}": PARAMETERS,
    "parameters.${name}.hint": PARAMETERS,
    "parts.${name}": ("weights", "context", "compute", "process"),
    "prompt.${name}.name": PROMPTS,
    "prompt.${name}.text": PROMPTS,
    "pull.${verb}": ("pause", "resume", "cancel"),
    # Those that are over are not shown.
    "pull.state.${pull.state}": tuple(set(get_args(PullState)) - {"done", "cancelled"}),
    # The pool's "ready" is "loaded" on the page.
    "run.ending.${key}": ("done", *get_args(Ending)),
    "state.${state_of(model.name)}": tuple(set(STATES) - {"ready"} | {"paused"}),
    "state.${state}": tuple(set(STATES) - {"ready"} | {"paused"}),
    "status.${key}": ("waiting", "loading", "reading", "writing", "reconnecting"),
    "theme.${name}": ("light", "dark", "system"),
    "tune.${name}": ("chat", "stop", "resume", "forget"),
    "tune.change.${verdict}": get_args(Verdict),
    "tune.evaluate.${name}": SUITES,
    "tune.judgement.${judged}": get_args(Judgement),
    "tune.field.${name}": FIELDS,
    "tune.field.${name}.why": FIELDS,
    "tune.phase.${job.phase}": PHASES,
    "tune.phase.${one.phase}": PHASES,
    "welcome.${name}.prompt": WELCOMES,
    "welcome.${name}.title": WELCOMES,
}


def asked_keys() -> tuple[set[str], set[str]]:
    """Keys that scripts ask for: whole ones, and those made at run time as they are written."""
    whole: set[str] = set()
    made: set[str] = set()
    for script in SCRIPTS:
        text = script.read_text("utf-8")
        for call, key in re.findall(r"""\b(t|t_count)\(\s*"([\w.]+)\"""", text):
            whole |= {f"{key}.one", f"{key}.many"} if call == "t_count" else {key}
        for first, second in re.findall(r"""\bt\([^"`()]*\? "([\w.]+)" : "([\w.]+)"\)""", text):
            whole |= {first, second}
        whole |= set(re.findall(r'"(keys\.\w+)"', text)) if script.name == "shortcuts.js" else set()
        made |= set(re.findall(r"\bt\(`([^`]+)`", text))
    return whole, made


def test_there_are_two_languages() -> None:
    assert set(TABLES) == {"en", "zh-CN"}


def test_both_tables_hold_the_same_keys() -> None:
    assert set(TABLES["en"]) == set(TABLES["zh-CN"])


def test_texts_have_the_same_values_to_fill_in() -> None:
    for key, text in TABLES["en"].items():
        assert set(re.findall(r"\{\w+\}", text)) == set(
            re.findall(r"\{\w+\}", TABLES["zh-CN"][key])
        ), key


def test_no_text_is_missing_or_left_over() -> None:
    whole, made = asked_keys()
    assert made == set(MADE), made ^ set(MADE)
    asked = whole | {
        re.sub(r"\$\{[^}]*\}", value, key) for key, values in MADE.items() for value in values
    }
    known = set(TABLES["en"])

    assert asked <= known, f"missing: {asked - known}"
    assert known <= asked, f"left over: {known - asked}"


def test_chinese_texts_are_chinese() -> None:
    same = {
        key
        for key, text in TABLES["zh-CN"].items()
        if text == TABLES["en"][key] and re.search(r"[a-z]{3}", text)
    }

    assert same <= {"plain.first", "measure.pass"}


def test_scripts_show_no_text_of_their_own() -> None:
    """A label that is not in a table would stay English in a Chinese page."""
    for script in SCRIPTS:
        text = script.read_text("utf-8")
        for label in re.findall(r'(?:"aria-label"|placeholder|title): "([^"]+)"', text):
            assert not re.search(r"[A-Za-z]{4}", label) or label in ("hf:org/repo",), (
                script.name,
                label,
            )


@pytest.mark.parametrize(
    "path", [p for p in FOLDER.rglob("*") if p.is_file()], ids=lambda p: p.name
)
def test_the_files_name_no_server(path: Path) -> None:
    addresses = re.findall(r"https?://[\w.-]+", path.read_text("utf-8"))

    assert set(addresses) <= {"http://www.w3.org"}


def test_the_languages_of_the_editor_are_those_of_the_server() -> None:
    text = (FOLDER / "languages.js").read_text("utf-8")
    names = re.findall(r'"([^"]+)"', text.split("TAG_LANGUAGES = [")[1].split("]")[0])

    assert len(names) > 50
    for name in names:
        assert find_language(name).name == name
