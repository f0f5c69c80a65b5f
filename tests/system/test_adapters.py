"""Assistants tuned on one base: one process holds it once, and the request's `model` chooses."""

from __future__ import annotations

import functools
import json
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codehearth.lab.tuning.adapter import write_gguf_adapter
from codehearth.lab.tuning.asking import answers
from codehearth.models.starter import starter
from codehearth.models.tuned import Tuned, TunedModel
from tests.engine_environments import ENVIRONMENTS, installed
from tests.starter_files import starter_checkpoint
from tests.system.conftest import Hearth, Server
from tests.tiny_adapters import make_adapter

PROMPT = "def add(a, b):\n"
NUM_NEW = 8
HALF = "\ufffd"  # of a character that the last token began
HI = [{"role": "user", "content": "hi"}]
SHARED = "starter+adapters"


@dataclass
class House:
    hearth: Hearth
    server: Server

    def says(self, model: str, prompt: str = PROMPT) -> str:
        body = {"model": model, "prompt": prompt, "max_tokens": NUM_NEW, "temperature": 0}
        answer = self.server.post("/v1/completions", body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["text"]).rstrip(HALF)

    def processes(self) -> dict[str, dict[str, Any]]:
        rows = self.server.get("/hearth/ps").json()["models"]
        return {row["name"]: row for row in rows if row["state"] == "ready"}


def tune(hearth: Hearth, name: str, seed: int) -> Path:
    """A tuned model as `hearth tune` registers it, with a random adapter; its folder."""
    base = starter_checkpoint(hearth.data)
    made = hearth.home / "work" / name
    (made / "merged").mkdir(parents=True)
    (made / "merged" / "config.json").write_text("{}")
    make_adapter(made / "adapter", _shapes(base / "model.safetensors"), seed=seed)
    write_gguf_adapter(made / "adapter", base, made / "adapter.gguf", name=name)
    tuned = Tuned(hearth.data / "tuned")
    return tuned.path_of(tuned.put(TunedModel(name, "starter:bf16", name, has_gguf=False), made))


def _shapes(path: Path) -> dict[str, Any]:
    """Empty matrices of the shapes that a checkpoint has."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        head = json.loads(stream.read(length))
    return {name: np.empty(one["shape"]) for name, one in head.items() if name != "__metadata__"}


@functools.cache
def alone(adapter: Path) -> str:
    """What the base says with this adapter in a process of its own."""
    (answer,) = answers(
        starter().path, [{"prompt": PROMPT}], num_new=NUM_NEW, num_threads=1, adapter=adapter
    )
    return answer.answer.rstrip(HALF)


@pytest.fixture(scope="module")
def folders() -> dict[str, Path]:
    """Where the versions in use lie, by name."""
    return {}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> Iterator[House]:
    hearth = Hearth(tmp_path_factory.mktemp("adapters"))
    for seed, name in enumerate(("one", "two"), 1):
        folders[name] = tune(hearth, name, seed)
    with hearth.serving("-m", "starter") as server:
        yield House(hearth, server)


def test_each_answers_by_its_name_as_it_would_alone(house: House, folders: dict[str, Path]) -> None:
    """In turn with the same prompt: what is cached of one must not be taken for the other's."""
    said = [house.says(f"{name}:adapter") for name in ("one", "two", "one", "two")]

    expected = [alone(folders[name] / "adapter.gguf") for name in ("one", "two")]
    assert said == expected * 2
    assert len({*said, house.says("starter")}) == 3


def test_the_base_is_in_memory_once_for_both(house: House) -> None:
    house.says("one:adapter")
    house.says("two:adapter")

    shared = house.processes()

    assert {name for name in shared if name != "starter"} == {SHARED}
    assert "one:adapter, two:adapter" in shared[SHARED]["why"]


