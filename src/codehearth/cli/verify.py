"""`hearth run --verify`: code that passes tests goes to standard output, the evidence beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codehearth.cli.output import print_data, print_json_line, say
from codehearth.errors import HearthError, InvalidRequest, NotFound

if TYPE_CHECKING:
    from codehearth.cli.answering import Questions

_MAX_TEST_BYTES = 1 << 16
_MAX_TOKENS = 8192


def answer_verified(
    questions: Questions,
    prompt: str,
    tests_file: Path,
    candidates: int,
    repairs: int,
    *,
    as_json: bool,
) -> None:
    """Raises HearthError (exit code 1) where no candidate passes; its nearest is not printed."""
    order = _order(questions, prompt, _tests(tests_file), candidates, repairs)
    try:
        found = questions.client.verified(order)
    except NotFound as error:
        if "/v1/verified" not in error.message:
            raise
        raise HearthError(
            "The server has no '/v1/verified'.", hint="it is another program than CodeHearth"
        ) from error
    if as_json:
        print_json_line(found)
    else:
        _print(found)
    if not found.get("verified"):
        raise HearthError(
            f"None of {len(found.get('attempts', ()))} attempts passed the tests.",
            hint="take more --candidates, or a larger model",
        )


def _tests(path: Path) -> str:
    try:
        raw = path.read_bytes()
        if len(raw) > _MAX_TEST_BYTES:
            raise InvalidRequest(f"'{path.name}' is larger than {_MAX_TEST_BYTES >> 10} KiB.")
        return raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"'{path.name}' cannot be read as text.") from error


def _order(
    questions: Questions, prompt: str, tests: str, candidates: int, repairs: int
) -> dict[str, Any]:
    sampling = questions.sampling
    messages = [{"role": "system", "content": questions.system}] if questions.system else []
    return {
        "model": questions.model,
        "messages": [*messages, {"role": "user", "content": prompt}],
        "tests": tests,
        "n": candidates,
        "repairs": repairs,
        "max_tokens": min(sampling.max_tokens or _MAX_TOKENS, _MAX_TOKENS),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
    }


def _print(found: dict[str, Any]) -> None:
    for attempt in found["attempts"]:
        say(_told(attempt))
    if found["verified"]:
        kind = "in a process of their own" if _winner(found)["tests_apart"] else "in one process"
        say(f"sandbox: {found['sandbox']}, tests {kind}, {found['duration_s']:.1f} s in all")
        print_data(found["code"].rstrip("\n"))


def _winner(found: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in found["attempts"] if one["number"] == found["attempt"])


def _told(attempt: dict[str, Any]) -> str:
    name = f"attempt {attempt['number']}"
    if attempt["repairs"] is not None:
        name += f" (repairs {attempt['repairs']})"
    if attempt["passed"]:
        return f"{name}: passed, checks: {attempt['checks']}, {attempt['duration_s']:.1f} s"
    lines = [line.strip() for line in attempt["detail"].splitlines() if line.strip()]
    return f"{name}: {attempt['outcome']}: {' | '.join(lines)[:300]}"
