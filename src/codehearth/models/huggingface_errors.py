"""What `huggingface_hub` raises, in our words.

The library's texts may hold signed addresses and paths: none of them is kept, only its types.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codehearth.errors import HearthError, HubFailed, ModelNotFound
from codehearth.models import transfer
from codehearth.models.hubs import HubUnreachable

DEFAULT_REVISION = "main"


@contextmanager
def translated(repo: str, revision: str) -> Iterator[None]:
    """Turns what the library raises within the block into errors of the house."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except HearthError:
        raise
    except errors.GatedRepoError as error:
        raise HubFailed(
            f"'{repo}' is only for those who accepted its licence.",
            hint=f"accept it on the page of {repo}, then set HF_TOKEN",
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise _not_found(repo, revision) from error
    except errors.RemoteEntryNotFoundError as error:
        raise HubFailed(f"A file of '{repo}' is gone from the hub.") from error
    except errors.OfflineModeIsEnabled as error:
        raise HubFailed("HF_HUB_OFFLINE forbids to reach the hub.") from error
    except errors.HfHubHTTPError as error:
        raise _http_error(repo, revision, error.response.status_code) from error
    except (httpx2.HTTPError, transfer.ConnectionLost, errors.LocalEntryNotFoundError) as error:
        raise HubUnreachable(
            f"Hugging Face could not be reached ({type(error).__name__}).",
            hint="HF_ENDPOINT names a mirror; ms:org/repo pulls from ModelScope",
        ) from error
    except OSError as error:
        full = transfer.disk_full(error, Path(repo))
        if full is None:
            raise HubFailed(f"The cache cannot be written: {error.strerror}.") from error
        raise full from error


def _http_error(repo: str, revision: str, status: int) -> HearthError:
    if status == 404:
        return _not_found(repo, revision)
    if status in (401, 403):
        return HubFailed(
            f"The hub does not show '{repo}' to us ({status}).",
            hint="it is private, gated or misspelt; HF_TOKEN must be allowed to read it",
        )
    if status == 429:
        return HubFailed("The hub asks us to wait (429).", hint="set HF_TOKEN, or try again later")
    if status >= 500:
        return HubUnreachable(f"The hub is in trouble ({status}).", hint="try again later")
    return HubFailed(f"The hub answered {status} for '{repo}'.")


def _not_found(repo: str, revision: str) -> ModelNotFound:
    where = "" if revision == DEFAULT_REVISION else f"@{revision}"
    return ModelNotFound(
        f"hf:{repo}{where}",
        hint="check the spelling on the hub; a private repository needs HF_TOKEN",
    )
