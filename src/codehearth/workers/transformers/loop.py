"""The computing thread: whose prompt is read next, whose token comes next.

One round of the loop:

1. Who was cancelled leaves.
2. Each batch gets one token a row; who is done leaves.
3. One portion of prompts is read: several short ones at once, or a piece of a long one, so that
   nobody waits long for a token while somebody's long prompt is read. Its rows join a batch.

What goes wrong with one request, or with rows that are computed together, is told to these and ends
no other.

At most `num_slots` answers are under way; others wait in the order in which they came.
"""

from __future__ import annotations

import functools
import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from . import batch as batches
from .batch import Batch
from .beginning import Beginning, TokenBytes
from .job import Deliver, FinishReason, Job, Piece, Token, put_all
from .loading import Loaded
from .sampling import Chooser, choose
from .scores import with_logprobs
from .transcript import Transcript


@dataclass(eq=False)
class _Row:
    """An answer under way."""

    job: Job
    chooser: Chooser
    transcript: Transcript
    unsent: list[Token] = field(default_factory=list)


@dataclass(eq=False)
class _Reading:
    """A long prompt that is read in pieces."""

    row: _Row
    batch: Batch | None = None
    num_read: int = 0


@dataclass(eq=False)
class _Group:
    """Rows that are computed together."""

    rows: list[_Row]
    batch: Batch

    @property
    def adapter(self) -> int | None:
        """The one that they all are answered by: it changes the weights."""
        return self.rows[0].job.adapter


