"""Text files that were attached to a message, as a model reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable


def with_files(content: str, files: Iterable[tuple[str, str]]) -> str:
    """The message with each file (name and text) below it, in a fence that the text cannot end."""
    parts = [content] if content else []
    for name, text in files:
        fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
        parts.append(f"{name}\n{fence}\n{text.rstrip()}\n{fence}")
    return "\n\n".join(parts)
