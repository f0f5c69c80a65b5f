"""The pages of the documentation, and the commands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
GUIDES = sorted(path.name for path in (DOCS / "guide").glob("*.md"))
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").glob("*.md")])

_FENCE = re.compile(r"(<!-- run -->\n)?```(\w*)\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Fence:
    language: str
    text: str
    is_run: bool

    @property
    def commands(self) -> list[str]:
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]


def fences(page: Path) -> list[Fence]:
    text = page.read_text("utf-8")
    return [Fence(found[2], found[3], found[1] is not None) for found in _FENCE.finditer(text)]
