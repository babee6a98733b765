"""A local Hub, a client of it, and a package to publish."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.hub_server import HubServer
from tests.support.tiny_run import make_run


class Client:
    """A client of the Hub: this process, and child processes with an empty cache of their own.

    Attributes:
        folder: HF_HOME of the child processes.
        waits: seconds that the client would have waited before it tried again; in this process it does not wait.
    """

    def __init__(self, hub: HubServer, folder: Path) -> None:
        self.hub, self.folder, self.waits = hub, folder, []

    @property
    def environ(self) -> dict[str, str]:
        """Return the environment of the child processes."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "FER_"))}
        clean |= {"HF_ENDPOINT": self.hub.endpoint, "HF_TOKEN": self.hub.token, "HF_HUB_DISABLE_XET": "1"}
        return clean | {"HF_HOME": str(self.folder), "OMP_NUM_THREADS": "1"}

    def run(
        self, *arguments: str, cwd: Path = Path(__file__).parents[2], **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments against the Hub."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=240,
        )


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """Start an empty Hub."""
    with HubServer() as server:
        yield server


@pytest.fixture
def client(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Log this process in at the Hub, with an empty cache; HF_ENDPOINT is read at import, so it is patched in."""
    import datasets
    import huggingface_hub
    from huggingface_hub import constants, file_download
    from huggingface_hub.utils import _http

    client = Client(hub, tmp_path / "hf_home")
    cache = client.folder / "hub"
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", hub.endpoint)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.endpoint)
    monkeypatch.setattr(
        datasets.config, "HUB_DATASETS_URL", hub.endpoint + "/datasets/{repo_id}/resolve/{revision}/{path}"
    )
    impatient = SimpleNamespace(**{**vars(time), "sleep": client.waits.append})
    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", impatient)
    return client


@pytest.fixture(scope="session")
def published_package(tiny_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a package of a tiny model, as `training.package` writes it; tests must not change it."""
    from training.package import PackageArguments, package

    run = make_run(tmp_path_factory.mktemp("run"))
    return package(run, tmp_path_factory.mktemp("model_card") / "fer2013", PackageArguments(dataset=str(tiny_csv)))


def files_of(folder: Path) -> dict[str, Path]:
    """List every file of a folder by its path in it."""
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def package(published_package: Path, tmp_path: Path) -> Path:
    """Copy the package."""
    return Path(shutil.copytree(published_package, tmp_path / "model_card" / "fer2013"))
