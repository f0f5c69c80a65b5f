"""What the worker answers: OpenAI's chat and completions, and the small questions of the house."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import asked as read
from .job import Computing, Job, Piece, Token, Vocabulary
from .listener import Refused, Stream, Whole, invalid, unsupported
from .transcript import Pieces

_DEFAULT_MAX_TOKENS = 16  # OpenAI's, for completions
_MAX_CHOICES = 128
_LLAMACPPS = ("/v1/chat/completions/input_tokens", "/v1/embeddings")


@dataclass(frozen=True)
class _Order:
    """What one request made: its jobs, and how their pieces look."""

    jobs: Sequence[Job]
    is_chat: bool
    num_prompt_tokens: int
    wants_usage: bool
    shows_progress: bool
    arrived: asyncio.Queue[tuple[int, Piece]]
    head: Mapping[str, Any] = field(default_factory=dict)


class _Outlet:
    """Puts a job's pieces into its request's queue, with the choice's number."""

    def __init__(self, arrived: asyncio.Queue[tuple[int, Piece]], index: int) -> None:
        self._arrived = arrived
        self._index = index

    def put_nowait(self, piece: Piece) -> None:
        self._arrived.put_nowait((self._index, piece))


class Routes:
    """Answers requests. `context_tokens` holds for each of them."""

    def __init__(
        self, loaded: Vocabulary, loop: Computing, *, alias: str, context_tokens: int
    ) -> None:
        self._loaded = loaded
        self._loop = loop
        self._alias = alias
        self._context_tokens = context_tokens
        self._names = Pieces(loaded.tokenizer)

    async def answer(self, method: str, path: str, body: bytes) -> Whole | Stream:
        route = self._routes().get((method, path))
        if path in _LLAMACPPS:
            raise unsupported(f"{path} is not done by this engine; llama.cpp does it")
        if route is None:
            raise Refused(404, f"there is nothing at {path}", "not_found_error")
        answer: Whole | Stream = await route(body)
        return answer

    def _routes(self) -> Mapping[tuple[str, str], Callable[[bytes], Any]]:
        return {
            ("GET", "/v1/models"): self._models,
            ("GET", "/metrics"): self._metrics,
            ("POST", "/v1/chat/completions"): self._chat,
            ("POST", "/v1/completions"): self._complete,
            ("POST", "/apply-template"): self._apply_template,
            ("POST", "/tokenize"): self._tokenize,
            ("POST", "/detokenize"): self._detokenize,
        }

    # --- the small ones -----------------------------------------------------------------------

    async def _models(self, _: bytes) -> Whole:
        card = {"id": self._alias, "object": "model", "created": 0, "owned_by": "local"}
        return Whole({"object": "list", "data": [card]})

    async def _metrics(self, _: bytes) -> Whole:
        return Whole(
            f"hearth:requests_processing {self._loop.num_running}\n"
            f"hearth:requests_deferred {self._loop.num_waiting}\n"
        )

    async def _apply_template(self, body: bytes) -> Whole:
        return Whole({"prompt": read.chat_text(read.parse(body), self._loaded)})

    async def _tokenize(self, body: bytes) -> Whole:
        """A text, or messages as a chat reads them."""
        wanted = read.parse(body)
        content = wanted.get("content", "")
        if not isinstance(content, str):
            raise invalid("'content' is not a text")
        if wanted.get("messages") is not None:
            ids = read.chat_prompt(wanted, self._loaded)
        elif wanted.get("add_special"):
            ids = read.encoded(content, self._loaded)
        else:
            ids = self._loaded.tokenizer(content, add_special_tokens=False)["input_ids"]
        if not wanted.get("with_pieces"):
            return Whole({"tokens": ids})
        return Whole({"tokens": [{"id": one, "piece": self._names.of(one)[0]} for one in ids]})

    async def _detokenize(self, body: bytes) -> Whole:
        wanted = read.parse(body)
        (ids,) = read.prompts_of({"prompt": wanted.get("tokens") or None}, self._loaded)
        text = self._loaded.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return Whole({"content": text})

    # --- generating ---------------------------------------------------------------------------

    async def _chat(self, body: bytes) -> Whole | Stream:
        wanted = read.parse(body)
        prompt = await asyncio.to_thread(read.chat_prompt, wanted, self._loaded)
        return await self._generate(wanted, [prompt], is_chat=True)

    async def _complete(self, body: bytes) -> Whole | Stream:
        wanted = read.parse(body)
        prompts = await asyncio.to_thread(read.prompts_of, wanted, self._loaded)
        return await self._generate(wanted, prompts, is_chat=False)

    async def _generate(
        self, wanted: Mapping[str, Any], prompts: Sequence[list[int]], *, is_chat: bool
    ) -> Whole | Stream:
        order = self._order(wanted, prompts, is_chat=is_chat)
        chunks = self._chunks(order)
        if wanted.get("stream"):
            return Stream(chunks)
        return Whole(_whole([chunk async for chunk in chunks], order))

    def _order(
        self, wanted: Mapping[str, Any], prompts: Sequence[list[int]], *, is_chat: bool
    ) -> _Order:
        num_choices = int(read.number(wanted, "n", 1))
        if not 1 <= num_choices * len(prompts) <= _MAX_CHOICES:
            raise invalid(f"'n' asks for fewer than 1 or more than {_MAX_CHOICES} answers")
        default = self._context_tokens if is_chat else _DEFAULT_MAX_TOKENS
        stops = read.stops_of(wanted)
        num_top = read.num_top_of(wanted, is_chat=is_chat)
        adapter = read.adapter_of(wanted, self._loaded.num_adapters)
        arrived: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue()
        jobs = [
            Job(
                prompt=prompt,
                max_new_tokens=read.max_new_tokens_of(
                    wanted,
                    num_prompt=len(prompt),
                    context_tokens=self._context_tokens,
                    default=default,
                ),
                sampling=read.sampling_of(
                    wanted, choice=choice, vocabulary_size=self._loaded.vocabulary_size
                ),
                stops=stops,
                end_ids=read.end_ids_of(stops, self._loaded),
                out=_Outlet(arrived, number * num_choices + choice),
                adapter=adapter,
                num_top=num_top,
                scores_prompt=num_top is not None and bool(wanted.get("echo")),
                ignores_end=bool(wanted.get("ignore_eos")),
            )
            for number, prompt in enumerate(prompts)
            for choice in range(num_choices)
        ]
        kind = "chat.completion" if is_chat else "text_completion"
        options = wanted.get("stream_options")
        return _Order(
            jobs=jobs,
            is_chat=is_chat,
            num_prompt_tokens=sum(map(len, prompts)),
            wants_usage=isinstance(options, dict) and bool(options.get("include_usage")),
            shows_progress=bool(wanted.get("return_progress")),
            arrived=arrived,
            head={
                "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{secrets.token_hex(12)}",
                "object": f"{kind}.chunk" if is_chat and wanted.get("stream") else kind,
                "created": int(time.time()),
                "model": self._alias,
            },
        )

    async def _chunks(self, order: _Order) -> AsyncGenerator[dict[str, Any]]:
        """The answers' chunks as they come. Whoever stops listening cancels the jobs."""
        try:
            for index, job in enumerate(order.jobs):
                if job.max_new_tokens == 0 and not job.scores_prompt:
                    job.out.put_nowait(Piece(finish_reason="length"))
                else:
                    self._loop.add(job)
                if order.is_chat:
                    yield _chunk(order, index, {"role": "assistant", "content": ""}, None, None)
            echoed: set[int] = set()
            num_open = len(order.jobs)
            while num_open:
                index, piece = await order.arrived.get()
                if piece.error is not None:
                    raise Refused(500, piece.error, "server_error")
                num_open -= piece.finish_reason is not None
                for chunk in self._chunks_of(order, index, piece, echoed):
                    yield chunk
            if order.wants_usage:
                yield dict(order.head) | {"choices": [], "usage": usage_of(order)}
        finally:
            for job in order.jobs:
                job.is_cancelled = True

    def _chunks_of(
        self, order: _Order, index: int, piece: Piece, echoed: set[int]
    ) -> list[dict[str, Any]]:
        job = order.jobs[index]
        logprobs = None
        text = piece.text
        if piece.tokens and job.num_top is not None:
            logprobs = {"content": [self._entry(token) for token in piece.tokens]}
        if logprobs is not None and piece.num_read:  # the prompt's own tokens
            text = "".join(str(entry["token"]) for entry in logprobs["content"])
        if not (text or logprobs or piece.finish_reason):
            return [self._progress(order, index, piece)] if order.shows_progress else []
        return [_chunk(order, index, {"content": text}, logprobs, piece.finish_reason)]

    def _progress(self, order: _Order, index: int, piece: Piece) -> dict[str, Any]:
        progress = {"total": len(order.jobs[index].prompt), "processed": piece.num_read}
        return _chunk(order, index, {}, None, None) | {"prompt_progress": progress}

    def _entry(self, token: Token) -> dict[str, Any]:
        top = [self._named(one, logprob) for one, logprob in token.top]
        return self._named(token.id, token.logprob) | {"top_logprobs": top}

    def _named(self, token: int, logprob: float | None) -> dict[str, Any]:
        text, raw = self._names.of(token)
        return {"id": token, "token": text, "bytes": raw, "logprob": logprob}


