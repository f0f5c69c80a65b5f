"""The table that compares CodeHearth with others, and the sources of its cells.

Both are made of `comparison.toml`; what a product's documentation says stands there once, with the
page that says it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOME = Path(__file__).parent / "comparison.toml"

# The same in every language.
_NAMES = ("MIT", "Apache-2.0", "`suffix`", "Windows")


@dataclass(frozen=True)
class Comparison:
    products: list[Mapping[str, str]]
    rows: list[Mapping[str, Any]]
    chinese: Mapping[str, str]

    def words(self, text: str, language: str) -> str:
        """A text of the table in a language. Raises KeyError where it was not translated."""
        return text if language == "en" or text in _NAMES else self.chinese[text]


def read() -> Comparison:
    facts = tomllib.loads(HOME.read_text("utf-8"))
    return Comparison(facts["products"], facts["rows"], facts["chinese"])


def comparison_table(language: str) -> str:
    """The table of a README."""
    table = read()

    def line(*cells: str) -> str:
        return f"| {' | '.join(cells)} |"

    def said(text: str) -> str:
        return table.words(text, language)

    heads = [f"[{one['title']}]({one['home']})" for one in table.products]
    lines = [
        f"| | CodeHearth | {' | '.join(heads)} |",
        line(*["---"] * (len(heads) + 2)),
        line(
            said("made for"),
            said("code models, one machine or team"),
            *(said(one["for"]) for one in table.products),
        ),
    ]
    for row in table.rows:
        cells = [row.get(one["key"], ("–",))[0] for one in table.products]
        others = ["–" if cell == "–" else said(cell) for cell in cells]
        lines.append(line(said(row["title"]), said(row["codehearth"]), *others))
    return "\n".join(lines)


def sources_page() -> str:
    """`docs/comparison.md`: where each cell of the table was read."""
    return "\n".join(_sources()) + "\n"


def _sources() -> Iterator[str]:
    table = read()
    yield from (
        "# Sources of the comparison",
        "",
        "<!-- Written by scripts/write_figures.py; change scripts/comparison.toml instead. -->",
        "",
        "Where each cell of the README's table was read: documentation and source as they were in "
        "August 2026, Tabby's in June. A product that is missing from a row has a dash there: its "
        "documentation does not speak of it, as far as we found. Corrections are welcome.",
        "",
        "README 比较表中每一格的出处：各项目截至 2026 年 8 月（Tabby 为 6 月）的文档和源码。"
        "某行没有列出的产品，在表中是一道横线：我们没有在它的文档里查到。欢迎指正。",
    )
    for row in table.rows:
        cells = [(one["title"], row[one["key"]]) for one in table.products if one["key"] in row]
        if cells:
            yield from ("", f"## {row['title']}", "")
            yield from (f"- {title}: {said} – <{source}>" for title, (said, source) in cells)
