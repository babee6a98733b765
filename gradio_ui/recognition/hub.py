"""A model id of the Hub, or a folder -> a local folder with everything a recognizer needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .errors import ModelError

REQUIRED = ("config.json", "preprocessor_config.json")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_DOWNLOADED = [*REQUIRED, "model*.safetensors", WEIGHTS[1], "README.md", "report.json", "figures/*"]
_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class ModelSource:
    """Where a model came from.

    Attributes:
        folder: the local folder that holds it.
        model_id: the Hub id, or the name of the folder.
        revision: the full commit hash on the Hub; None for a folder.
        origin: "folder", "hub" when the Hub was asked, "cache" when it could not be reached.
    """

    folder: Path
    model_id: str
    revision: str | None
    origin: Literal["folder", "hub", "cache"]


def resolve_model(model: str | Path, revision: str | None = None) -> ModelSource:
    """Finds a model and makes sure it is complete.

    Args:
        model: a folder, or a Hub id "user/name", also "user/name@revision". A folder that exists wins.
        revision: a branch, tag or commit; the default branch without it. It is pinned to the commit it stands for.

    Raises:
        ModelError: there is no such folder or repository, no access, no network and nothing cached, or a file is
            missing or damaged.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return ModelSource(_complete(folder), folder.resolve().name, None, "folder")
    if folder.exists():
        raise ModelError(f"{folder} is a file. Expected the folder that holds it, or a Hub id such as user/name.")
    model_id, _, pinned = str(model).partition("@")
    return _from_hub(model_id, revision or pinned or None)


def _from_hub(model_id: str, revision: str | None) -> ModelSource:
    import httpx2
    from huggingface_hub import model_info, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    origin: Literal["hub", "cache"] = "hub"
    try:
        commit = model_info(model_id, revision=revision, timeout=_TIMEOUT).sha
    except HFValidationError:
        raise ModelError(f"There is no folder {model_id}, and it is no Hub id of the form user/name either.") from None
    except GatedRepoError:
        raise ModelError(
            f"{model_id} is gated. Ask for access on its page, then log in with `hf auth login`."
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"There is neither a folder {model_id} here nor a model of that id on the Hub. "
            "Check the spelling; for a private model log in with `hf auth login`."
        ) from None
    except RevisionNotFoundError:
        raise ModelError(f"{model_id} has no revision {revision}. Name a branch, a tag or a commit of it.") from None
    except (httpx2.HTTPError, OfflineModeIsEnabled):
        commit, origin = revision, "cache"
    try:
        folder = Path(
            snapshot_download(
                model_id, revision=commit, allow_patterns=_DOWNLOADED, local_files_only=origin == "cache"
            )
        )
    except LocalEntryNotFoundError:
        raise ModelError(
            f"There is no folder {model_id} here, the Hub cannot be reached, and {model_id}"
            f"{f'@{revision}' if revision else ''} is not in its cache. Check the spelling or the network."
        ) from None
    except (OSError, httpx2.HTTPError) as error:
        raise ModelError(f"{model_id} could not be downloaded ({error}). Try again.") from error
    return ModelSource(_complete(folder, model_id), model_id, folder.name, origin)


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
        except ValueError as error:
            raise ModelError(f"{name or folder}: {file} is damaged ({error}). Package or download it again.") from None
    return folder
