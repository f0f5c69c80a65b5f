"""The trainer's life: reads a job, does its stages that are not done yet, speaks JSON lines.

    start.py tuning JOB.json      or      start.py tuning --check

A job is one JSON document; its folder holds what comes of it. Every stage writes beside its place
and renames when it is whole, so a job that was killed goes on with the stage that it was in:

    checkpoints/   while training; the last whole one is gone on from
    adapter/       PEFT's, trained to its end
    merged/        the whole checkpoint with the adapter merged into it
    probes.json    what the adapter and the merged checkpoint answer, token by token

Lines on standard output are objects with one key: what happened. Under `accelerate launch` this
runs once for each GPU; only the first one speaks and writes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from .parent import Refused, Stop, Voice

EXIT_REFUSED = 3
EXIT_STOPPED = 75  # sysexits.h: try again later

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    os.environ.update(
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        HF_DATASETS_OFFLINE="1",
        TOKENIZERS_PARALLELISM="false",
        TQDM_DISABLE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
    )
    if arguments == ["--check"]:
        return _check()
    voice = Voice()
    _die_with_the_launcher()
    try:
        return run(json.loads(Path(arguments[0]).read_text(encoding="utf-8")), voice)
    except Refused as error:
        voice(error={"kind": error.kind, "message": str(error)})
    except MemoryError:
        voice(error={"kind": "OutOfMemory", "message": "The trainer ran out of memory."})
    except OSError as error:
        full = error.errno in (28, 122)  # no space, over quota
        kind = "DiskFull" if full else "EngineFailed"
        voice(error={"kind": kind, "message": f"The trainer stopped: {error.strerror or error}."})
    return EXIT_REFUSED


def run(job: dict[str, Any], voice: Voice) -> int:
    """All stages; returns the exit code."""
    os.environ["HF_DATASETS_CACHE"] = str(Path(job["folder"]) / "datasets")
    voice(stage="starting")
    from .loading import with_usable_dtype
    from .training import is_first_process, train

    job = with_usable_dtype(job)
    folder = Path(job["folder"])
    stop = Stop()
    if not (folder / "adapter").is_dir() and not train(job, voice, stop):
        voice(stopped=True)
        return EXIT_STOPPED
    if not is_first_process():
        return 0
    from .merging import merge
    from .probing import probe

    if not (folder / "merged").is_dir():
        voice(stage="merging")
        merge(job)
    if not (folder / "probes.json").is_file():
        voice(stage="probing")
        probe(job)
    voice(done=True)
    return 0


def _die_with_the_launcher() -> None:
    """Under `accelerate launch` the tether holds the launcher only."""
    if "LOCAL_RANK" in os.environ and sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _check() -> int:
    """What this environment has, for `hearth engines`."""
    import importlib.metadata

    import peft  # noqa: F401
    import torch
    import trl

    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [
            f"cuda: {torch.cuda.get_device_name(n)}" for n in range(torch.cuda.device_count())
        ]
    if torch.backends.mps.is_available():
        devices.append("mps")
    versions = {
        name: importlib.metadata.version(name)
        for name in ("torch", "transformers", "peft", "trl", "datasets", "accelerate")
    }
    facts = {"version": trl.__version__, "torch": torch.__version__, "devices": devices}
    print(json.dumps({**facts, "versions": versions}))  # noqa: T201
    return 0
