"""`hearth tune`: a model of one's own, trained on one's own rows or code, served by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from codehearth.cli.options import json_option, model_argument, settings_options
from codehearth.cli.output import print_json, say
from codehearth.errors import InvalidRequest
from codehearth.settings import read_settings

_NUMBERS = (
    "rank", "alpha", "dropout", "targets", "rslora", "max_tokens", "batch", "accumulation",
    "epochs", "learning_rate", "schedule", "warmup_steps", "weight_decay", "checkpointing",
    "packing", "rehearsal", "patience", "save_steps",
)  # fmt: skip


def _number(flag: str, kind: Any, text: str) -> Any:
    name = flag.replace("-", "_")
    metavar = "N" if kind is int else "X"
    return click.option(f"--{flag}", name, type=kind, metavar=metavar, help=text)


def _numbers(command: Any) -> Any:
    """The hyperparameters: each a flag; what is not given comes from the preset."""
    for option in (
        _number("rank", int, "Rank of the adapter (8)."),
        _number("alpha", int, "Its weight: alpha / rank (32)."),
        _number("dropout", float, "Dropout in the adapter (0.1)."),
        click.option(
            "--targets",
            metavar="NAMES",
            help="Modules that get an adapter: q_proj,v_proj. Default: the seven of a layer.",
        ),
        click.option("--rslora/--no-rslora", default=None, help="Scale by the root of the rank."),
        _number("max-tokens", int, "Tokens of a row at most (384)."),
        _number("batch", int, "Rows at a time on each device (4)."),
        _number("accumulation", int, "Batches that make one step (4)."),
        _number("epochs", float, "How often all rows are learnt (3; small models 8 to 16)."),
        _number("learning-rate", float, "Step size (1e-4; small models 1e-3)."),
        click.option(
            "--schedule",
            type=click.Choice(("linear", "cosine", "constant")),
            help="How the step size falls (linear).",
        ),
        _number("warmup-steps", int, "Steps in which it rises first (0)."),
        _number("weight-decay", float, "Decay of the adapter's weights (0)."),
        click.option(
            "--checkpointing/--no-checkpointing",
            default=None,
            help="Compute activations twice instead of keeping them (small models: no).",
        ),
        click.option("--packing/--no-packing", default=None, help="Put short rows together."),
        _number("rehearsal", float, "Rows of the base's own answers for each row (0; small 2)."),
        _number("patience", int, "Looks without a better held-out loss that end it (2; small 1)."),
        _number("save-steps", int, "Keep the state every N steps (100; small models 10)."),
    )[::-1]:
        command = option(command)
    return command


@click.command()
@model_argument(required=False)
@click.option(
    "--data",
    "data_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Rows to learn: JSON, JSON lines or CSV of instruction/input/output, messages, "
    "prompt/completion or text; or a file of code.",
)
@click.option(
    "--repo",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Learn the style of a repository: its own functions become the rows.",
)
@click.option("--name", metavar="NAME", help="The new model's name. Default: MODEL-tuned.")
@click.option("--system", metavar="TEXT", help="System prompt of the training and of the model.")
@click.option("--expect", metavar="TEXT", help="Text that answers to held-out rows should hold.")
@click.option(
    "--held-out",
    "held_share",
    type=click.FloatRange(0, 0.9),
    default=0.1,
    metavar="SHARE",
    help="Share of the different questions that are not learnt but measured (0.1).",
)
@click.option(
    "--long-rows",
    type=click.Choice(("drop", "cut")),
    default="drop",
    help="What becomes of rows that are too long (drop).",
)
@click.option(
    "--quantize",
    "quantise",
    type=click.Choice(("int8", "int4")),
    help="Keep the base in fewer bits while training (QLoRA).",
)
@click.option("--gpus", type=click.IntRange(0), metavar="N", help="GPUs to use. Default: all.")
@click.option("--to", "precision", default="f16", metavar="PRECISION", help="Of the GGUF (f16).")
@_numbers
@click.option("--seed", type=click.IntRange(0), default=0, metavar="N", help="Of all chance (0).")
@click.option(
    "--evaluate",
    default="auto",
    show_default=True,
    metavar="SUITE|none",
    help="Tasks that base and result are asked at last: auto (our own functions in Python), tasks, "
    "humaneval, or a file in HumanEval's format.",
)
@click.option("--dry-run", is_flag=True, help="Only check the data and tell the plan.")
@click.option("--list", "lists", is_flag=True, help="List jobs and tuned models.")
@click.option("--rollback", metavar="NAME", help="Let NAME mean its version before; train nothing.")
@settings_options("threads")
@json_option
def tune(
    model: str | None,
    data_file: Path | None,
    repo: Path | None,
    lists: bool,
    rollback: str | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model on your own rows or code.

    The adapter is trained, merged, made a GGUF, compared with it, and registered: `model: NAME`
    works at once, `NAME:adapter` is the base with the adapter beside it, `NAME:checkpoint` the
    merged checkpoint. Then base and result solve the same tasks, which says whether it helped. A
    run that was cut off goes on where it was.
    """
    from codehearth.cli.tune import listing, training
    from codehearth.lab.tuning.ordering import Order

    settings = read_settings(flags={"threads": options.pop("threads")})
    if lists:
        listing.show(settings, as_json=as_json)
        return
    if rollback is not None:
        listing.roll_back(settings, rollback)
        return
    if model is None:
        raise InvalidRequest("No model is named.", hint="`hearth tune starter --data rows.jsonl`")
    if (data_file is None) == (repo is None):
        raise InvalidRequest("Name the rows with --data, or a repository with --repo.")
    numbers = {number: options.pop(number) for number in _NUMBERS}
    order = Order(
        model,
        data=data_file,
        repo=repo,
        threads=settings.threads or None,
        numbers=numbers | {"targets": _names(numbers["targets"])},
        **options,
    )
    if dry_run:
        training.show_plan(settings, order, as_json=as_json)
        return
    result = training.train(settings, order)
    if as_json:
        print_json({**result.document, "version": result.model.version})
        return
    training.print_result(result)
    say(f"\n`hearth run {result.model.name}` asks it; --rollback and `hearth rm` take it back.")


def _names(listed: str | None) -> tuple[str, ...] | None:
    return tuple(listed.replace(",", " ").split()) if listed else None
