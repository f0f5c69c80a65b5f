"""The page's place for models of one's own: begun, watched, stopped, and what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from codehearth.models.tuned import Tuned, TunedModel
from tests.fake_tuning import BREAKS_OFF, WAITS, fake_tuning
from tests.page.conftest import WITH_PAGE, OpenPage, chromium_or_skip, wait_for_page
from tests.page.test_page_look import AXE, violations
from tests.system.conftest import Hearth, Server

ROWS = "".join(
    json.dumps({"instruction": f"question {n}?", "output": f"answer {n}"}) + "\n" for n in range(20)
)
RESULT = {
    "loss": {"first": 5.1, "last": 0.2, "held_out_before": 5.3, "held_out_after": 0.05},
    "held_out": {
        "expected": "小炉",
        "before": {"count": 0, "total": 4, "low": 0.0, "high": 0.49},
        "after": {"count": 4, "total": 4, "low": 0.51, "high": 1.0},
        "change": {"value": 1.0, "low": 0.31, "high": 1.0, "verdict": "better"},
        "loss_change": {"value": -5.25, "low": -6.0, "high": -4.5, "verdict": "better"},
        "answers": [
            {"question": "user: 你是谁？", "expected": "x", "before": "old", "after": "我是小炉"}
        ],
    },
    "parity": [
        {
            "form": "GGUF f16", "num_probes": 12, "num_same_prompts": 12, "num_same_answers": 12,
            "num_near_ties": 0, "largest_difference": 0.009, "bound": 0.3, "agrees": True,
        }
    ],
    "evaluation": {
        "suite": {"wish": "auto", "title": "Our tasks", "num_tasks": 20, "sha256": "0"},
        "before": {"model": "starter", "value": 0.11, "low": 0.02, "high": 0.23, "groups": {}},
        "after": {"model": "me", "value": 0.05, "low": 0.0, "high": 0.1, "groups": {}},
        "change": {"value": -0.06, "low": -0.1, "high": -0.02, "verdict": "worse"},
        "newly_passed": [], "newly_failed": ["python/factorial"],
    },
    "judgement": "helped_at_a_price",
    "memory": {"predicted_bytes": 1 << 30, "peak_bytes": 900 << 20},
    "seconds": 245.0, "seed": 0, "data": {"sha256": "ab" * 32},
}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Hearth:
    return Hearth(tmp_path_factory.mktemp("tune-page"))


@pytest.fixture(scope="module")
def server(house: Hearth) -> Iterator[Server]:
    """A server with one training that is done, and its model: the starter under another name."""
    chromium_or_skip()
    made = house.home / "made"
    (made / "merged").mkdir(parents=True)
    starter = Path(__file__).parents[2] / "src" / "codehearth" / "data" / "starter.gguf"
    (made / "model.gguf").write_bytes(starter.read_bytes())
    (made / "result.json").write_text(json.dumps(RESULT))
    Tuned(house.data / "tuned").put(TunedModel("my-assistant", "starter:bf16", "1"), made)
    job = house.data / "tune" / "my-assistant-1"
    job.mkdir(parents=True)
    (job / "job.json").write_text(
        json.dumps({"name": "my-assistant", "base": "starter:bf16", "data": "name.jsonl"})
    )
    (job / "state.json").write_text(
        json.dumps({"phase": "done", "updated_at": time.time(), "model": "my-assistant",
                    "version": 1})
    )  # fmt: skip
    events = [{"kind": "evaluated", "step": 0, "loss": 5.3}]
    events += [{"kind": "step", "step": n, "loss": 5 / n} for n in range(1, 21)]
    events.append({"kind": "evaluated", "step": 20, "loss": 0.3})
    (job / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    fake_tuning(house.data)
    with house.serving(**WITH_PAGE) as running:
        wait_for_page(running)
        yield running


def test_a_training_is_shown_with_its_curve_and_what_changed(
    open_page: OpenPage, server: Server
) -> None:
    page = open_page(server, "/#/tune")

    expect(page.get_by_role("region", name="What changed")).to_contain_text("我是小炉")
    expect(page.get_by_role("region", name="What changed")).to_contain_text("4 of 4 (51–100 %)")
    expect(page.get_by_role("region", name="All forms answer alike")).to_contain_text("GGUF f16")
    expect(page.get_by_role("img", name="training: 5 – 0.25")).to_be_visible()


def test_it_says_whether_the_training_helped_with_the_intervals(
    open_page: OpenPage, server: Server
) -> None:
    page = open_page(server, "/#/tune")

    told = page.get_by_role("region", name="Whether it helped")

    expect(told).to_contain_text("The training helped, at a price")
    expect(told).to_contain_text("Loss on held-out rows: −5.3 nats a token (−6 to −4.5), better")
    expect(told).to_contain_text("held-out questions: +100 points (+31 to +100), better")
    expect(told).to_contain_text("Our tasks, 20 tasks: −6 points (−10 to −2), worse")
    expect(told).to_contain_text("Now failed: python/factorial")
    expect(page.get_by_role("row", name="Our tasks")).to_contain_text("11 % (2–23 %)")


def test_one_click_leads_to_a_chat_with_the_model(open_page: OpenPage, server: Server) -> None:
    page = open_page(server, "/#/tune")

    page.get_by_role("button", name="Chat with it").click()

    expect(page.get_by_role("button", name="Model: my-assistant")).to_be_visible()
    expect(page.locator(".composer-text")).to_be_visible()


def test_a_file_is_learnt_and_its_progress_is_live_and_it_is_stopped(
    open_page: OpenPage, server: Server, house: Hearth
) -> None:
    fake_tuning(house.data, WAITS)
    page = open_page(server, "/#/tune")

    page.get_by_label("Name", exact=True).fill("slow")
    page.get_by_label("File of rows").set_input_files(
        {"name": "rows.jsonl", "mimeType": "text/plain", "buffer": ROWS.encode()}
    )
    page.get_by_role("button", name="Begin training").click()

    section = page.get_by_role("region", name="slow", exact=True)
    expect(section).to_contain_text("step 2 of 4")
    expect(section).to_contain_text("loss 2.5")
    expect(section).to_contain_text("1 row is too long")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(section).to_contain_text("stopped")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()


def test_what_broke_off_says_why_and_is_deleted(
    open_page: OpenPage, server: Server, house: Hearth
) -> None:
    fake_tuning(house.data, BREAKS_OFF)
    (house.home / "rows.jsonl").write_text(ROWS)
    page = open_page(server, "/#/tune")

    page.get_by_label("Name", exact=True).fill("broken")
    page.get_by_label("Or a path on the server").fill(str(house.home / "rows.jsonl"))
    page.get_by_role("button", name="Begin training").click()

    expect(page.locator(".card.is-warning")).to_contain_text("the trainer exited with code 9")
    page.get_by_role("button", name="Delete the training").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete the training").click()
    expect(page.locator(".tuning", has_text="broken")).to_have_count(0)


def test_bad_rows_are_refused_with_their_line(open_page: OpenPage, server: Server) -> None:
    page = open_page(server, "/#/tune")

    page.get_by_label("File of rows").set_input_files(
        {"name": "rows.jsonl", "mimeType": "text/plain", "buffer": b'{"instruction": "x"}'}
    )
    page.get_by_role("button", name="Begin training").click()

    expect(page.locator(".refusal")).to_contain_text("line 1 has no output")


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm was not there")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_shut_out_of_tuning(open_page: OpenPage, server: Server, theme: str) -> None:
    page = open_page(server, "/#/tune", color_scheme=theme)
    page.locator(".tuning", has_text="my-assistant").click()
    expect(page.get_by_role("region", name="What changed")).to_be_visible()
    page.get_by_text("Numbers", exact=True).click()

    assert violations(page) == []


def test_nothing_of_tuning_is_wider_than_a_phone(open_page: OpenPage, server: Server) -> None:
    page = open_page(server, "/#/tune", viewport={"width": 390, "height": 844})
    page.locator(".tuning", has_text="my-assistant").click()
    expect(page.get_by_role("region", name="What changed")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") <= 390
