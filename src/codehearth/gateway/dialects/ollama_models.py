"""Ollama's routes about models: what is here, what is loaded, what one can do; and embeddings.

Models are fetched, made and removed by `hearth`, not over HTTP: those routes say so.
"""

from __future__ import annotations

import asyncio
import time
from hashlib import sha256
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth import __version__
from codehearth.errors import InvalidRequest, Unsupported, UpstreamFailed
from codehearth.gateway.auth import caller_of
from codehearth.gateway.body import read_request
from codehearth.gateway.dialects.ollama_names import name_of, rfc3339
from codehearth.gateway.engine.link import engine_json
from codehearth.gateway.house import house_of
from codehearth.gateway.replies import JsonResponse
from codehearth.gateway.streams import Generation, Writer
from codehearth.models.facts import Weights
from codehearth.models.store import LocalModel
from codehearth.models.weights import read_weights
from codehearth.pool.status import ModelStatus
from codehearth.text.fim import fim_format_of
from codehearth.text.fim_formats import FIM_FORMATS
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.ollama import EmbedRequest, ShowRequest

router = APIRouter()

_FOREVER_S = 100 * 365 * 24 * 3600.0


@router.get("/api/version")
async def version() -> Response:
    """The version that Ollama's clients look at."""
    return JsonResponse({"version": __version__})


@router.get("/api/tags")
async def tags(request: Request) -> Response:
    """The models on this machine, as Ollama lists them."""
    models = await house_of(request).models()
    return JsonResponse({"models": [_entry(model) for model in models]})


@router.get("/api/ps")
async def ps(request: Request) -> Response:
    """The models that serve now."""
    house = house_of(request)
    await house.pool.measure()
    known = {model.name: model for model in await house.models()}
    entries = []
    for status in house.pool.status():
        if status.state != "ready" or status.name not in known:  # deleted while it still serves
            continue
        stays_s = _FOREVER_S if status.expires_in_s is None else status.expires_in_s
        entry = _entry(known[status.name])
        entry.pop("modified_at")
        entry |= {
            "size": status.memory_bytes + status.gpu_bytes,
            "size_vram": status.gpu_bytes,
            "expires_at": rfc3339(time.time() + stays_s),
            "context_length": status.context_tokens,
        }
        entries.append(entry)
    return JsonResponse({"models": entries})


@router.post("/api/show")
async def show(request: Request) -> Response:
    """What a model is; `template` names `.Suffix` where it can infill, which editors look for."""
    house, asked = house_of(request), await read_request(request, ShowRequest)
    name = asked.model or asked.name
    if name is None:
        raise InvalidRequest("'model' is missing.", param="model")
    model = await house.find(await name_of(house, name))
    weights = await asyncio.to_thread(read_weights, model.path)
    live = await house.live(model.name)
    return JsonResponse(_shown(model, weights, live))


@router.post("/api/embed")
async def embed(request: Request) -> Response:
    """Vectors of texts, in Ollama's shape."""
    house, asked = house_of(request), await read_request(request, EmbedRequest)
    model = await name_of(house, asked.model)
    owner, keep_alive_s = caller_of(request).owner, house.keep_alive_s(asked.keep_alive)
    began_at = time.monotonic()

    async def work(writer: Writer) -> None:
        async with house.lease(model, owner=owner, keep_alive_s=keep_alive_s) as lease:
            if not lease.model.weights.is_embedding_model:
                raise Unsupported("This model does not make embeddings.", param="model")
            body = dump_json({"input": asked.input, "encoding_format": "float"})
            answer = await engine_json(lease.endpoint, "/v1/embeddings", body)
        try:
            vectors = [item["embedding"] for item in answer["data"]]
            num_tokens = int(answer["usage"]["prompt_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise UpstreamFailed("The engine's embeddings are not in OpenAI's shape.") from error
        made = {
            "model": model,
            "embeddings": vectors,
            "total_duration": int((time.monotonic() - began_at) * 10**9),
            "load_duration": 0,
            "prompt_eval_count": num_tokens,
        }
        await writer.whole(dump_json(made))

    return Generation(work, on_gone=house.metrics.cancelled.inc)


@router.post("/api/pull")
@router.post("/api/push")
@router.post("/api/create")
@router.post("/api/copy")
@router.delete("/api/delete")
async def not_over_http(request: Request) -> Response:
    """Refused: whoever may complete text shall not fill or empty the disk."""
    verb = request.url.path.rpartition("/")[2]
    command = {"pull": "hearth pull NAME", "delete": "hearth rm NAME"}.get(verb)
    raise Unsupported(
        f"This server does not {verb} models over HTTP.",
        hint=f"on its machine, run `{command}`" if command else None,
    )


def _entry(model: LocalModel) -> dict[str, Any]:
    digest = next(iter(model.sha256.values()), "") or sha256(model.name.encode()).hexdigest()
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": rfc3339(model.created_at),
        "size": model.num_bytes,
        "digest": digest,
        "details": _details(model),
    }


def _details(model: LocalModel) -> dict[str, Any]:
    family = model.row.family if model.row else ""
    return {
        "parent_model": "",
        "format": model.format,
        "family": family,
        "families": [family] if family else [],
        "parameter_size": "",
        "quantization_level": model.precision or "",
    }


def _shown(model: LocalModel, weights: Weights, live: ModelStatus | None) -> dict[str, Any]:
    format_name = fim_format_of(weights.fim_marks, preferred=model.row.fim if model.row else None)
    return {
        "modelfile": f"FROM {model.name}\n",
        "parameters": f"num_ctx {live.context_tokens}" if live else "",
        "template": _template(format_name),
        "license": weights.licence or "",
        "modified_at": rfc3339(model.created_at),
        "details": _details(model) | {"parameter_size": _in_words(weights.num_parameters)},
        "model_info": _model_info(weights),
        "capabilities": _capabilities(weights, can_infill=format_name is not None),
    }


def _template(format_name: str | None) -> str:
    """In Ollama's language, as far as its clients read it; the chat part is the engine's work."""
    if format_name is None:
        return "{{ .Prompt }}"
    layout = FIM_FORMATS[format_name]
    before, after = layout.prefix_mark + "{{ .Prompt }}", layout.suffix_mark + "{{ .Suffix }}"
    first, second = (after, before) if layout.is_suffix_first else (before, after)
    middle = first + second + layout.middle_mark
    return "{{ if .Suffix }}" + middle + "{{ else }}{{ .Prompt }}{{ end }}"


def _model_info(weights: Weights) -> dict[str, Any]:
    kind = weights.architecture
    return {
        "general.architecture": kind,
        "general.basename": weights.name,
        "general.parameter_count": weights.num_parameters,
        f"{kind}.block_count": weights.num_layers,
        f"{kind}.context_length": weights.context_tokens,
        f"{kind}.embedding_length": weights.embedding_size,
        f"{kind}.feed_forward_length": weights.feed_forward_size,
        f"{kind}.attention.head_count": weights.num_heads,
        f"{kind}.attention.head_count_kv": weights.num_kv_heads,
    }


def _capabilities(weights: Weights, *, can_infill: bool) -> list[str]:
    if weights.is_embedding_model:
        return ["embedding"]
    template = weights.chat_template or ""
    told = {"insert": can_infill, "tools": "tools" in template, "thinking": "<think>" in template}
    return ["completion", *(name for name, is_so in told.items() if is_so)]


def _in_words(num_parameters: int) -> str:
    if num_parameters >= 10**9:
        return f"{num_parameters / 10**9:.1f}B"
    return f"{num_parameters / 10**6:.1f}M"
