"""A Hub id or a folder -> a complete local folder, pinned to a commit."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .errors import HubUnreachableError, ModelError
from .telemetry import disable_telemetry

REQUIRED = ("config.json", "preprocessor_config.json")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_ONNX = ("onnx/model.onnx", "onnx/model_quantized.onnx")  # the second for browsers
_DOWNLOADED = [*REQUIRED, "model*.safetensors", WEIGHTS[1], *_ONNX, "README.md", "report.json", "figures/*"]
_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class ModelSource:
    """Where a model came from.

    Attributes:
        folder: the local folder that holds it.
        model_id: the Hub id, or the name of the folder.
        revision: the full commit hash on the Hub; None for a folder.
        origin: "folder", "hub" when the Hub was asked, "cache" when it could not be reached.
        notice: a sentence for people where this is not quite what was asked for, else "".
    """

    folder: Path
    model_id: str
    revision: str | None
    origin: Literal["folder", "hub", "cache"]
    notice: str = ""


def resolve_model(model: str | Path, revision: str | None = None) -> ModelSource:
    """Find a model and make sure it is complete.

    Args:
        model: a folder, or a Hub id "user/name", also "user/name@revision". A folder that exists wins.
        revision: a branch, tag or commit; the default branch without it. It is pinned to the commit it stands for.

    Raises:
        HubUnreachableError: no network and nothing cached.
        ModelError: there is no such folder, repository or revision, no access, or a file is missing or damaged.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return ModelSource(_complete(folder), folder.resolve().name, None, "folder")
    if folder.exists():
        raise ModelError(f"{folder} is a file. Expected the folder that holds it, or a Hub id such as user/name.")
    model_id, _, pinned = str(model).partition("@")
    return _from_hub(model_id, revision or pinned or None)


def _from_hub(model_id: str, revision: str | None) -> ModelSource:
    """Ask the Hub; where it does not answer, take what an earlier answer left in its cache."""
    disable_telemetry()
    try:
        folder = _download(model_id, _find_commit(model_id, revision))
        notice = ""
    except HubUnreachableError as error:
        folder = _find_cached(model_id, revision)
        notice = f"{error} Serving {model_id}@{folder.name[:8]} from the cache."
    _verify(folder, model_id)
    source = ModelSource(_complete(folder, model_id), model_id, folder.name, "cache" if notice else "hub", notice)
    if not notice:  # only a whole, sound download becomes what the cache serves for this name
        _write_ref(folder, revision or "main")
    return source


def _find_commit(model_id: str, revision: str | None) -> str:
    import httpx2
    from huggingface_hub import model_info
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return str(model_info(model_id, revision=revision, timeout=_TIMEOUT).sha)
    except HFValidationError:
        raise ModelError(f"There is no folder {model_id}, and it is no Hub id of the form user/name either.") from None
    except GatedRepoError:
        raise _gated(model_id) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"There is neither a folder {model_id} here nor a model of that id on the Hub. "
            "Check the spelling; for a private model log in with `hf auth login`."
        ) from None
    except RevisionNotFoundError:
        raise ModelError(f"{model_id} has no revision {revision}. Name a branch, a tag or a commit of it.") from None
    except HfHubHTTPError as error:
        if (status := error.response.status_code) in (401, 403):
            raise ModelError(
                f"The Hub refuses {model_id} ({status}): the token in HF_TOKEN or of `hf auth login` is wrong, has "
                "expired, or lacks the right to read it. Renew it, or unset it for a public model."
            ) from None
        raise HubUnreachableError(f"The Hub is out of order ({status}).") from None
    except (httpx2.HTTPError, OfflineModeIsEnabled):
        raise HubUnreachableError("The Hub cannot be reached.") from None


def _download(model_id: str, commit: str) -> Path:
    import httpx2
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model_id, revision=commit, allow_patterns=_DOWNLOADED, local_files_only=False))
    except GatedRepoError:  # everybody may read its description
        raise _gated(model_id) from None
    except (httpx2.HTTPError, LocalEntryNotFoundError):
        raise HubUnreachableError(f"The download of {model_id} broke off.") from None
    except OSError as error:
        raise ModelError(f"{model_id} could not be stored ({error}). Make room, or set HF_HOME elsewhere.") from error


def _find_cached(model_id: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model_id, revision=revision, allow_patterns=_DOWNLOADED, local_files_only=True))
    except LocalEntryNotFoundError:
        raise HubUnreachableError(
            f"There is no folder {model_id} here, the Hub cannot be reached, and {model_id}"
            f"{f'@{revision}' if revision else ''} is not in its cache. Check the spelling or the network."
        ) from None


def _gated(model_id: str) -> ModelError:
    return ModelError(f"{model_id} is gated. Ask for access on its page, then log in with `hf auth login`.")


def _verify(folder: Path, model_id: str) -> None:
    """Compare each file with the Hub's checksum, which is its name in the cache: SHA-256 of LFS files, else git's.

    A damaged file is removed from the cache, so that the next start downloads it again.
    """
    from huggingface_hub.utils.sha import git_hash

    for link in folder.rglob("*"):
        file, found = link.resolve(), ""
        if file.is_file() and len(file.name) == 64:
            with file.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        elif file.is_file() and len(file.name) == 40:
            found = git_hash(file.read_bytes())
        if found and found != file.name:
            file.unlink()
            link.unlink()
            raise ModelError(
                f"{link.name} of {model_id} is damaged: expected the checksum {file.name[:12]}, got {found[:12]}. "
                "It was removed from the cache; load the model again to download it again."
            )


def _write_ref(folder: Path, revision: str) -> None:
    """Record in the Hub's cache which commit a branch or tag stands for, so that it is found without a network."""
    if revision == folder.name:
        return
    ref = folder.parents[1] / "refs" / revision
    with suppress(OSError):  # a cache that cannot be written serves all the same
        ref.parent.mkdir(parents=True, exist_ok=True)
        temporary = ref.with_name(f"{ref.name}.{os.getpid()}")
        temporary.write_text(folder.name, encoding="utf-8")
        temporary.replace(ref)


def _complete(folder: Path, name: str | None = None) -> Path:
    missing = [file for file in REQUIRED if not (folder / file).is_file()]
    if not any((folder / file).is_file() for file in WEIGHTS):
        missing.append(f"{WEIGHTS[0]} (pickled weights are not loaded)")
    if missing:
        raise ModelError(
            f"{name or folder} lacks {', '.join(missing)}. Expected a transformers image classifier, "
            "as written by training.package."
        )
    for file in REQUIRED:
        try:
            json.loads((folder / file).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{name or folder}: {file} is damaged ({error}). Package or download it again.") from None
    return folder
