"""A Space of plain files: what is in it, where its model comes from, and what stops it from being made."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from huggingface_hub import HfApi, SpaceCard

from tests.support.hub_fixtures import Client, files_of
from tests.support.hub_server import HubServer
from training.errors import PublishError
from training.hub.static_space import RUNTIME_BINARIES, RUNTIME_BUILDS, StaticModel, static_files, write_folder
from training.hub.sync import push
from training.publish_space import main


@pytest.fixture
def model(root: Path) -> StaticModel:
    return StaticModel.from_folder(root / "model_card/fer2013")


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in (*RUNTIME_BUILDS, *(f"ort-wasm-simd-threaded{kind}.wasm" for kind in RUNTIME_BINARIES)):
        (folder / name).touch()
    return folder


def text(files: dict, name: str) -> str:
    content = files[name]
    return content.decode() if isinstance(content, bytes) else content.read_text("utf-8")


def test_a_model_folder_is_copied(root: Path, model: StaticModel, runtime: Path) -> None:
    files = dict(static_files(root, model, runtime))
    place = json.loads(text(files, "device.json"))
    assert (place["model"], place["detector"], place["runtime"]) == ("model/", "yunet.onnx", "runtime/")
    assert {"model/onnx/model.onnx", "model/report.json", "yunet.onnx", "runtime/ort.wasm.bundle.min.mjs"} <= {*files}
    assert not any(name.endswith((".py", ".safetensors")) for name in files)
    page = text(files, "index.html")
    assert "{{" not in page and "0.703 (0.688-0.717)" in page and "cdn.jsdelivr.net" not in page
    card = SpaceCard(text(files, "README.md"))
    assert (card.data.sdk, card.data.app_file) == ("static", "index.html") and len(
        card.data["short_description"]
    ) <= 60


def test_every_file_that_the_page_names_is_there(root: Path, model: StaticModel) -> None:
    files = dict(static_files(root, model))
    named = {"static_space/space.js"}

    class Names(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list) -> None:
            named.update(value for name, value in attrs if name in ("href", "src") and ":" not in value)

    Names().feed(text(files, "index.html"))
    named |= {icon["src"] for icon in json.loads(text(files, "manifest.webmanifest"))["icons"]}
    (kept,) = re.findall(r'FILES = "([^"]*)"', text(files, "service-worker.js"))
    named |= {*kept.split()} - {"./"}
    for name in [name for name in files if name.endswith(".js")]:
        folder = Path("/") / Path(name).parent
        for other in re.findall(r'^(?:import .*from |.* import\()"(\.[^"]+)"', text(files, name), re.MULTILINE):
            named.add((folder / other).resolve().relative_to("/").as_posix())
    assert named <= {*files}, named - {*files}
    assert {name for name in files if name.endswith((".js", ".css"))} - named <= {"service-worker.js"}


def test_the_service_worker_changes_with_a_file(root: Path, model: StaticModel, tmp_path: Path) -> None:
    changed = tmp_path / "root"
    shutil.copytree(root / "gradio_ui/static", changed / "gradio_ui/static")
    shutil.copy(root / "LICENSE", changed)
    before = text(dict(static_files(changed, model)), "service-worker.js")
    assert text(dict(static_files(changed, model)), "service-worker.js") == before
    (changed / "gradio_ui/static/webcam.js").write_text("// other")
    assert text(dict(static_files(changed, model)), "service-worker.js") != before


def test_a_folder_is_made_and_nothing_else_replaced(root: Path, model: StaticModel, tmp_path: Path) -> None:
    files = static_files(root, model)
    for _ in range(2):
        write_folder(files, tmp_path / "site")
    assert (tmp_path / "site/index.html").is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    with pytest.raises(PublishError, match="earlier static Space"):
        write_folder(files, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").is_file()


def test_a_model_without_onnx_is_refused(root: Path, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(root / "model_card/fer2013" / name, tmp_path)
    with pytest.raises(PublishError, match=r"expected onnx/model\.onnx.*training\.export"):
        StaticModel.from_folder(tmp_path)


def test_an_incomplete_runtime_is_refused(root: Path, model: StaticModel, runtime: Path) -> None:
    (runtime / RUNTIME_BUILDS[1]).unlink()
    with pytest.raises(PublishError, match=f"lacks {RUNTIME_BUILDS[1]}"):
        static_files(root, model, runtime)


def test_a_published_model_stays_on_the_hub(
    client: Client, hub: HubServer, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    HfApi().create_repo("tester/faces")
    kept = ("config.json", "preprocessor_config.json", "report.json", "onnx/model.onnx")
    package = {name: path for name, path in files_of(root / "model_card/fer2013").items() if name in kept}
    commit = push("tester/faces", package, message="first").commit
    folder = tmp_path / "site"
    main(["tester/space", "--static", "--model", "tester/faces", "--folder", str(folder)])
    space = hub.repos["space", "tester/space"]
    assert space.sdk == "static"
    place = json.loads(space.files["device.json"])
    assert place["model"] == f"{hub.endpoint}/tester/faces/resolve/{commit}/" and "runtime" not in place
    assert not any(name.startswith("model/") for name in space.files)
    assert f"connect-src 'self' blob: {hub.endpoint} https://cdn.jsdelivr.net" in space.files["index.html"].decode()
    assert SpaceCard(space.files["README.md"].decode()).data["models"] == ["tester/faces"]
    assert (folder / "index.html").read_bytes() == space.files["index.html"]
    assert not hub.asked(r"resolve/\w+/onnx"), "the weights are not fetched"
    assert "http.server" in capsys.readouterr().out


def test_a_published_model_without_onnx_is_refused(client: Client, hub: HubServer) -> None:
    HfApi().create_repo("tester/faces")
    with pytest.raises(SystemExit, match=r"expected onnx/model\.onnx"):
        main(["tester/space", "--static", "--model", "tester/faces"])
    assert ("space", "tester/space") not in hub.repos


def test_options_that_do_not_fit_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--model", "tester/faces"])
    assert "expected USER/SPACE" in capsys.readouterr().err
