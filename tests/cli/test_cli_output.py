"""Numbers, rows and strangers' text as people see them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from codehearth.cli.output import count, duration, facts, safe_for_terminal, size, table, width


def test_sizes_have_the_unit_that_fits() -> None:
    assert [size(n) for n in (0, 1023, 1024, 5 * 2**20, 4_400_000_000, 3 * 2**40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 MiB",
        "4.1 GiB",
        "3.0 TiB",
    ]


def test_counts_and_durations_are_short() -> None:
    assert [count(n) for n in (999, 6_822_144, 1_543_714_304)] == ["999", "6.82M", "1.54B"]
    assert [duration(s) for s in (0.4, 59, 61, 7300, 90_000)] == [
        "0s",
        "59s",
        "1m 1s",
        "2h 1m",
        "1d 1h",
    ]


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), max_size=5))
def test_a_row_is_one_line_whatever_is_in_it(rows: list[tuple[str, str]]) -> None:
    assert len(table(("A", "B"), rows)) == len(rows) + 1


def test_columns_are_aligned_also_in_chinese() -> None:
    lines = table(("NAME", "SIZE"), [("模型", "1"), ("model-name", "2")])

    assert width(lines[1].removesuffix("1")) == width(lines[2].removesuffix("2"))


def test_facts_that_are_not_known_are_left_out() -> None:
    assert facts({"name": "x", "licence": None, "precision": "q8_0"}) == [
        "name       x",
        "precision  q8_0",
    ]


@given(st.text())
def test_a_model_cannot_send_escape_sequences_to_the_terminal(text: str) -> None:
    shown = safe_for_terminal(f"a\x1b]0;title\x07{text}\x9b31m\r\b\nend\t.")

    assert not {chr(c) for c in [*range(9), *range(11, 32), *range(127, 160)]} & set(shown)
    assert "\nend\t." in shown