def test_both_are_answered_at_the_same_time(house: House) -> None:
    """Random adapters end in near ties, which a batch rounds otherwise: beginnings tell enough."""
    names = ["one:adapter", "two:adapter"] * 4
    beginnings = [house.says(name)[:8] for name in names[:2]]
    assert beginnings[0] != beginnings[1]

    with ThreadPoolExecutor(8) as threads:
        said = [answer[:8] for answer in threads.map(house.says, names)]

    assert said == beginnings * 4


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", {"messages": HI}),
        ("/v1/responses", {"input": "hi"}),
        ("/v1/messages", {"messages": HI}),
        ("/api/chat", {"messages": HI, "stream": False, "options": {"num_predict": NUM_NEW}}),
    ],
)
def test_every_dialect_gets_the_model_that_it_names(
    house: House, path: str, more: dict[str, Any]
) -> None:
    sampling = {"temperature": 0, "max_tokens": NUM_NEW, "max_output_tokens": NUM_NEW}
    texts = set()

    for name in ("starter", "one:adapter", "two:adapter"):
        answer = house.server.post(path, {"model": name, **sampling, **more})
        assert answer.status_code == 200, answer.text
        texts.add(_text_of(answer.json()))

    assert len(texts) == 3


def _text_of(document: dict[str, Any]) -> str:
    """The words of an answer in any dialect."""
    if "choices" in document:
        return str(document["choices"][0]["message"]["content"])
    if "message" in document:
        return str(document["message"]["content"])
    if "content" in document:
        return "".join(block["text"] for block in document["content"])
    return "".join(part["text"] for one in document["output"] for part in one["content"])


def test_one_that_is_tuned_meanwhile_joins_them(house: House, folders: dict[str, Path]) -> None:
    before = house.says("one:adapter")
    folders["three"] = tune(house.hearth, "three", 3)

    said = house.says("three:adapter")

    assert said == alone(folders["three"] / "adapter.gguf")
    assert house.says("one:adapter") == before
    assert {name for name in house.processes() if name != "starter"} == {SHARED}


def test_a_new_version_answers_from_then_on(house: House, folders: dict[str, Path]) -> None:
    before = house.says("two:adapter")
    folders["two"] = tune(house.hearth, "two", 7)
    house.hearth.run("stop", "two:adapter")  # as `hearth tune` does when it is done

    after = house.says("two:adapter")

    assert after == alone(folders["two"] / "adapter.gguf") != before


def test_they_leave_together_and_have_one_log(house: House) -> None:
    house.says("one:adapter")

    log = house.hearth.run("logs", "two:adapter")
    stopped = house.hearth.run("stop", "two:adapter")

    assert log.returncode == 0 and "worker: serving" in log.stdout
    assert "has left the memory" in stopped.stderr
    assert SHARED not in house.processes()


def test_a_damaged_one_takes_no_other_with_it(house: House, folders: dict[str, Path]) -> None:
    (folders["three"] / "adapter.gguf").unlink()
    house.hearth.run("stop", SHARED)

    refused = house.server.post("/v1/completions", {"model": "three:adapter", "prompt": "x"})

    assert house.says("one:adapter") == alone(folders["one"] / "adapter.gguf")
    assert refused.status_code >= 400
    assert "adapter is gone" in refused.json()["error"]["message"]


def test_a_template_of_its_own_means_a_process_of_its_own(house: House) -> None:
    """An engine has one template; the system prompt of a training is in it."""
    folder = tune(house.hearth, "four", 4)
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    house.says("four:adapter")
    house.says("one:adapter")

    names = {name for name in house.processes() if name.startswith(SHARED)}

    assert len(names) == 2


def test_transformers_serves_them_in_one_process_too(tmp_path: Path) -> None:
    """Beside the weights where there are several; one alone is in them. Both say the same."""
    installed("transformers")
    hearth = Hearth(tmp_path)
    hearth.data.mkdir()
    (hearth.data / "engines").symlink_to(ENVIRONMENTS)
    tune(hearth, "one", 1)
    flags = ("-m", "starter:bf16", "--engine", "transformers", "--precision", "fp32")
    with hearth.serving(*flags) as server:
        alone = House(hearth, server).says("one:peft")
        tune(hearth, "two", 2)
        house = House(hearth, server)
        names = ["two:peft", "one:peft", "starter:bf16"] * 2
        said = [house.says(name) for name in names[:3]]

        with ThreadPoolExecutor(6) as threads:
            together = list(threads.map(house.says, names))

        assert set(house.processes()) == {"starter:bf16", "starter:bf16+adapters"}
    assert said[1] == alone
    assert together == said * 2 and len(set(said)) == 3
