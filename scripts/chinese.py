"""The reference in Chinese: texts of the code to their translations in `chinese.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

from codehearth.cli.reference import Said

HOME = Path(__file__).parent / "chinese.toml"


def chinese() -> dict[str, str]:
    """English to Chinese, of all pages."""
    tables = tomllib.loads(HOME.read_text("utf-8")).values()
    return {text: said for table in tables for text, said in table.items()}


def in_chinese(page: Callable[[Said], str]) -> Callable[[], str]:
    """A page of the reference in Chinese; what is not translated yet stands there in English."""

    def written() -> str:
        known = chinese()
        text = page(lambda text: known.get(text, text))
        return text.replace("。 ", "。")  # Chinese sentences are not parted by spaces

    return written
