"""A name to a model on disk: found, listed, fetched, checked, removed.

Finding and listing never reach for the network and import no hub's library: a model that is on
disk starts offline.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from codehearth.errors import (
    BadWeights,
    DiskFull,
    HubFailed,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    Unsupported,
)
from codehearth.models import local_models, transfer
from codehearth.models.catalogue import lookup
from codehearth.models.hub_choice import forget_hub, hub_order
from codehearth.models.hubs import (
    HUB_TITLES,
    DownloadBroken,
    HubClient,
    HubPreference,
    HubUnreachable,
    hub_places,
    worst_of,
)
from codehearth.models.local_models import LocalModel
from codehearth.models.made import Made
from codehearth.models.names import CatalogueName, Hub, HubName, PathName, parse_name
from codehearth.models.progress import Progress, ProgressCallback
from codehearth.models.pull import FreeBytes, Pulled, free_bytes_at, pull_model
from codehearth.models.records import Recorded, Records
from codehearth.models.shelf import Shelf
from codehearth.models.sources import Source, sources_of
from codehearth.models.starter_checkpoint import StarterCheckpoint, WriteCheckpoint
from codehearth.models.tuned import Tuned, split_form

__all__ = ["LocalModel", "Progress", "Store", "Verified"]


@dataclass(frozen=True)
class Verified:
    """One file's check. "unknown": no hash was ever named for it."""

    file: str
    num_bytes: int
    state: Literal["ok", "damaged", "missing", "unknown"]
    expected: str | None = None
    actual: str | None = None


def _ignore(_: Progress) -> None:
    """For callers who do not watch."""


def _cannot_write(_gguf: Path, _folder: Path) -> None:
    raise Unsupported("This store makes no checkpoints.", param="model")