def usage_of(order: _Order) -> dict[str, Any]:
    generated = sum(job.num_new_tokens for job in order.jobs)
    return {
        "prompt_tokens": order.num_prompt_tokens,
        "completion_tokens": generated,
        "total_tokens": order.num_prompt_tokens + generated,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def _chunk(
    order: _Order, index: int, delta: dict[str, Any], logprobs: Any, finish_reason: str | None
) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": index}
    if order.is_chat:
        choice["delta"] = delta
    else:
        choice["text"] = delta.get("content", "")
    choice |= {"logprobs": logprobs, "finish_reason": finish_reason}
    return dict(order.head) | {"choices": [choice]}


def _whole(chunks: Sequence[Mapping[str, Any]], order: _Order) -> dict[str, Any]:
    """One answer from all chunks."""
    choices = [_joined(chunks, index, order) for index in range(len(order.jobs))]
    return dict(order.head) | {"choices": choices, "usage": usage_of(order)}


def _joined(chunks: Sequence[Mapping[str, Any]], index: int, order: _Order) -> dict[str, Any]:
    parts = [part for chunk in chunks for part in chunk["choices"] if part["index"] == index]
    tokens = [token for part in parts if part["logprobs"] for token in part["logprobs"]["content"]]
    has_logprobs = order.jobs[index].num_top is not None
    choice: dict[str, Any] = {
        "index": index,
        "logprobs": {"content": tokens} if has_logprobs else None,
        "finish_reason": parts[-1]["finish_reason"],
    }
    if order.is_chat:
        text = "".join(part["delta"].get("content", "") for part in parts)
        choice["message"] = {"role": "assistant", "content": text}
    else:
        choice["text"] = "".join(part["text"] for part in parts)
    return choice
