"""Whether two sides are the same model, from what they showed; what is wrong is named. Pure.

For each prompt, in this order, and the first that is so is what is told:

1. A text begins twice (the token that begins a text, two times in a row), on either side.
2. The chat template made two different texts; the token that begins a text does not count, since
   some engines set it and others let the template write it.
3. One side begins a text with that token, the other does not.
4. A mark is one token on one side and spelled out on the other.
5. The tokens differ otherwise.
6. A side that is really asked reads another number of tokens than its tokenizer makes: what
   is tokenized is not what is computed.

Then what they write after the same tokens: the likeliest token of each place, and how likely the
reference's token is to both. A different likeliest token counts only where the reference was sure:
where its best two are near, rounding decides. And where answers end: at the token with which the
template ends a turn, and at the same ones on both sides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from codehearth.lab.parity.observation import Ends, Line, Observation, Reading, Token

Name = Literal[
    "template", "double begin", "begin", "marks", "tokens", "count", "weights", "ends", "note"
]

# Nats, by the bits of the coarser side: how far the log-probability of a token may be off in the
# mean before two sides are not the same model any more. Some three times what was measured with
# the starter (see docs/engines.md); the losses of a precision itself are told by `hearth measure`.
_ALLOWED: tuple[tuple[float, float], ...] = (
    (24.0, 0.01), (12.0, 0.1), (7.5, 0.15), (5.0, 0.3), (4.0, 0.6), (3.0, 1.2), (0.0, 3.0),
)  # fmt: skip
# A likeliest token may differ where the reference held both for nearly as likely.
_NEAR = 3.0
_MAX_SHOWN = 60


@dataclass(frozen=True)
class Finding:
    """One thing that differs, as a sentence. A "note" is no fault."""

    name: Name
    prompt: str | None
    message: str

    @property
    def is_wrong(self) -> bool:
        return self.name != "note"


@dataclass(frozen=True)
class PromptParity:
    """One prompt on both sides. None is what could not be seen.

    `num_same` of `num_compared` places have the same likeliest token. The differences are those of
    the log-probability of the reference's token, in nats; where the other side does not list it,
    at least so much.
    """

    title: str
    num_tokens: tuple[int, int]
    is_same_prompt: bool | None
    num_same: int
    num_compared: int
    mean_difference: float | None
    max_difference: float | None


@dataclass(frozen=True)
class Parity:
    """How two sides compare; `allowed` is the mean difference that their precisions allow."""

    reference: str
    other: str
    allowed: float
    prompts: tuple[PromptParity, ...]
    findings: tuple[Finding, ...]

    @property
    def is_same(self) -> bool:
        return not any(finding.is_wrong for finding in self.findings)

    def as_document(self) -> dict[str, Any]:
        return {"is_same": self.is_same, **asdict(self)}


def judge(reference: Observation, other: Observation) -> Parity:
    """`other` held against `reference`; both were asked the same prompts."""
    allowed = allowed_difference(min(reference.bits, other.bits))
    prompts, findings = [], list(_files(reference, other))
    for number, one in enumerate(reference.readings):
        two = other.readings[number]
        findings += _readings(reference, other, one, two)
        line, led = reference.lines[number], other.lines[number]
        prompts.append(_prompt(one, two, line, led))
        findings += _lines(other.label, one.prompt.title, line, led, allowed)
    findings += _ends(reference, other)
    return Parity(reference.label, other.label, allowed, tuple(prompts), tuple(findings))


def allowed_difference(bits: float) -> float:
    return next(nats for least, nats in _ALLOWED if bits >= least)


def _files(reference: Observation, other: Observation) -> Iterator[Finding]:
    """What is missing on one side, so that it cannot even be asked."""
    for side, rest in ((reference, other), (other, reference)):
        if rest.has_template and not side.has_template:
            yield Finding("template", None, f"{side.label} has no chat template")
        if missing := sorted(rest.marks - side.marks):
            yield Finding(
                "marks", None, f"{side.label} does not have the infilling marks {missing} as tokens"
            )


# --- reading --------------------------------------------------------------------------------------


def _readings(
    reference: Observation, other: Observation, one: Reading, two: Reading
) -> Iterator[Finding]:
    title = one.prompt.title
    sides = ((reference, one), (other, two))
    doubled = [
        (side.label, reading) for side, reading in sides if _begins_twice(reading.ids, side.begin)
    ]
    if doubled:
        labels = " and ".join(label for label, _ in doubled)
        yield Finding(
            "double begin",
            title,
            f"the text begins twice with {_piece(doubled[0][1], 0)} on {labels}: the prompt has "
            "it, and the tokenizer sets it before",
        )
        return
    is_known = bool(one.ids and two.ids)
    beginnings = [_raw(reading, 0) for side, reading in sides if reading.ids[:1] == (side.begin,)]
    texts = _bare(one.text, beginnings[:1]), _bare(two.text, beginnings[:1])
    if None not in texts and texts[0] != texts[1] and (not is_known or one.ids != two.ids):
        message = _texts(reference.label, other.label, str(texts[0]), str(texts[1]))
        yield Finding("template", title, message)
        return
    if is_known and one.ids != two.ids:
        yield _tokens(reference, other, one, two)
        return
    for side, reading in sides:
        if reading.ids and reading.num_counted and len(reading.ids) != reading.num_counted:
            yield _count(side, reading)
    if not is_known:
        silent = next(side.label for side, reading in sides if not reading.ids)
        yield Finding("note", title, f"{silent} does not tell its tokens")
        if one.num_counted and two.num_counted and one.num_counted != two.num_counted:
            yield Finding(
                "tokens",
                title,
                f"{reference.label} counts {one.num_counted} tokens, {other.label} "
                f"{two.num_counted}",
            )


def _begins_twice(ids: Sequence[int], begin: int | None) -> bool:
    return begin is not None and len(ids) > 1 and ids[0] == ids[1] == begin


def _bare(text: str | None, beginnings: Collection[str]) -> str | None:
    """A rendered conversation without the token that begins a text."""
    for beginning in beginnings:
        text = text and text.removeprefix(beginning)
    return text


def _texts(one_label: str, two_label: str, one: str, two: str) -> str:
    at = _first_difference(one, two)
    return (
        f"the template makes another text, from character {at + 1} on: "
        f"{one_label} writes {_shown(one[at:])}, {two_label} {_shown(two[at:])}"
    )


def _tokens(reference: Observation, other: Observation, one: Reading, two: Reading) -> Finding:
    title = one.prompt.title
    for side, reading, rest in ((reference, one, two), (other, two, one)):
        if reading.ids[1:] == rest.ids:
            without = other.label if side is reference else reference.label
            return Finding(
                "begin",
                title,
                f"{side.label} begins the text with {_piece(reading, 0)}, {without} does not",
            )
    at = _first_difference(one.ids, two.ids)
    first, second = _is_mark(_raw(one, at)), _is_mark(_raw(two, at))
    if first != second:
        knows, spells, read = (reference, other, one) if first else (other, reference, two)
        return Finding(
            "marks",
            title,
            f"{spells.label} spells {_piece(read, at)} out, which is one token for "
            f"{knows.label}: it is a mark, and no text",
        )
    return Finding(
        "tokens",
        title,
        f"other tokens from place {at + 1} on: {reference.label} reads {_piece(one, at)}, "
        f"{other.label} {_piece(two, at)}",
    )


def _count(side: Observation, reading: Reading) -> Finding:
    more = reading.num_counted - len(reading.ids)
    guess = "; it may begin the text twice" if more == 1 else ""
    return Finding(
        "count",
        reading.prompt.title,
        f"{side.label} reads {reading.num_counted} tokens when it is asked, and its tokenizer "
        f"makes {len(reading.ids)} of the same{guess}",
    )


# --- writing --------------------------------------------------------------------------------------


def _prompt(one: Reading, two: Reading, line: Line, led: Line) -> PromptParity:
    pairs = list(zip(line.tokens, led.tokens, strict=False))
    differences = _differences(pairs)
    is_known = bool(one.ids and two.ids)
    return PromptParity(
        title=one.prompt.title,
        num_tokens=(len(one.ids) or one.num_counted, len(two.ids) or two.num_counted),
        is_same_prompt=one.ids == two.ids if is_known else None,
        num_same=sum(mine.likeliest == theirs.likeliest for mine, theirs in pairs),
        num_compared=len(pairs),
        mean_difference=sum(differences) / len(differences) if differences else None,
        max_difference=max(differences, default=None),
    )


def _lines(label: str, title: str, line: Line, led: Line, allowed: float) -> Iterator[Finding]:
    pairs = list(zip(line.tokens, led.tokens, strict=False))
    differences = _differences(pairs)
    if not differences:
        yield Finding("note", title, "log-probabilities were not to be had on both sides")
        return
    mean = sum(differences) / len(differences)
    sure = [
        (place, mine, theirs)
        for place, (mine, theirs) in enumerate(pairs)
        if _lead(mine, theirs) > _NEAR * allowed
    ]
    if sure:
        place, mine, theirs = sure[0]
        yield Finding(
            "weights",
            title,
            f"{label} writes {_shown(theirs.text)} at place {place + 1} and not "
            f"{_shown(mine.text)}, of which the reference was sure "
            f"(by {_lead(mine, theirs):.2f} nats; {len(sure)} such places)",
        )
    elif mean > allowed:
        yield Finding(
            "weights",
            title,
            f"log-probabilities are {mean:.3f} nats off in the mean, and {allowed:g} are allowed",
        )


def _differences(pairs: Sequence[tuple[Token, Token]]) -> list[float]:
    """How much another log-probability the reference's tokens have on the other side; where it
    does not list them, at least so much."""
    found = []
    for mine, theirs in pairs:
        known = theirs.logprob if mine.id == theirs.id else theirs.top.get(mine.id)
        if known is None and theirs.top:
            known = min(theirs.top.values())
        if known is not None and mine.logprob is not None:
            found.append(abs(mine.logprob - known))
    return found


def _lead(mine: Token, theirs: Token) -> float:
    """By how much the reference preferred its likeliest token to the other side's, at least."""
    if not (mine.top and theirs.top) or mine.likeliest == theirs.likeliest:
        return 0.0
    least = min(mine.top.values())
    return mine.top[mine.likeliest] - mine.top.get(theirs.likeliest, least)