class Store:
    """The models of this machine. Synchronous: callers put slow calls into a thread.

    `named_paths` are models of the configuration, `remote_names` those of other servers.
    `allow_code` maps `org/repo` (or the name of a path) to the one revision whose own Python code
    may be fetched and loaded. `environment` holds the hubs' variables; `free_bytes` tells how much
    room a folder's disk has; `write_checkpoint` makes the starter's checkpoint of its GGUF.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        hub: HubPreference = "auto",
        named_paths: Mapping[str, Path] | None = None,
        allow_code: Mapping[str, str] | None = None,
        remote_names: Collection[str] = (),
        environment: Mapping[str, str] | None = None,
        free_bytes: FreeBytes = free_bytes_at,
        write_checkpoint: WriteCheckpoint = _cannot_write,
    ) -> None:
        self.places = hub_places(os.environ if environment is None else environment)
        self._preference = hub
        self._allow_code = dict(allow_code or {})
        self._records = Records(data_dir / "models.json")
        self.made = Made(data_dir / "made")
        self.tuned = Tuned(data_dir / "tuned")
        self.starter_checkpoint = StarterCheckpoint(data_dir, write_checkpoint)
        self._shelf = Shelf(
            self.places,
            self._records,
            named_paths or {},
            self.made,
            self.tuned,
            self.starter_checkpoint,
            remote_names,
        )
        self._hub_memory = data_dir / "hub.json"
        self._free_bytes = free_bytes

    def models(self) -> tuple[LocalModel, ...]:
        """Every model that a client may ask for, the starter first."""
        return self._shelf.models()

    def find(self, text: str, *, allow_path: bool = False, runs_code: bool = True) -> LocalModel:
        """The model that `text` names, whole as far as can be seen without hashing. The starter's
        checkpoint is made now, where it is not there.

        `runs_code` false: its numbers will be read, and none of the code that it carries is run.
        Raises InvalidRequest for what is no name, ModelNotFound with near names or with the
        command that fetches it, BadWeights for files that are damaged or carry code, DiskFull.
        """
        model = self._made_now(self.locate(text, allow_path=allow_path))
        if runs_code:
            return self._sound(model)
        local_models.require_whole(model)
        return model

    def served_by(self, process: str) -> tuple[LocalModel, ...]:
        """The models that a process of this name serves: one, or all adapters on one base.

        Of adapters those that are whole, so that a damaged one takes no other with it. Raises as
        `find` does.
        """
        sharing = map(self._made_now, self._shelf.sharing(process))
        return tuple(one for one in sharing if _is_whole(one)) or (self.find(process),)

    def locate(self, text: str, *, allow_path: bool = False) -> LocalModel:
        """`find` without its checks, and nothing is made: to verify or remove what is damaged."""
        return self._shelf.locate(text, allow_path=allow_path)

    def pull(
        self,
        text: str,
        *,
        progress: ProgressCallback = _ignore,
        allow_path: bool = False,
    ) -> LocalModel:
        """The model, fetched if it is not here. One that is here stays at its commit;
        `NAME@REVISION` moves it.

        Whatever `progress` raises stops the download; it goes on from there the next time.
        Raises as `find` does, and HubFailed, DiskFull.
        """
        if self._shelf.is_own_name(text):
            return self.find(text)
        name = parse_name(text, allow_path=allow_path)
        if isinstance(name, PathName):
            return self.find(text, allow_path=True)
        pinned = self._here(name)
        if pinned is not None and (pinned.hub is None or _is_whole(pinned)):
            progress(Progress("done", "", pinned.num_bytes, pinned.num_bytes))
            return self._sound(pinned)
        if self.places.is_offline:
            return self._find_offline(text)
        try:
            recorded = self._pull(name, pinned, progress)
        except HubUnreachable as error:
            return self._here_anyway(text, progress, error)
        try:
            self._records.put(recorded)
        except DiskFull as error:
            # The model is whole and is found in the cache; only its hashes are not remembered.
            progress(Progress("plan", note=error.message))
        model = local_models.from_record(recorded)
        assert model is not None
        return self._sound(model)

    def remember(self, recorded: Recorded) -> None:
        """A model that came here by another way than `pull`; raises DiskFull."""
        self._records.put(recorded)

    def verify(self, text: str, *, allow_path: bool = False) -> tuple[Verified, ...]:
        """Every file of a model, checked against the hash that is known for it."""
        model = self.locate(text, allow_path=allow_path)
        return tuple(_verified(model, file) for file in model.files)

    def remove(self, text: str) -> int:
        """Deletes a model that was made or tuned here (with all its versions), or a downloaded one
        from its hub's cache, or the starter's checkpoint; the number of bytes freed.

        Raises InvalidRequest for a model that is not ours to delete, NotFound where there is none.
        """
        if self.tuned.get(split_form(text)[0]) is not None:
            return self.tuned.remove(split_form(text)[0])
        model = self.locate(text)
        self.check_removable(model)
        if self._is_starter_checkpoint(model):
            return self.starter_checkpoint.remove()
        if model.source == "made":
            made = self.made.get(model.name)
            assert made is not None
            return self.made.remove(made)
        assert model.hub is not None
        freed = self._client(model.hub).remove(model.folder, self._own_files(model))
        self._records.drop(model.name)
        return freed

    def check_removable(self, model: LocalModel) -> None:
        """Raises InvalidRequest for a model that is not ours to delete, NotFound for the starter's
        checkpoint where it was never made."""
        if self._is_starter_checkpoint(model):
            if not model.folder.exists():
                raise NotFound(
                    f"'{model.name}' takes no room: it is made when it is first wanted.",
                    param="model",
                )
            return
        if model.hub is None and model.source not in ("made", "tuned"):
            raise InvalidRequest(
                f"'{model.name}' was not downloaded by CodeHearth, so it is not deleted.",
                hint="delete its files yourself, and its line in the configuration",
                param="model",
            )

    def require_free_name(self, name: str) -> None:
        """Raises InvalidRequest where a name means a model that was not tuned here."""
        if self.tuned.get(name) is not None:
            return
        is_known = self._shelf.is_own_name(name)
        if not is_known:
            try:
                lookup(name)
                is_known = True
            except ModelNotFound:
                is_known = any(one.name.lower() == name.lower() for one in self.models())
        if is_known:
            raise InvalidRequest(
                f"'{name}' is the name of another model.", hint="take another --name", param="name"
            )

    def discard(self, text: str) -> int:
        """Deletes what half-done pulls of a model left in the hubs' caches, and what a stopped
        quantisation left; the bytes freed."""
        name = parse_name(text)
        if isinstance(name, PathName):
            return 0
        if freed := self.made.discard(text):
            return freed
        sources = sources_of(name).values()
        return sum(self._client(one.hub).discard(one.repo, one.revision) for one in sources)

    def _is_starter_checkpoint(self, model: LocalModel) -> bool:
        return model.folder == self.starter_checkpoint.folder and model.adapter is None

    def _made_now(self, model: LocalModel) -> LocalModel:
        """The same model; if it is the starter's checkpoint or an adapter on that, its files are
        there now."""
        if model.folder != self.starter_checkpoint.folder:
            return model
        made = self.starter_checkpoint.whole()
        return replace(
            model, files=made.files, sizes=made.sizes, sha256=made.sha256,
            num_bytes=made.num_bytes, created_at=made.created_at,
        )  # fmt: skip

    def _sound(self, model: LocalModel) -> LocalModel:
        local_models.require_whole(model)
        allows = self._allows_code(model.repo or model.name, model.revision or "path")
        local_models.require_no_code(model, allows=allows)
        return model

    def _here(self, name: CatalogueName | HubName) -> LocalModel | None:
        """The model as it was pulled before or came with the package, unless another revision is
        asked for."""
        if name.revision is not None:
            return None
        try:
            model = self._shelf.locate_name(name)
        except ModelNotFound:
            return None
        is_ours = model.hub is None or self._records.get(model.name) is not None
        return model if is_ours else None

    def _pull(
        self,
        name: CatalogueName | HubName,
        pinned: LocalModel | None,
        progress: ProgressCallback,
    ) -> Recorded:
        """Asks one hub after the other, until one has the model."""
        problems: list[HubFailed | ModelNotFound] = []
        for source in self._sources(name, pinned):
            if problems:
                title = HUB_TITLES[source.hub]
                progress(Progress("plan", note=f"{problems[-1].message} {title} is asked instead."))
            try:
                pulled = pull_model(
                    self._client(source.hub),
                    source.repo,
                    source.revision,
                    source.wanted,
                    progress=progress,
                    allows_code=self._allows_code,
                    free_bytes=self._free_bytes,
                )
                return _record(source, pulled)
            except DownloadBroken:
                raise
            except (HubFailed, ModelNotFound) as error:
                if isinstance(error, HubUnreachable):
                    forget_hub(self._hub_memory)
                problems.append(error)
        raise worst_of(problems)

    def _sources(
        self, name: CatalogueName | HubName, pinned: LocalModel | None
    ) -> tuple[Source, ...]:
        sources = sources_of(name)
        if pinned is not None and pinned.hub is not None and pinned.hub in sources:
            return (replace(sources[pinned.hub], revision=pinned.revision),)
        if isinstance(name, HubName) or (self._preference == "auto" and len(sources) < 2):
            return tuple(sources.values())
        order = hub_order(self._preference, self.places, self._hub_memory)
        allowed = tuple(sources[hub] for hub in order if hub in sources)
        if not allowed:
            raise HubFailed(
                f"'{name}' is not on {HUB_TITLES[order[0]]}, the only hub that is allowed.",
                hint="set hub to auto",
            )
        return allowed

    def _here_anyway(
        self, text: str, progress: ProgressCallback, error: HubUnreachable
    ) -> LocalModel:
        """A model that another program brought serves, even if no hub can be asked about it."""
        try:
            model = self.find(text)
        except ModelNotFound:
            raise error from None
        progress(Progress("plan", note=f"{error.message} What is here is used, unchecked."))
        progress(Progress("done", "", model.num_bytes, model.num_bytes))
        return model

    def _find_offline(self, text: str) -> LocalModel:
        try:
            return self.find(text)
        except ModelNotFound as error:
            raise HubFailed(
                f"'{error.name}' is not here, and HF_HUB_OFFLINE forbids to fetch it.",
                hint="unset HF_HUB_OFFLINE, or copy the files here and name their path",
            ) from error

    def _client(self, hub: Hub) -> HubClient:
        if hub == "huggingface":
            from codehearth.models.huggingface import HuggingFace

            return HuggingFace(self.places)
        from codehearth.models.modelscope import ModelScope

        return ModelScope(self.places)

    def _allows_code(self, repo: str, commit: str) -> bool:
        allowed = self._allow_code.get(repo)
        return allowed is not None and (
            allowed == commit or (len(allowed) >= 12 and commit.startswith(allowed))
        )

    def _own_files(self, model: LocalModel) -> tuple[str, ...]:
        """The files that no other model of the same folder needs."""
        shared = {
            file
            for other in self._shelf.downloaded()
            if other.name != model.name and other.folder == model.folder
            for file in other.files
        }
        return tuple(file for file in model.files if file not in shared)


def _is_whole(model: LocalModel) -> bool:
    try:
        local_models.require_whole(model)
    except BadWeights:
        return False
    return True


def _record(source: Source, pulled: Pulled) -> Recorded:
    return Recorded(
        name=local_models.local_name(
            source.hub, source.repo, pulled.format, pulled.precision, pulled.main
        ),
        hub=source.hub,
        repo=source.repo,
        revision=pulled.listing.revision,
        commit=pulled.listing.commit,
        format=pulled.format,
        precision=pulled.precision,
        folder=str(pulled.folder.absolute()),
        main=pulled.main,
        files=pulled.files,
        created_at=pulled.created_at,
    )


def _verified(model: LocalModel, file: str) -> Verified:
    path = model.folder / file
    expected = model.sha256.get(file)
    if not path.is_file():
        return Verified(file, 0, "missing", expected)
    size = path.stat().st_size
    actual = transfer.file_digest(path, "sha256")
    if expected is None:
        return Verified(file, size, "unknown", None, actual)
    return Verified(file, size, "ok" if actual == expected else "damaged", expected, actual)
