"""An environment `tuning` that is whole on disk and whose trainer plays a script.

Its Python is a shell script: what the house starts is real, what is trained is nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from codehearth.engines.recipes import RECIPES

_SCRIPT = """#!/bin/sh
echo '{"stage": "reading"}'
echo '{"rows": {"num_rows": 19, "num_too_long": 1, "longest": 500, "num_tokens": 800, \
"num_learnt": 400, "num_held_out": 1, "num_held_out_too_long": 0, \
"max_tokens": 384, "long_rows": "drop"}}'
echo '{"plan": {"num_steps": 4, "num_trained": 100, "resumed": null}}'
echo '{"stage": "training"}'
echo '{"step": {"step": 1, "num_steps": 4, "epoch": 0.25, "loss": 5.0, "learning_rate": 0.003, \
"tokens_per_s": 100.0, "left_s": 9}}'
echo '{"step": {"step": 2, "num_steps": 4, "epoch": 0.5, "loss": 2.5, "learning_rate": 0.002, \
"tokens_per_s": 100.0, "left_s": 6}}'
%s
"""
BREAKS_OFF = "echo 'something broke' >&2; exit 9"
WAITS = "exec sleep 300"


def fake_tuning(data: Path, ending: str = BREAKS_OFF) -> None:
    """Puts the environment into a data folder."""
    home = data / "engines" / "tuning"
    folder = home / "fake"
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "lib" / "python3" / "site-packages").mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    python.write_text(_SCRIPT % ending)
    python.chmod(0o755)
    record = {
        "engine": "tuning", "device": "cpu", "version": "0", "folder": "fake",
        "digest": RECIPES["tuning"]["cpu"].digest, "facts": {"devices": ["cpu"]},
    }  # fmt: skip
    (home / "environment.json").write_text(json.dumps(record))
