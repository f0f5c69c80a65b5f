"""`hearth show`: what is known about a model, from its weights and from the catalogue."""

from __future__ import annotations

from dataclasses import asdict
from importlib import resources
from typing import TYPE_CHECKING, Any

import click

from codehearth.cli.options import json_option, model_argument, settings_now
from codehearth.cli.output import count, facts, moment, print_data, print_json, size
from codehearth.errors import HearthError, ModelNotFound

if TYPE_CHECKING:
    from codehearth.models.catalogue import Figure, Row
    from codehearth.models.facts import Weights
    from codehearth.models.infilling import InfillProof
    from codehearth.models.store import LocalModel, Store


@click.command()
@model_argument(of="known")
@json_option
def show(model: str, as_json: bool) -> None:
    """Show what is known about a model, and what it can do.

    Its facts from the weights where it is here; licence, sources and published figures from the
    catalogue.
    """
    from codehearth.cli.shelf import store_of

    document = _document(store_of(settings_now()), model)
    if as_json:
        print_json(document)
        return
    print_data("\n".join(_lines(document)))


def _document(store: Store, text: str) -> dict[str, Any]:
    """All that is known; raises ModelNotFound for what is neither here nor in the catalogue."""
    from codehearth.models.catalogue import lookup

    try:
        local = store.find(text, allow_path=True)
    except ModelNotFound as error:
        try:
            row = lookup(text)
        except HearthError:
            raise error from None
        return {"name": row.name, "is_here": False} | _of_row(row)
    from codehearth.models.infilling import InfillProofs
    from codehearth.models.weights import weights_here

    weights = weights_here(local)
    proof = InfillProofs(settings_now().data).find(local.path)
    return (
        {"name": local.name, "is_here": True}
        | (_of_row(local.row) if local.row else {})
        | _of_weights(weights, local.row)
        | {"infilling": _of_infilling(weights, local.row, proof)}
        | _of_disk(local)
        | _of_tuning(store, local)
    )


def _of_row(row: Row) -> dict[str, Any]:
    return {
        "title": row.title,
        "family": row.family,
        "kind": row.kind,
        "num_parameters": row.num_parameters,
        "num_active_parameters": row.num_active_parameters,
        "context_tokens": row.context_tokens,
        "licence": row.licence,
        "released": row.released,
        "can_chat": row.kind == "chat",
        "can_infill": row.fim is not None,
        "can_embed": row.kind == "embedding",
        "precisions": list(row.precisions),
        "sources": sorted({*_repositories(row)}),
        "figures": [_figure(figure) for figure in row.figures],
        "note": row.note,
    }


def _of_tuning(store: Store, local: LocalModel) -> dict[str, Any]:
    """Where a tuned model comes from; its base's figures and sources are not its own."""
    from codehearth.models.tuned import split_form

    tuned = store.tuned.get(split_form(local.name)[0])
    if local.source != "tuned" or tuned is None:
        return {}
    versions = [one.version for one in store.tuned.versions(tuned.name)]
    return {
        "title": None,
        "released": None,
        "precisions": [],
        "sources": [],
        "figures": [],
        "note": None,
        "tuned": {**asdict(tuned), "versions": versions},
    }


def _repositories(row: Row) -> list[str]:
    found = []
    for files in row.files:
        found += [f"hf:{files.huggingface}"] if files.huggingface else []
        found += [f"ms:{files.modelscope}"] if files.modelscope else []
    return found


def _figure(figure: Figure) -> str:
    return (
        f"{figure.benchmark} {figure.metric}: {figure.value:g} "
        f"at {figure.precision} ({figure.source})"
    )


def _of_weights(weights: Weights, row: Row | None) -> dict[str, Any]:
    from codehearth.text.fim import fim_format_of

    fim = fim_format_of(weights.fim_marks, preferred=row.fim if row else None)
    return {
        "architecture": weights.architecture,
        "num_parameters": weights.num_parameters,
        "precision": weights.precision,
        "bits_per_weight": round(weights.bits_per_weight, 2),
        "num_layers": weights.num_layers,
        "embedding_size": weights.embedding_size,
        "vocabulary_size": weights.vocabulary_size,
        "context_tokens": weights.context_tokens,
        "can_chat": bool(weights.chat_template) and not weights.is_embedding_model,
        "can_infill": fim is not None,
        "can_embed": weights.is_embedding_model,
    } | ({"licence": weights.licence} if weights.licence and row is None else {})


