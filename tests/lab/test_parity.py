"""`hearth parity` with real engines: the same is found the same, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codehearth.lab.parity.observation import written
from tests.cli.command_line import Hearth
from tests.engine_environments import ENVIRONMENTS, installed
from tests.tiny_checkpoints import tiny_checkpoint
from tests.tiny_models import CHATML, make_gguf


@pytest.fixture
def hearth(tmp_path: Path) -> Hearth:
    home = tmp_path / "home"
    home.mkdir()
    return Hearth(home)


def names_of(document: Any) -> list[str]:
    return [finding["name"] for finding in document["findings"] if finding["name"] != "note"]


def test_two_precisions_of_a_model_are_the_same(hearth: Hearth, tmp_path: Path) -> None:
    path = make_gguf(tmp_path / "tiny-F16.gguf", precision="F16")
    made = hearth("quantize", str(path), "--to", "q8_0")

    done = hearth("parity", str(path), "--precisions", "f16,q8_0", "--json")

    assert made.code == done.code == 0, made.err + done.out + done.err
    (found,) = done.document
    assert found["is_same"] and found["findings"] == []
    assert [prompt["title"] for prompt in found["prompts"]] == [
        "chat, English", "chat, Chinese", "completion", "infilling",
    ]  # fmt: skip
    for prompt in found["prompts"]:
        assert prompt["is_same_prompt"] is True
        assert prompt["num_compared"] == 24
        assert 0 < prompt["mean_difference"] < found["allowed"]


def test_another_model_with_the_same_tokenizer_is_told_apart(
    hearth: Hearth, tmp_path: Path
) -> None:
    """As a merge that went wrong would be."""
    one = make_gguf(tmp_path / "one.gguf", seed=1)
    two = make_gguf(tmp_path / "two.gguf", seed=2)

    done = hearth("parity", str(one), str(two))

    assert done.code == 1
    assert "not the same" in done.out
    assert "of which the reference was sure" in done.out or "nats off in the mean" in done.out


def test_another_template_is_named_with_the_place(hearth: Hearth, tmp_path: Path) -> None:
    one = make_gguf(tmp_path / "one.gguf")
    other = CHATML.replace("assistant\\n", "assistant:")
    two = make_gguf(tmp_path / "two.gguf", chat_template=other)

    done = hearth("parity", str(one), str(two), "--json")

    assert done.code == 1
    (found,) = done.document
    assert names_of(found) == ["template", "template"]
    assert r"'\n', two ':'" in found["findings"][0]["message"]
    assert [p["is_same_prompt"] for p in found["prompts"]] == [False, False, True, True]


def test_a_turn_that_does_not_end_is_named(hearth: Hearth, tmp_path: Path) -> None:
    """The template ends turns with a token that the engine does not take for an end."""
    endless = CHATML.replace("<|im_end|>", "<|fim_middle|>")
    one = make_gguf(tmp_path / "one.gguf", chat_template=endless)
    two = make_gguf(tmp_path / "two.gguf", chat_template=endless)

    done = hearth("parity", str(one), str(two), "--json")

    (found,) = done.document
    assert names_of(found) == ["ends", "ends"]
    assert "goes on after <|fim_middle|>" in found["findings"][0]["message"]


def test_a_text_that_begins_twice_is_named(hearth: Hearth, tmp_path: Path) -> None:
    """One engine sets the beginning and takes it out of the template's text: that is the same. The
    other template writes it twice."""
    begin = "<|endoftext|>"
    one = make_gguf(tmp_path / "one.gguf", chat_template=begin + CHATML)
    two = make_gguf(tmp_path / "two.gguf", chat_template=begin + CHATML, adds_bos=True)
    three = make_gguf(tmp_path / "three.gguf", chat_template=2 * begin + CHATML)

    set_by_engine, written_twice = (
        hearth("parity", str(one), str(path), "--json").document[0] for path in (two, three)
    )

    assert names_of(set_by_engine) == ["begin", "begin"]  # completion and infilling
    assert names_of(written_twice) == ["double begin", "double begin"]
    assert f"twice with '{begin}'" in written_twice["findings"][0]["message"]


def test_a_character_of_several_tokens_keeps_its_places() -> None:
    """llama.cpp has one entry for all tokens of a character: once, all later ones were compared
    with their neighbours."""
    answer = {
        "choices": [{"logprobs": {"content": [_entry(7), _entry(9), _entry(7)]}}],
        "usage": {"completion_tokens": 5},
        "__verbose": {"tokens": [7, 8, 9, 7, 7]},
    }

    tokens = written(answer)

    assert [token.id for token in tokens] == [7, 8, 9, 7, 7]
    assert [token.logprob for token in tokens] == [-1.0, None, -1.0, None, -1.0]


def test_vllms_form_is_read_by_token_ids() -> None:
    legacy = {
        "tokens": ["token_id:5"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{"token_id:5": -0.5, "token_id:6": -1.5}],
    }

    (token,) = written({"choices": [{"logprobs": legacy}]})

    assert (token.id, token.logprob, token.top) == (5, -0.5, {5: -0.5, 6: -1.5})


def test_the_starter_is_the_same_on_both_engines(hearth: Hearth) -> None:
    _with_environments(hearth)

    done = hearth("parity", "starter", "--engines", "llama.cpp,transformers", "--json")

    assert done.code == 0, done.out + done.err
    (found,) = done.document
    assert (found["reference"], found["other"]) == ("llama.cpp", "transformers")
    assert all(prompt["num_same"] >= 22 for prompt in found["prompts"])


def test_a_checkpoint_whose_ends_are_wrong_is_told(hearth: Hearth, tmp_path: Path) -> None:
    """generation_config.json names another token than the one that ends a turn."""
    _with_environments(hearth)
    path = tiny_checkpoint(tmp_path / "tiny", end="<|endoftext|>")

    done = hearth("parity", str(path), "--precisions", "fp32,bf16", "--json")

    assert done.code == 1, done.err
    assert "ends" in names_of(done.document[0])


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("starter", "--engines", "llama.cpp"), 2, "nothing to compare"),
        (("starter", "--engines", "llama.cpp,nonsense"), 2, "There is no engine 'nonsense'"),
        (("starter", "--precisions", "q8_0,q2_k"), 4, "hearth quantize starter --to q2_k"),
        (("starter", "--precisions", "q8_0,q4_k_m,q2_k", "--engines", "a,b"), 2, "3 sides"),
        (("nowhere", "--precisions", "q8_0,q4_k_m"), 4, "not known"),
    ],
)
def test_what_cannot_be_compared_is_said(
    hearth: Hearth, arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = hearth("parity", *arguments)

    assert done.code == code, done.err
    assert told in done.err


def test_weights_that_an_engine_refuses_are_told_with_its_last_lines(
    hearth: Hearth, tmp_path: Path
) -> None:
    whole = make_gguf(tmp_path / "whole.gguf")
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(whole.read_bytes().replace(b"qwen2", b"qwen9"))

    done = hearth("parity", str(whole), str(damaged))

    assert done.code != 0
    assert "qwen9" in done.err


def _entry(token: int) -> dict[str, Any]:
    top = [{"id": token, "logprob": -1.0}]
    return {"id": token, "token": "x", "logprob": -1.0, "top_logprobs": top}


def _with_environments(hearth: Hearth) -> None:
    installed("transformers")
    hearth.data.mkdir(parents=True, exist_ok=True)
    (hearth.data / "engines").symlink_to(ENVIRONMENTS)
