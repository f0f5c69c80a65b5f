"""`hearth quantize --to int8,int4,gptq4`: checkpoints for other engines than llama.cpp."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from codehearth.cli.output import say
from codehearth.cli.progress import Pace, is_watched, share_bar
from codehearth.errors import InvalidRequest
from codehearth.settings import Settings

if TYPE_CHECKING:
    from codehearth.lab.quantize import Quantised
    from codehearth.lab.quantize_checkpoint import Plan, Step
    from codehearth.lab.texts import Text
    from codehearth.models.local_models import LocalModel
    from codehearth.models.store import Store


def plans(
    store: Store, settings: Settings, model: str, precisions: Sequence[str], text: Path | None
) -> list[Plan]:
    """What is to be made of the checkpoint that `model` stands for, before any work."""
    from codehearth.engines import transformers_at
    from codehearth.gateway.choosing import environments_of
    from codehearth.lab.bases import checkpoint_of
    from codehearth.lab.quantize_checkpoint import FORMATS, plan
    from codehearth.lab.sources import require_sound

    if not precisions:
        return []
    engine = transformers_at(environments_of(settings))
    source = checkpoint_of(store, model, " and ".join(precisions))
    if source.name != model:
        require_sound(source)
    is_calibrated = any(FORMATS[precision].calibrated for precision in precisions)
    found = _text(text) if is_calibrated else None
    return [plan(precision, source, engine, found) for precision in precisions]


def _text(file: Path | None) -> Text:
    from codehearth.lab.importance import is_importance
    from codehearth.lab.texts import calibration_text, text_of_file

    if file is None:
        text = calibration_text()
        say(f"gptq4: calibrated on {text.title}; --calibration FILE takes a text of yours")
        return text
    if is_importance(file):
        raise InvalidRequest(
            f"'{file.name}' is an importance matrix; gptq4 is calibrated on a text.",
            hint="name a text, or leave the option out",
        )
    return text_of_file(file)


def make(
    store: Store, settings: Settings, found: LocalModel, plan: Plan, num_threads: int
) -> Quantised:
    """Makes one, named after `found`, and tells how far it is."""
    from codehearth.lab.naming import made_of
    from codehearth.lab.quantize_checkpoint import require_memory, run
    from codehearth.models.hardware import snapshot
    from codehearth.models.pull import free_bytes_at

    require_memory(plan, snapshot().free_bytes)
    text = plan.text
    calibrated_on = f"{text.title} ({text.sha256[:12]})" if text else ""
    model = made_of(found, plan.precision, calibrated_on=calibrated_on)
    with _shown(plan.precision) as step:
        return run(
            plan, store.made, model, num_threads=num_threads, free_bytes=free_bytes_at, step=step
        )


@contextmanager
def _shown(precision: str) -> Iterator[Step]:
    if is_watched():
        with share_bar(precision) as bar:
            yield lambda words, share: bar.show(words, share, 1.0)
        return
    pace = Pace()

    def tell(words: str, share: float) -> None:
        if pace.is_due(words):
            say(f"{words}, {share:.0%}")

    yield tell