def _of_infilling(
    weights: Weights, row: Row | None, proof: InfillProof | None
) -> dict[str, Any] | None:
    """The family's format and its tokens, and what came of asking the model; None without one."""
    from codehearth.text.fim import fim_format_of

    name = fim_format_of(weights.fim_marks, preferred=row.fim if row else None)
    if name is None:
        return None
    return {
        "format": name,
        "marks": dict(sorted(weights.fim_ids.items(), key=lambda pair: pair[1])),
        "adds_bos": weights.add_bos,
        "proof": asdict(proof) if proof and proof.format == name else None,
    }


def _of_disk(local: LocalModel) -> dict[str, Any]:
    return {
        "format": local.format,
        "source": local.source,
        "revision": local.revision,
        "num_bytes": local.num_bytes,
        "path": str(local.path),
        "files": list(local.files),
        "created_at": local.created_at,
        "description": _description() if local.source == "package" else None,
    }


def _description() -> str:
    """What the packaged model says about itself, without the packages it learnt from."""
    text = resources.files("codehearth.data").joinpath("starter.md").read_text("utf-8")
    return text.partition("\n## Data\n")[0].strip()


def _lines(document: dict[str, Any]) -> list[str]:
    abilities = [
        word
        for key, word in (
            ("can_chat", "chat"),
            ("can_infill", "fill in the middle"),
            ("can_embed", "embed"),
        )
        if document.get(key)
    ]
    active = document.get("num_active_parameters")
    parameters = count(document["num_parameters"]) + (
        f" ({count(active)} active)" if active else ""
    )
    created_at = document.get("created_at")
    pairs = {
        "name": document["name"],
        "title": document.get("title"),
        "parameters": parameters,
        "precision": document.get("precision"),
        "context": f"{document['context_tokens']} tokens",
        "can": ", ".join(abilities) or "continue text",
        "infilling": _infilling(document.get("infilling")),
        "architecture": document.get("architecture"),
        "licence": document.get("licence"),
        "released": document.get("released"),
        "here": _here(document),
        "tuned": _tuned(document.get("tuned")),
        "since": moment(created_at) if created_at else None,
        "path": document.get("path"),
        "revision": document.get("revision"),
        "precisions": ", ".join(document.get("precisions", ())),
        "note": document.get("note"),
    }
    lines = facts(pairs)
    for title in ("sources", "figures"):
        if entries := document.get(title):
            lines += ["", f"{title}:", *(f"  {entry}" for entry in entries)]
    if document.get("description"):
        lines += ["", document["description"]]
    return lines


def _tuned(tuned: dict[str, Any] | None) -> str | None:
    if tuned is None:
        return None
    return (
        f"from {tuned['base']}, version {tuned['version']} of {len(tuned['versions'])}; "
        f"data {tuned['data_sha256'][:12]}, seed {tuned['seed']}"
    )


def _infilling(known: dict[str, Any] | None) -> str | None:
    """What is known about infilling, in a line."""
    if known is None:
        return None
    proof = known["proof"]
    if proof is None:
        return f"{known['format']} format; not tried yet, it is when the model is served"
    if proof["problems"]:
        return f"{known['format']} format; {'; '.join(proof['problems'])}"
    when = moment(proof["proven_at"])
    if proof["is_right"]:
        return f"{known['format']} format, proven with {proof['engine']} on {when}"
    return (
        f"{known['format']} format; asked for a middle with a known answer on {when}, "
        f"it wrote {proof['answer'].strip()!r}"
    )


def _here(document: dict[str, Any]) -> str:
    if not document["is_here"]:
        return f"no; `hearth pull {document['name']}` fetches it"
    return f"{size(document['num_bytes'])} from {document['source']}"
