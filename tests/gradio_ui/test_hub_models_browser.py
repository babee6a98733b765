"""Round trip up to the user's screen: publish, pull into an empty cache, look at a picture in a browser."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from PIL import Image
from skimage.data import astronaut

from tests.support.browser import free_port
from tests.support.foreign_models import write_foreign
from tests.support.hub_api import Repo
from tests.support.hub_fixtures import Client, files_of
from tests.support.hub_server import HubServer
from training import publish

pytestmark = [pytest.mark.browser, pytest.mark.slow]
OURS, THEIRS = "tester/faces", "somebody/vit"


@pytest.fixture
def repos(hub: HubServer, client: Client, package: Path, tmp_path: Path) -> tuple[Repo, Repo]:
    """A package published by our command, and a repository of somebody else's."""
    publish.main([str(package), "--repo_id", OURS, "--version", "v1"])
    theirs = hub.repos["model", THEIRS] = Repo("model", THEIRS)
    vit = write_foreign(tmp_path / "vit", always="neutral")
    theirs.commit("main", {name: path.read_bytes() for name, path in files_of(vit).items()})
    return hub.repos["model", OURS], theirs


@pytest.fixture
def url(repos: tuple[Repo, Repo], client: Client, root: Path, tmp_path: Path) -> Iterator[str]:
    """The app as `FER_MODEL=... python app.py` starts it."""
    port = free_port()
    settings = {"FER_MODEL": f"{OURS}@v1,{THEIRS}", "FER_DETECTOR": "yunet", "PORT": str(port)}
    settings["GRADIO_TEMP_DIR"] = str(tmp_path / "gradio")
    log = tmp_path / "app.log"
    with log.open("w") as output:
        app = subprocess.Popen(
            [sys.executable, "app.py"], cwd=root, env=client.environ | settings, stdout=output, stderr=output
        )
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    urlopen(f"http://127.0.0.1:{port}/").close()
                    break
                except URLError:
                    assert app.poll() is None and time.monotonic() < deadline, log.read_text()
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            app.terminate()
            app.wait(30)
    assert client.hub.token not in log.read_text()


def pulled(client: Client, repo_id: str) -> dict[str, bytes]:
    """What the cache of the app holds of a repository."""
    (snapshot,) = (client.folder / "hub" / f"models--{repo_id.replace('/', '--')}" / "snapshots").iterdir()
    return {name: path.read_bytes() for name, path in files_of(snapshot).items()}


def test_published_pulled_and_seen(
    repos: tuple[Repo, Repo],
    client: Client,
    url: str,
    page: Any,
    tmp_path: Path,
) -> None:
    Image.fromarray(astronaut()).save(tmp_path / "portrait.jpg")
    page.goto(url)
    page.locator("#picture input[type=file]").set_input_files(tmp_path / "portrait.jpg")
    page.get_by_text("1 face found").wait_for()
    assert page.locator("#bars li").count() == 7
    page.get_by_role("tab", name="About").click()
    served = page.locator("#served")
    assert OURS in served.inner_text() and repos[0].tags["v1"] in served.inner_text()
    files = pulled(client, OURS)
    assert {"model.safetensors", "config.json", "README.md", "report.json"} <= files.keys()
    assert files == {name: repos[0].files[name] for name in files}

    assert not client.hub.asked(THEIRS)  # nobody has wanted it yet
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name=THEIRS).click()
    served.get_by_text(THEIRS).wait_for()
    assert repos[1].refs["main"] in served.inner_text()
    page.get_by_role("tab", name="Image").click()
    bars = page.locator("#bars li").first
    bars.get_by_text("neutral", exact=True).wait_for()  # the fifth of their labels, the seventh of ours
    assert pulled(client, THEIRS) == {
        name: data for name, data in repos[1].files.items() if name != "pytorch_model.bin"
    }
