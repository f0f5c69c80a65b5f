"""Puts measured figures into the READMEs and guides, out of the files that hold results.

Nothing in these tables is typed: a figure comes from benchmarks/RESULTS.md (as the benchmarks
printed it) or from deploy/container/sizes.json (as scripts/build_without_docker.py wrote it). The
comparison with others comes from scripts/comparison.toml, each cell with its source.
Where a result is not found this fails, so that a table cannot outlive its source.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from comparison import comparison_table, sources_page

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
SIZES = ROOT / "deploy" / "container" / "sizes.json"

Row = list[str]


@dataclass(frozen=True)
class Figure:
    """One line of the table. `section` and `row` find it; `show` makes words of its cells."""

    english: str
    chinese: str
    section: str
    row: str
    show: Callable[[Row], tuple[str, str]]


def _pair(first: int, second: int) -> Callable[[Row], tuple[str, str]]:
    return lambda row: (row[first], row[second])


FIGURES = (
    Figure(
        "first token, against the same engine alone",
        "首词延迟，对比单独运行的同一引擎",
        "benchmarks.gateway",
        "time to first token, starter",
        _pair(3, 1),
    ),
    Figure(
        "tokens/s, 1 stream, against the same engine alone",
        "单路生成速度（token/s），对比单独运行的同一引擎",
        "benchmarks.gateway",
        "1 stream, starter",
        _pair(3, 1),
    ),
    Figure(
        "tokens/s, 8 streams, against the same engine alone",
        "八路生成速度（token/s），对比单独运行的同一引擎",
        "benchmarks.gateway",
        "8 streams, starter",
        _pair(3, 1),
    ),
    Figure(
        "typing: a suggestion, median, against llama.cpp's `/infill`",
        "边写边补全：一次建议的中位耗时，对比 llama.cpp 的 `/infill`",
        "benchmarks.typing",
        "p50",
        _pair(2, 1),
    ),
    Figure(
        "a hidden rest of a line, taught code, exact, against the model's format by hand",
        "补全被遮住的行尾（学过的代码）完全一致的比例，对比手写提示格式",
        "benchmarks.infilling",
        "tasks that the starter was taught",
        lambda row: (row[2].split(",")[0], row[1].split(" exact")[0]),
    ),
    Figure(
        "switching between two models of 532 MB, against loading one alone",
        "在两个 532 MB 的模型间切换，对比单独加载",
        "benchmarks.switch",
        "cold switch",
        _pair(2, 1),
    ),
    Figure(
        "the page, usable, nothing cached",
        "网页可用（无缓存）",
        "benchmarks.page",
        "usable, nothing cached",
        lambda row: (row[1], ""),
    ),
)


def figures_table(language: str) -> str:
    """The table of the README."""
    heads = {
        "en": "| figure | CodeHearth | held against |",
        "zh": "| 项目 | CodeHearth | 对照 |",
    }
    lines = [heads[language], "| --- | --- | --- |"]
    for figure in FIGURES:
        ours, theirs = figure.show(_row(figure.section, figure.row))
        label = figure.english if language == "en" else figure.chinese
        lines.append(f"| {label} | {ours} | {theirs or '–'} |")
    worst, number = _worst_prediction()
    if language == "en":
        lines.append(f"| memory predicted before a load, worst of {number} models | {worst} | – |")
    else:
        lines.append(f"| 加载前的内存预测，{number} 个模型中最大误差 | {worst} | – |")
    return "\n".join(lines)


def sizes_table(language: str) -> str:
    """The table of the container guide."""
    heads = {
        "en": "| image | files | of that CodeHearth and its packages | goal | healthy after |",
        "zh": "| 镜像 | 文件总量 | 其中 CodeHearth 及依赖 | 目标 | 启动到健康 |",
    }
    goals = {"full": 700, "slim": 350}
    lines = [heads[language], "| --- | --- | --- | --- | --- |"]
    for one in json.loads(SIZES.read_text("utf-8"))["images"]:
        size, program = one["num_bytes"] / 1e6, one["of_that_program"] / 1e6
        lines.append(
            f"| `{one['image']}` | {size:.0f} MB | {program:.0f} MB | "
            f"≤ {goals[one['image']]} MB | {one['healthy_s']:.1f} s |"
        )
    return "\n".join(lines)


def _sections() -> Mapping[str, str]:
    parts = re.split(r"^## ", RESULTS.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0]: part for part in parts}


def _section(name: str) -> str:
    for title, text in _sections().items():
        if name in title:
            return text
    raise SystemExit(f"error: {RESULTS.name} has no section about {name}")


def _row(section: str, label: str) -> Row:
    for line in _section(section).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0].startswith(label):
            return cells
    raise SystemExit(f"error: the section {section} of {RESULTS.name} has no row '{label}'")


def _worst_prediction() -> tuple[str, int]:
    """The largest error of a prediction, and of how many."""
    found = re.findall(r"\| ([+−-]?\d+\.\d) % \|$", _section("benchmarks.memory"), re.MULTILINE)
    return max(found, key=lambda text: abs(float(text.replace("−", "-")))) + " %", len(found)


# Page -> the name of a place in it -> the table there, in the page's language.
BLOCKS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "README.md": {
        "figures": lambda: figures_table("en"),
        "comparison": lambda: comparison_table("en"),
    },
    "README.zh-CN.md": {
        "figures": lambda: figures_table("zh"),
        "comparison": lambda: comparison_table("zh"),
    },
    "docs/guide/container.md": {"sizes": lambda: sizes_table("en")},
    "docs/zh/container.md": {"sizes": lambda: sizes_table("zh")},
}


def written(page: str) -> str:
    """A page with its tables as the results are now."""
    if page == SOURCES:
        return sources_page()
    text = (ROOT / page).read_text("utf-8")
    for name, table in BLOCKS[page].items():
        block = f"<!-- {name} -->\n\n{table()}\n\n<!-- /{name} -->"
        text, count = re.subn(
            rf"<!-- {name} -->.*?<!-- /{name} -->", lambda _, new=block: new, text, flags=re.DOTALL
        )
        assert count == 1, f"{page} has {count} places for '{name}'"
    return text


SOURCES = "docs/comparison.md"
PAGES = (*BLOCKS, SOURCES)


def main() -> None:
    for page in PAGES:
        (ROOT / page).write_text(written(page), encoding="utf-8")


if __name__ == "__main__":
    main()