class Loop:
    """Owns the model from its start on. `add` may be called from another thread."""

    def __init__(
        self, loaded: Loaded, *, num_slots: int, batch_tokens: int, deliver: Deliver
    ) -> None:
        self._loaded = loaded
        self._num_slots = num_slots
        self._batch_tokens = batch_tokens
        self._deliver = deliver
        self._new: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._waiting: deque[Job] = deque()
        self._reading: deque[_Reading] = deque()
        self._groups: list[_Group] = []
        self._pieces: list[tuple[Job, Piece]] = []

    @functools.cached_property
    def _token_bytes(self) -> TokenBytes:
        return TokenBytes(self._loaded.tokenizer, self._loaded.vocabulary_size)

    def start(self) -> None:
        threading.Thread(target=self._run, name="computing", daemon=True).start()

    def add(self, job: Job) -> None:
        self._new.put(job)

    @property
    def num_running(self) -> int:
        return len(self._reading) + sum(len(group.rows) for group in self._groups)

    @property
    def num_waiting(self) -> int:
        return len(self._waiting) + self._new.qsize()

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        with torch.inference_mode():
            while True:
                self._take_new()
                with self._telling(None):
                    self._round()
                self._send_pieces()

    def _round(self) -> None:
        self._drop_cancelled()
        for group in tuple(self._groups):
            with self._telling([row.job for row in group.rows]):
                self._advance(group)
        self._read_prompts()
        self._join_groups()

    def _take_new(self) -> None:
        """All jobs that have come; waits for one where there is nothing to do."""
        is_idle = not (self._waiting or self._reading or self._groups)
        try:
            self._waiting.append(self._new.get(block=is_idle))
            while True:
                self._waiting.append(self._new.get_nowait())
        except queue.Empty:
            pass

    def _drop_cancelled(self) -> None:
        self._waiting = deque(job for job in self._waiting if not job.is_cancelled)
        self._reading = deque(one for one in self._reading if not one.row.job.is_cancelled)
        for group in tuple(self._groups):
            self._keep(group, [not row.job.is_cancelled for row in group.rows])

    def _advance(self, group: _Group) -> None:
        """A token for each row, and the step that follows for those that go on."""
        tokens = choose(group.batch.logits, [row.chooser for row in group.rows])
        scored = with_logprobs(group.batch.logits, tokens, [row.job.num_top for row in group.rows])
        goes_on = [
            self._took_or_told(row, token) for row, token in zip(group.rows, scored, strict=True)
        ]
        self._keep(group, goes_on)
        if group.rows:
            kept = [token for token, stays in zip(tokens, goes_on, strict=True) if stays]
            self._loaded.use(group.adapter)
            batches.step(self._loaded, group.batch, kept)

    def _took_or_told(self, row: _Row, token: Token) -> bool:
        """`_took`; a row that it fails with is told and ends alone."""
        with self._telling([row.job], leave=False):
            return self._took(row, token)
        return False

    def _took(self, row: _Row, token: Token) -> bool:
        """Send what a token brings; False where the answer ends with it."""
        job = row.job
        ends = token.id in self._loaded.end_ids and not job.ignores_end
        if ends or token.id in job.end_ids:
            return self._finish(row, "stop")
        job.num_new_tokens += 1
        if job.num_top is not None:
            row.unsent.append(token)
        text = row.transcript.take(token.id)
        if row.transcript.is_stopped:
            return self._finish(row, "stop", text)
        if job.num_new_tokens >= job.max_new_tokens:
            return self._finish(row, "length", text)
        if text:
            self._tell(job, Piece(text=text, tokens=row.unsent))
            row.unsent = []
        return True

    def _finish(self, row: _Row, reason: FinishReason, text: str = "") -> bool:
        if not row.transcript.is_stopped:
            text += row.transcript.finish()
            reason = "stop" if row.transcript.is_stopped else reason
        self._tell(row.job, Piece(text=text, tokens=row.unsent, finish_reason=reason))
        return False

    def _keep(self, group: _Group, stays: Sequence[bool]) -> None:
        if all(stays):
            return
        rows = [place for place, does in enumerate(stays) if does]
        group.rows = [group.rows[place] for place in rows]
        if group.rows:
            batches.keep(group.batch, rows)
        else:
            self._groups.remove(group)

    # --- reading prompts ----------------------------------------------------------------------

    def _read_prompts(self) -> None:
        while self._waiting and self.num_running < self._num_slots:
            job = self._waiting.popleft()
            with self._telling([job]):
                self._reading.append(_Reading(self._row(job)))
        if not self._reading:
            return
        together = self._short_ones()
        first = together or [self._reading[0]]
        with self._telling([one.row.job for one in first]):
            self._loaded.use(first[0].row.job.adapter)
            if together:
                batch = batches.read(self._loaded, [one.row.job.prompt for one in together])
                for _ in together:
                    self._reading.popleft()
                self._groups.append(_Group([one.row for one in together], batch))
            else:
                self._read_on(first[0])

    def _row(self, job: Job) -> _Row:
        begins_with = job.sampling.begins_with
        beginning = Beginning(begins_with, self._token_bytes) if begins_with else None
        return _Row(
            job,
            Chooser(job.sampling, job.prompt, beginning),
            Transcript(self._loaded.tokenizer, job.stops, job.prompt),
        )

    def _short_ones(self) -> list[_Reading]:
        """From the front, prompts for one adapter that together are no more than one portion,
        padding included."""
        taken: list[_Reading] = []
        for one in self._reading:
            longest = max(len(each.row.job.prompt) for each in (*taken, one))
            is_whole = one.num_read == 0 and not one.row.job.scores_prompt
            is_alike = one.row.job.adapter == self._reading[0].row.job.adapter
            if not (is_whole and is_alike) or longest * (len(taken) + 1) > self._batch_tokens:
                break
            taken.append(one)
        return taken

    def _read_on(self, reading: _Reading) -> None:
        """The next portion of a long prompt; who is not through with it goes to the back."""
        job, begun = reading.row.job, reading.num_read
        portion = job.prompt[begun : begun + self._batch_tokens]
        reading.batch, logits = batches.read_more(
            self._loaded, reading.batch, portion, all_logits=job.scores_prompt
        )
        reading.num_read += len(portion)
        if job.scores_prompt:
            self._score(job, logits, begun)
        self._reading.popleft()
        if reading.num_read < len(job.prompt):
            self._tell(job, Piece(num_read=reading.num_read))
            self._reading.append(reading)
        elif job.max_new_tokens == 0:
            self._finish(reading.row, "length")
        else:
            self._groups.append(_Group([reading.row], reading.batch))

    def _score(self, job: Job, logits: torch.Tensor, begun: int) -> None:
        """Send how likely the prompt's own tokens were, each after those before it."""
        tokens = [Token(job.prompt[0], None)] if begun == 0 else []
        following = job.prompt[begun + 1 : begun + 1 + len(logits)]
        counts = [job.num_top or 0] * len(following)
        tokens += with_logprobs(logits[: len(following)], following, counts)
        self._tell(job, Piece(tokens=tokens, num_read=begun + len(logits)))

    def _join_groups(self) -> None:
        """Between rounds only: then every row's next token is still to be chosen."""
        apart: list[_Group] = []
        for group in self._groups:
            home = next((other for other in apart if _can_join(other, group)), None)
            if home is None:
                apart.append(group)
            else:
                home.batch = batches.joined(home.batch, group.batch)
                home.rows += group.rows
        self._groups = apart

    # --- telling ------------------------------------------------------------------------------

    def _tell(self, job: Job, piece: Piece) -> None:
        self._pieces.append((job, piece))

    def _send_pieces(self) -> None:
        """All pieces of a round at once: waking the other thread costs more than a piece."""
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._deliver(put_all, pieces)

    def _jobs(self) -> list[Job]:
        """All that are under way."""
        rows = [row for group in self._groups for row in group.rows]
        return [row.job for row in rows] + [one.row.job for one in self._reading]

    @contextmanager
    def _telling(self, jobs: Sequence[Job] | None, *, leave: bool = True) -> Iterator[None]:
        """Whatever goes wrong inside is told to these jobs, which end; the loop goes on.

        None is all that are under way then. `leave` takes them out of the groups, where the caller
        does not do it.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a model, a tokenizer or a request may bring any
            traceback.print_exc(file=sys.stderr)
            ended = self._jobs() if jobs is None else jobs
            for job in ended:
                self._tell(job, Piece(error=f"{type(error).__name__}: {error}"[:500]))
            if leave:
                self._take_out(ended)

    def _take_out(self, jobs: Sequence[Job]) -> None:
        ended = {id(job) for job in jobs}
        # A step that failed may have left a batch half done, so a group leaves as a whole.
        self._groups = [
            group for group in self._groups if not any(id(row.job) in ended for row in group.rows)
        ]
        self._reading = deque(one for one in self._reading if id(one.row.job) not in ended)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _can_join(one: _Group, other: _Group) -> bool:
    return one.adapter == other.adapter and batches.can_join(one.batch, other.batch)
