"""The shape of an order to tune a model, as the page gives it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from codehearth.wire.requests import ModelId, Shape

MAX_ROWS_BYTES = 64 * 2**20

FileName = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]{1,120}$")]
TunedName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class RowsFile(Shape):
    """A file of rows that was chosen in the browser, as text."""

    name: FileName
    content: Annotated[str, Field(max_length=MAX_ROWS_BYTES)]


class Numbers(Shape):
    """Hyperparameters; what is left out comes from the preset of the model's size."""

    rank: Annotated[int, Field(ge=1, le=1024)] | None = None
    alpha: Annotated[int, Field(ge=1, le=4096)] | None = None
    dropout: Annotated[float, Field(ge=0, le=0.9)] | None = None
    max_tokens: Annotated[int, Field(ge=8, le=2**20)] | None = None
    batch: Annotated[int, Field(ge=1, le=1024)] | None = None
    accumulation: Annotated[int, Field(ge=1, le=4096)] | None = None
    epochs: Annotated[float, Field(gt=0, le=1000)] | None = None
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    checkpointing: bool | None = None
    packing: bool | None = None
    rehearsal: Annotated[float, Field(ge=0, le=10)] | None = None
    patience: Annotated[int, Field(ge=0, le=1000)] | None = None
    save_steps: Annotated[int, Field(ge=1, le=10**6)] | None = None


class TuneRequest(Shape):
    """Rows come from `file`, from `path` (a file of the server) or from `repo` (a folder
    there); a `path` that is a folder is one, too.

    `evaluate` is the suite that base and result are asked at last.
    """

    model: ModelId
    name: TunedName | None = None
    file: RowsFile | None = None
    path: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    repo: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    system: Annotated[str, Field(max_length=2**16)] | None = None
    expect: Annotated[str, Field(max_length=1000)] | None = None
    held_share: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    evaluate: Literal["auto", "tasks", "humaneval", "none"] = "auto"
    quantise: Literal["int8", "int4"] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    numbers: Numbers = Numbers()
    dry_run: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.file, self.path, self.repo)) != 1:
            raise ValueError("name one of file, path and repo")
        return self