# --- ending ---------------------------------------------------------------------------------------


def _ends(reference: Observation, other: Observation) -> Iterator[Finding]:
    turns = {side.ends.turn for side in (reference, other)} - {None}
    for side in (reference, other):
        for turn in turns:
            if turn is not None and side.ends.stops.get(turn) is False:
                yield Finding(
                    "ends",
                    None,
                    f"{side.label} goes on after {_end(turn, reference, other)}, with which the "
                    "template ends a turn: its answers do not end",
                )
    for token in sorted({*reference.ends.stops} & {*other.ends.stops} - turns):
        one, two = reference.ends.stops[token], other.ends.stops[token]
        if None in (one, two) or one == two:
            continue
        stopping, going = (reference, other) if one else (other, reference)
        yield Finding(
            "note",
            None,
            f"{stopping.label} ends an answer at {_end(token, reference, other)}, {going.label} "
            "goes on",
        )
    if any(stop is None for side in (reference, other) for stop in side.ends.stops.values()):
        yield Finding("note", None, "where answers end could not be seen on both sides")


def _end(token: int, *sides: Observation) -> str:
    names = (side.ends for side in sides)
    return _name(token, names)


def _name(token: int, ends: Iterator[Ends]) -> str:
    return next((name for one in ends if not (name := one.name(token)).startswith("token ")),
                f"token {token}")  # fmt: skip


# --- words ----------------------------------------------------------------------------------------


def _first_difference(one: Sequence[object], two: Sequence[object]) -> int:
    pairs = enumerate(zip(one, two, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(two)))


def _raw(reading: Reading, at: int) -> str:
    return reading.pieces[at] if at < len(reading.pieces) else ""


def _is_mark(piece: str) -> bool:
    return len(piece) > 2 and piece[0] in "<[" and piece[-1] in ">]"


def _piece(reading: Reading, at: int) -> str:
    if at >= len(reading.ids):
        return "nothing more"
    return f"{_shown(_raw(reading, at))} ({reading.ids[at]})"


def _shown(text: str) -> str:
    short = text[:_MAX_SHOWN] + ("…" if len(text) > _MAX_SHOWN else "")
    return repr(short)
