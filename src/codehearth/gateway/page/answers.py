"""The answers that are being written: begun, kept, watched and stopped.

1. An order is checked before anything is changed: the model is there, the message may be answered.
2. The user's message and the empty answer are saved in one step, then a task of the server asks
   the model. It is no request: a closed tab does not end it.
3. Twice a second what came is saved. A fault of the records does not end the answer; it is tried
   again, and at the end until it works.
4. It ends when it is done, when somebody stops it, when nobody has watched it for ten minutes, or
   when the server or the engine goes away: then it is `interrupted`, with what came.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from codehearth.errors import (
    ContextLengthExceeded,
    HearthError,
    NotFound,
    RateLimited,
    RecordsUnavailable,
)
from codehearth.gateway.auth import Caller
from codehearth.gateway.engine.generate import Choice, Order, counted_pieces
from codehearth.gateway.engine.upstream import CHAT_PATH, chat_body
from codehearth.gateway.house import House
from codehearth.gateway.page.archive import Archive
from codehearth.gateway.page.draft import Draft
from codehearth.gateway.page.found_files import found_files
from codehearth.gateway.page.history import Sent, estimate_for, request_of, sent
from codehearth.gateway.page.placing import placed
from codehearth.gateway.replies import describe, unexpected
from codehearth.pool.child import ModelFacts
from codehearth.records.talk import Attachment, Message, State
from codehearth.wire.conversations import MAX_ATTACHMENTS, AnswerRequest
from codehearth.wire.requests import ChatRequest
from codehearth.wire.validation import validated

log = logging.getLogger(__name__)

MAX_RUNNING = 8
"""Of one user. Those beyond are refused: they would only wait for each other."""

UNWATCHED_S = 600.0
SAVE_EVERY_S = 0.5
_LAST_SAVE_S = 5.0
_MAX_BUDGETS = 8


@dataclass(frozen=True)
class _Task:
    """What the model is asked: the branch that it answers, with its settings."""

    path: tuple[Message, ...]
    model: str
    system_prompt: str
    parameters: Mapping[str, Any]
    max_turns: int | None


@dataclass(frozen=True)
class _Running:
    draft: Draft
    asking: asyncio.Task[None]
    keeping: asyncio.Task[None]


class Answers:
    """All answers of this server that are being written, by the id of their message."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._running: dict[str, _Running] = {}
        self._count: Counter[str] = Counter()
        self._is_closing = False

    async def begin(
        self, house: House, caller: Caller, conversation_id: str, asked: AnswerRequest
    ) -> Draft:
        """Begins an answer; raises what is wrong with the order before anything is changed."""
        user = caller.user
        if self._count[user] >= MAX_RUNNING:
            raise RateLimited(
                f"{MAX_RUNNING} of your answers are being written.",
                hint="wait for one, or stop one",
            )
        self._count[user] += 1
        try:
            draft, task = await self._begun(house, user, conversation_id, asked)
        except BaseException:
            self._count[user] -= 1
            raise
        asking = asyncio.create_task(self._ask(house, caller, draft, task))
        keeping = asyncio.create_task(self._keep(draft, asking))
        self._running[draft.id] = _Running(draft, asking, keeping)
        return draft

    def find(self, user: str, message_id: str) -> Draft:
        """A running answer; raises NotFound."""
        running = self._running.get(message_id)
        if running is None or running.draft.owner != user:
            raise NotFound("This answer is not being written now.", param="message_id")
        return running.draft

    def of(self, user: str) -> tuple[Draft, ...]:
        return tuple(one.draft for one in self._running.values() if one.draft.owner == user)

    def live(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The messages with those that are being written as they are this moment."""
        return tuple(
            self._running[one.id].draft.message() if one.id in self._running else one
            for one in messages
        )

    async def stop(self, user: str, message_id: str) -> Message:
        """Ends an answer and keeps what came."""
        draft = self.find(user, message_id)
        await self._end([draft], "stopped")
        return draft.message()

    async def stop_all_of(self, user: str, conversation_id: str | None = None) -> None:
        """Before conversations are deleted."""
        mine = self.of(user)
        await self._end(
            [one for one in mine if conversation_id in (None, one.conversation.id)], "stopped"
        )

    async def close(self) -> None:
        """The server leaves: what is being written is interrupted and saved."""
        self._is_closing = True
        await self._end([one.draft for one in self._running.values()], "interrupted")

    async def _end(self, drafts: Sequence[Draft], state: State) -> None:
        """Ends some answers; returns when they are saved, or cannot be for a while."""
        running = [self._running[one.id] for one in drafts if one.id in self._running]
        for one in running:
            one.draft.end_as(state)
            one.asking.cancel()
        if running:
            await asyncio.wait([one.keeping for one in running], timeout=_LAST_SAVE_S)

    # --- an order -----------------------------------------------------------------------------

    async def _begun(
        self, house: House, user: str, conversation_id: str, asked: AnswerRequest
    ) -> tuple[Draft, _Task]:
        tables, do = self._archive.conversations, self._archive.do
        conversation = await do(tables.get, user, conversation_id)
        model = await house.name_of(asked.model or conversation.model)
        parameters = dict(conversation.parameters)
        if asked.parameters is not None:
            parameters |= asked.parameters.given()
        files = [Attachment(one.name, one.text) for one in asked.attachments or ()]
        files += await found_files(house, asked, model, most=MAX_ATTACHMENTS - len(files))
        draft, path = await do(
            placed, self._archive.conversations, user, conversation_id, asked, model, files
        )
        task = _Task(
            path=path,
            model=model,
            system_prompt=draft.conversation.system_prompt,
            parameters=parameters,
            max_turns=draft.conversation.max_turns,
        )
        return draft, task

    # --- writing ------------------------------------------------------------------------------

    async def _keep(self, draft: Draft, asking: asyncio.Task[None]) -> None:
        """Saves an answer while it is written, and how it ended. Is never cancelled."""
        saved = -1
        while not asking.done():
            await asyncio.wait((asking,), timeout=SAVE_EVERY_S)
            if _is_forgotten(draft):
                log.info("an answer that nobody watched was stopped")
                draft.end_as("stopped")
                asking.cancel()
            num_pieces = draft.num_pieces
            if not asking.done() and num_pieces != saved and await self._is_kept(draft.message()):
                saved = num_pieces
        _settle(draft, asking)
        await self._finish(draft)

    async def _ask(self, house: House, caller: Caller, draft: Draft, task: _Task) -> None:
        """Asks with as much of the history as should fit, and with less where it does not."""
        estimate = estimate_for(task.path, model=task.model, system_prompt=task.system_prompt)
        most_tokens = sys.maxsize
        chosen: Sent | None = None

        def body(facts: ModelFacts) -> Mapping[str, Any]:
            nonlocal chosen
            context_tokens = min(facts.context_tokens, most_tokens)
            chosen = sent(
                task.path,
                system_prompt=task.system_prompt,
                context_tokens=context_tokens,
                max_tokens=task.parameters.get("max_tokens"),
                max_turns=task.max_turns,
                estimate=estimate,
            )
            draft.figures.context_max = context_tokens
            draft.figures.left_out_turns = chosen.left_out_turns
            request = request_of(chosen, model=task.model, parameters=task.parameters)
            return chat_body(validated(ChatRequest, request), facts, choice=0)

        for attempt in range(_MAX_BUDGETS):
            order = Order(
                model=task.model,
                choices=[Choice(0, CHAT_PATH, body)],
                owner=caller.owner,
            )
            try:
                async with aclosing(counted_pieces(house, order)) as batches:
                    async for batch in batches:
                        draft.take(batch)
                return
            except ContextLengthExceeded as error:
                if chosen is None or chosen.is_least or attempt == _MAX_BUDGETS - 1:
                    raise
                most_tokens = error.num_context_tokens or most_tokens
                estimate = estimate.corrected(
                    estimated=chosen.estimated_tokens, counted=error.num_prompt_tokens
                )

    async def _finish(self, draft: Draft) -> None:
        """Saves the end. Watchers are told after the first try, whether or not it worked."""
        end, began_at = draft.last(), time.monotonic()
        try:
            while not await self._is_kept(end):
                draft.is_saved()
                if self._is_closing and time.monotonic() - began_at > _LAST_SAVE_S:
                    log.error("the end of an answer could not be saved")
                    break
                await asyncio.sleep(SAVE_EVERY_S)
        finally:
            del self._running[draft.id]
            self._count[draft.owner] -= 1
            draft.is_saved()

    async def _is_kept(self, message: Message) -> bool:
        """Whether the records took it; what they cannot take now is tried again."""
        try:
            await self._archive.do(self._archive.conversations.save, message)
        except RecordsUnavailable:
            return False
        return True


def _is_forgotten(draft: Draft) -> bool:
    return draft.num_watchers == 0 and time.monotonic() - draft.unwatched_since > UNWATCHED_S


def _settle(draft: Draft, asking: asyncio.Task[None]) -> None:
    """How the answer ended, from how asking for it did."""
    if asking.cancelled():
        if draft.state == "streaming":  # nobody of ours did it
            draft.end_as("interrupted")
        return
    error = asking.exception()
    broken: State = "interrupted" if draft.has_tokens else "failed"
    if error is None:
        draft.end_as("done")
    elif isinstance(error, HearthError):
        log.warning("an answer broke off: %s", describe(error))
        draft.end_as(broken, error)
    else:
        log.error("an answer broke off by a mistake of ours", exc_info=error)
        draft.end_as(broken, unexpected())
