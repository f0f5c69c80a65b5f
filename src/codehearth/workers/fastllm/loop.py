"""The fetching thread: gives answers to fastllm, which computes them together, and takes tokens.

One round: who was cancelled is aborted, who waits gets a free slot, and each answer's new tokens
become pieces. fastllm chooses the tokens itself; what it cannot do is refused (`_check`).
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from dataclasses import dataclass

from ..transformers.job import Deliver, FinishReason, Job, Piece, put_all
from ..transformers.listener import unsupported
from ..transformers.transcript import Transcript
from .library import Ended, Library

_LOOK_S = 0.002  # between two looks while answers are computed


@dataclass(eq=False)
class _Row:
    """An answer under way."""

    job: Job
    handle: int
    transcript: Transcript


class Loop:
    """Owns the model from its start on; `add` may be called from another thread."""

    def __init__(self, library: Library, *, num_slots: int, deliver: Deliver) -> None:
        self._library = library
        self._num_slots = num_slots
        self._deliver = deliver
        self._new: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._waiting: deque[Job] = deque()
        self._rows: list[_Row] = []
        self._pieces: list[tuple[Job, Piece]] = []

    def start(self) -> None:
        threading.Thread(target=self._run, name="fetching", daemon=True).start()

    def add(self, job: Job) -> None:
        _check(job)
        self._new.put(job)

    @property
    def num_running(self) -> int:
        return len(self._rows)

    @property
    def num_waiting(self) -> int:
        return len(self._waiting) + self._new.qsize()

    def _run(self) -> None:
        while True:
            self._take_new()
            self._drop_cancelled()
            while self._waiting and len(self._rows) < self._num_slots:
                self._rows.append(self._begun(self._waiting.popleft()))
            self._rows = [row for row in self._rows if self._goes_on(row)]
            if self._pieces:
                pieces, self._pieces = self._pieces, []
                self._deliver(put_all, pieces)
            elif self._rows:
                time.sleep(_LOOK_S)

    def _take_new(self) -> None:
        """All jobs that have come; waits for one where there is nothing to do."""
        is_idle = not (self._waiting or self._rows)
        try:
            self._waiting.append(self._new.get(block=is_idle))
            while True:
                self._waiting.append(self._new.get_nowait())
        except queue.Empty:
            pass

    def _drop_cancelled(self) -> None:
        self._waiting = deque(job for job in self._waiting if not job.is_cancelled)
        for row in self._rows:
            if row.job.is_cancelled:
                self._library.abort(row.handle)
        self._rows = [row for row in self._rows if not row.job.is_cancelled]

    def _begun(self, job: Job) -> _Row:
        sampling = job.sampling
        handle = self._library.begin(
            job.prompt,
            max_new_tokens=job.max_new_tokens,
            min_new_tokens=job.max_new_tokens if job.ignores_end else 0,
            temperature=0.0 if sampling.is_greedy else sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            repeat_penalty=sampling.repeat_penalty,
            end_ids=sorted(job.end_ids),
        )
        return _Row(job, handle, Transcript(self._library.tokenizer, job.stops, job.prompt))

    def _goes_on(self, row: _Row) -> bool:
        """Send what has come of an answer; False where it ends."""
        try:
            tokens = self._library.fetch(row.handle)
        except Ended:
            is_full = row.job.num_new_tokens >= row.job.max_new_tokens
            return self._finish(row, "length" if is_full else "stop")
        text = ""
        for token in tokens:
            job = row.job
            ends = token in self._library.end_ids and not job.ignores_end
            if ends or token in job.end_ids:
                self._library.abort(row.handle)
                return self._finish(row, "stop", text)
            job.num_new_tokens += 1
            text += row.transcript.take(token)
            if row.transcript.is_stopped:
                self._library.abort(row.handle)
                return self._finish(row, "stop", text)
        if text:
            self._pieces.append((row.job, Piece(text=text)))
        return True

    def _finish(self, row: _Row, reason: FinishReason, text: str = "") -> bool:
        if not row.transcript.is_stopped:
            text += row.transcript.finish()
            reason = "stop" if row.transcript.is_stopped else reason
        self._pieces.append((row.job, Piece(text=text, finish_reason=reason)))
        return False


def _check(job: Job) -> None:
    """Raises Refused for what fastllm's sampler does not know; silence would be a wrong answer."""
    sampling = job.sampling
    for is_asked, name in (
        (job.num_top is not None, "logprobs"),
        (bool(sampling.bias), "logit_bias"),
        (sampling.presence_penalty != 0, "presence_penalty"),
        (sampling.frequency_penalty != 0, "frequency_penalty"),
        (sampling.min_p > 0 and not sampling.is_greedy, "min_p"),
    ):
        if is_asked:
            raise unsupported(f"'{name}' is not done by fastllm; llama.cpp and transformers do it")
