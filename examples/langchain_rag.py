"""Questions about a folder of code: the pieces that fit are found, and the model answers from them.

    pip install langchain-openai
    python langchain_rag.py ./src "Where is the port of the server set?"

The search is BM25 over words, written out here: for code, names are what one searches for, and
nothing needs a second model. With an embedding model in CodeHearth, `OpenAIEmbeddings(base_url=…)`
and LangChain's InMemoryVectorStore take its place.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections import Counter
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_openai import ChatOpenAI

URL = os.environ.get("HEARTH_URL", "http://127.0.0.1:8765").rstrip("/")
ENDINGS = {".py", ".js", ".ts", ".go", ".rs", ".java", ".c", ".h", ".cpp", ".md", ".toml"}
LINES_A_PIECE = 30
MAX_FILE_BYTES = 200_000

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Answer from these pieces of a repository, and name the file.\n\n{pieces}"),
        ("user", "{question}"),
    ]
)


def pieces_of(folder: Path) -> list[Document]:
    """The folder's files in pieces of some lines, each with its file and first line."""
    pieces = []
    for path in sorted(folder.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if is_hidden or path.suffix not in ENDINGS or not path.is_file():
            continue
        if path.stat().st_size > MAX_FILE_BYTES:
            continue
        lines = path.read_text("utf-8", "replace").splitlines()
        for first in range(0, len(lines), LINES_A_PIECE):
            text = "\n".join(lines[first : first + LINES_A_PIECE])
            place = f"{path.relative_to(folder)}:{first + 1}"
            pieces.append(Document(text, metadata={"place": place}))
    return pieces


def words_of(text: str) -> list[str]:
    """Words and the parts of names: `read_settings`, `read`, `settings`."""
    names = re.findall(r"[A-Za-z_][A-Za-z0-9_]+|[\u4e00-\u9fff]", text)
    parts = [part for name in names for part in re.split(r"_|(?<=[a-z])(?=[A-Z])", name)]
    return [word.lower() for word in (*names, *parts) if word]


class Bm25(BaseRetriever):
    """The pieces that share rare words with the question (Robertson's BM25, k1 1.5, b 0.75)."""

    pieces: list[Document]
    num_found: int = 3

    def _get_relevant_documents(self, query: str, **_: object) -> list[Document]:
        counts = [Counter(words_of(piece.page_content)) for piece in self.pieces]
        mean = sum(map(sum, (count.values() for count in counts))) / max(1, len(counts))
        asked = set(words_of(query))
        rarity = {word: self._rarity(word, counts) for word in asked}

        def score(count: Counter[str]) -> float:
            length = 1.5 * (0.25 + 0.75 * sum(count.values()) / mean)
            return sum(rarity[word] * count[word] * 2.5 / (count[word] + length) for word in asked)

        best = sorted(range(len(counts)), key=lambda at: -score(counts[at]))[: self.num_found]
        return [self.pieces[at] for at in best]

    @staticmethod
    def _rarity(word: str, counts: list[Counter[str]]) -> float:
        holding = sum(word in count for count in counts)
        return math.log(1 + (len(counts) - holding + 0.5) / (holding + 0.5))


def shown(pieces: list[Document]) -> str:
    return "\n\n".join(f"# {piece.metadata['place']}\n{piece.page_content}" for piece in pieces)


def main(folder: str, question: str) -> None:
    retriever = Bm25(pieces=pieces_of(Path(folder)))
    model = ChatOpenAI(
        model=os.environ.get("HEARTH_MODEL", "starter"),
        base_url=f"{URL}/v1",
        api_key=os.environ.get("HEARTH_API_KEY", "none"),  # type: ignore[arg-type]
        temperature=0,
        max_completion_tokens=512,
    )
    inputs = {"pieces": retriever | RunnableLambda(shown), "question": RunnablePassthrough()}
    for place in (piece.metadata["place"] for piece in retriever.invoke(question)):
        print(f"- {place}", file=sys.stderr)
    for text in (inputs | PROMPT | model | StrOutputParser()).stream(question):
        print(text, end="", flush=True)
    print()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
