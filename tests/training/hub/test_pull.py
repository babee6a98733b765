"""What was published is pulled byte for byte, or the error names the cause and the way out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from gradio_ui.model_registry import load_models
from gradio_ui.recognition.classifier import Classifier
from gradio_ui.recognition.errors import HubUnreachableError, ModelError
from gradio_ui.recognition.hub import resolve_model
from gradio_ui.settings import Settings
from tests.support.foreign_models import write_foreign
from tests.support.hub_api import Repo
from tests.support.hub_fixtures import Client, files_of
from tests.support.hub_server import Fault, HubServer
from training.hub.sync import push

REPO = "tester/faces"


@pytest.fixture
def repo(hub: HubServer, client: Client, package: Path) -> Repo:
    """The package, published as v1."""
    push(REPO, files_of(package), message="first", tag="v1")
    hub.requests.clear()
    return hub.repos["model", REPO]


def update(repo: Repo) -> str:
    """A second commit with other weights, sound ones; its hash."""
    from safetensors.numpy import load, save

    weights = {name: tensor + 1 for name, tensor in load(repo.files["model.safetensors"]).items()}
    return repo.commit("main", repo.files | {"model.safetensors": save(weights, {"format": "pt"})})


def same(folder: Path, files: dict[str, bytes]) -> bool:
    found = {name: path.read_bytes() for name, path in files_of(folder).items()}
    return found == {name: files[name] for name in found} and "model.safetensors" in found


@pytest.mark.parametrize("revision", [None, "main", "v1"])
def test_published_then_pulled_into_an_empty_cache(repo: Repo, hub: HubServer, revision: str | None) -> None:
    source = resolve_model(REPO, revision)
    assert (source.origin, source.revision, source.notice) == ("hub", repo.refs["main"], "")
    assert same(source.folder, repo.files)
    hub.requests.clear()
    assert resolve_model(REPO, revision) == source
    assert hub.asked("GET /lfs|resolve") == 0  # downloaded once


def test_pipeline_by_id_answers_as_the_folder_does(repo: Repo, package: Path) -> None:
    from transformers import pipeline

    face = Image.fromarray(astronaut()[62:182, 166:286])
    scores = [
        pipeline("image-classification", model=model, revision=revision, device="cpu")(face, top_k=7)
        for model, revision in ((REPO, repo.refs["main"]), (str(package), None))
    ]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("revision", [None, "v1", "commit"])
def test_hub_out_of_order_serves_the_cache(repo: Repo, hub: HubServer, revision: str | None) -> None:
    revision = repo.refs["main"] if revision == "commit" else revision
    commit = resolve_model(REPO, revision).revision
    update(repo)
    hub.faults.append(Fault("", status=503, times=99))
    source = resolve_model(REPO, revision)
    assert (source.origin, source.revision) == ("cache", commit)
    assert "The Hub is out of order (503)" in source.notice and "from the cache" in source.notice


def test_hub_out_of_order_and_nothing_cached(repo: Repo, hub: HubServer) -> None:
    hub.faults.append(Fault("", cut=True, times=99))
    with pytest.raises(HubUnreachableError, match=f"{REPO}@v1 is not in its cache"):
        resolve_model(f"{REPO}@v1")


def test_update_that_breaks_off_leaves_what_was_served(repo: Repo, hub: HubServer, client: Client) -> None:
    first = resolve_model(REPO)
    second = update(repo)
    hub.faults.append(Fault("GET /lfs/", cut=True, times=2))
    hub.faults.append(Fault("GET /lfs/", status=500, times=99))
    source = resolve_model(REPO)
    assert (source.folder, source.origin) == (first.folder, "cache")
    assert f"The download of {REPO} broke off" in source.notice
    assert not list(client.folder.rglob("*.incomplete"))
    hub.faults.clear()
    assert resolve_model(REPO).revision == second


def test_download_cut_in_the_middle_goes_on(repo: Repo, hub: HubServer, client: Client) -> None:
    hub.faults += [
        Fault("GET /lfs/", cut=True),
        Fault("GET /lfs/", status=429, headers={"Retry-After": "7"}),
        Fault("GET /lfs/", cut=True),
    ]
    assert same(resolve_model(REPO).folder, repo.files)
    assert not hub.faults and 8 in client.waits


@pytest.mark.parametrize("file", ["GET /lfs/", "GET .*/config.json"])
def test_wrong_bytes_are_not_served(repo: Repo, hub: HubServer, file: str) -> None:
    hub.faults.append(Fault(file, corrupt=True))
    with pytest.raises(ModelError, match=r"is damaged: expected the checksum .* load the model again"):
        resolve_model(REPO)
    assert same(resolve_model(REPO).folder, repo.files)


def test_truncated_file_in_the_cache(repo: Repo) -> None:
    weights = resolve_model(REPO).folder / "model.safetensors"
    weights.resolve().write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model.safetensors of tester/faces is damaged"):
        resolve_model(REPO)
    assert same(resolve_model(REPO).folder, repo.files)


def test_full_disk(repo: Repo, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", full)
        with pytest.raises(ModelError, match=r"could not be stored .*No space left.*Make room"):
            resolve_model(REPO)
    assert not list(client.folder.rglob("*.incomplete"))
    assert same(resolve_model(REPO).folder, repo.files)


@pytest.mark.parametrize(
    ("model", "token", "message"),
    [
        ("tester/gone", "token-that-reads", "nor a model of that id on the Hub"),
        (f"{REPO}@v9", "token-that-reads", "has no revision v9"),
        (REPO, "expired", r"refuses tester/faces \(401\).*Renew it"),
        ("tester/private", "", "for a private model log in"),
        ("tester/gated", "token-that-reads", "is gated. Ask for access"),
        (
            "tester/text",
            "token-that-reads",
            r"lacks preprocessor_config.json.*Expected a transformers image classifier",
        ),
    ],
)
def test_errors_name_the_cause_and_the_way_out(
    repo: Repo, hub: HubServer, monkeypatch: pytest.MonkeyPatch, model: str, token: str, message: str
) -> None:
    for name, options in {"private": {"private": True}, "gated": {"gated": True}}.items():
        hub.repos["model", f"tester/{name}"] = Repo("model", f"tester/{name}", **options)
        hub.repos["model", f"tester/{name}"].commit("main", repo.files)
    hub.repos["model", "tester/text"] = Repo("model", "tester/text")
    hub.repos["model", "tester/text"].commit("main", {"config.json": b"{}", "model.safetensors": b"weights"})
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ModelError, match=message) as caught:
        resolve_model(model)
    assert not isinstance(caught.value, HubUnreachableError)


def test_forbidden(repo: Repo, hub: HubServer) -> None:
    hub.faults.append(Fault("GET /api/models", status=403))
    with pytest.raises(ModelError, match=r"refuses tester/faces \(403\)"):
        resolve_model(REPO)


@pytest.mark.parametrize("channels", [3, 1])
def test_other_peoples_checkpoint(repo: Repo, client: Client, tmp_path: Path, channels: int) -> None:
    """Its own size, layout, and spelling and order of labels."""
    labels = ["Happiness", "Sadness", "Anger"]
    write_foreign(tmp_path / "vit", labels, channels=channels)
    repo.commit("main", {name: path.read_bytes() for name, path in files_of(tmp_path / "vit").items()})
    classifier = Classifier.from_pretrained(resolve_model(REPO).folder, device="cpu")
    assert not list(client.folder.rglob("*.bin"))
    assert list(classifier.labels) == labels
    color = astronaut()[62:182, 166:286]
    gray = np.asarray(Image.fromarray(color).convert("L").convert("RGB"))
    of_color, of_gray = classifier([color, gray])
    assert (np.abs(of_color - of_gray).max() < 1e-3) == (channels == 1)


def test_checkpoint_for_something_else(repo: Repo, tmp_path: Path) -> None:
    write_foreign(tmp_path / "vit", ["cat", "dog", "bird"])
    repo.commit("main", {name: path.read_bytes() for name, path in files_of(tmp_path / "vit").items()})
    message = r"tester/faces is no expression classifier: the labels in config.json are cat, dog, bird"
    with pytest.raises(ModelError, match=message):
        Classifier.from_pretrained(resolve_model(REPO).folder, device="cpu")


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Starts the app up to the page; returns the recognizer that it would serve."""
    import app

    def start(model: str) -> Any:
        served: list = []

        class Page:
            def __init__(self, models: Any, settings: Any) -> None:
                served.append(models[models.default])

            def launch(self, **_: object) -> None:
                pass

        monkeypatch.setattr("gradio_ui.demo.build_demo", Page)
        monkeypatch.setattr(sys, "argv", ["app.py", "--model", model, "--detector", "yunet", "--port", "7969"])
        app.main()
        return served[0]

    return start


def test_app_serves_the_pinned_commit(repo: Repo, start: Any, caplog: pytest.LogCaptureFixture) -> None:
    recognizer = start(f"{REPO}@v1")
    assert (recognizer.source.model_id, recognizer.source.revision) == (REPO, repo.tags["v1"])
    assert not [record for record in caplog.records if record.name.startswith("gradio_ui")]


def test_app_serves_the_cache_and_says_so_once(
    repo: Repo, hub: HubServer, start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    start(REPO)
    hub.faults.append(Fault("", status=503, times=99))
    recognizer = start(REPO)
    assert (recognizer.source.origin, recognizer.source.revision) == ("cache", repo.refs["main"])
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("gradio_ui")]
    assert lines == [recognizer.source.notice] and "from the cache" in lines[0]


def test_app_falls_back_to_the_shipped_checkpoint(
    repo: Repo, hub: HubServer, package: Path, start: Any, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr("gradio_ui.model_registry.DEFAULT_MODEL", package)
    hub.faults.append(Fault("", status=503, times=99))
    recognizer = start(REPO)
    assert recognizer.source.folder == package
    lines = [record.getMessage() for record in caplog.records if record.name == "gradio_ui.model_registry"]
    assert lines == [recognizer.source.notice]
    assert lines[0].endswith("Serving the checkpoint that came with the app.")
    monkeypatch.setattr("gradio_ui.model_registry.DEFAULT_MODEL", package / "gone")  # as in a Space
    with pytest.raises(SystemExit, match="cannot be reached"):
        start(REPO)


def test_choices_that_fail_leave_what_was_served(repo: Repo, hub: HubServer, tmp_path: Path) -> None:
    """Every cause is named, under the model's own id, and the first model still answers."""
    write_foreign(tmp_path / "cats", ["cat", "dog"])
    damaged = repo.files["model.safetensors"]
    others = {
        "gated": ({"gated": True}, repo.files, "tester/gated is gated"),
        "text": ({}, {"config.json": b"{}"}, "tester/text lacks preprocessor_config.json, model.safetensors"),
        "cats": (
            {},
            {name: path.read_bytes() for name, path in files_of(tmp_path / "cats").items()},
            "tester/cats is no expression classifier",
        ),
        "cut": (
            {},
            {name: repo.files[name] for name in ("config.json", "preprocessor_config.json")}
            | {"model.safetensors": damaged[: len(damaged) // 2]},
            "tester/cut: model.safetensors is damaged",
        ),
    }
    causes = {"tester/gone": "nor a model of that id", f"{REPO}@v9": "has no revision v9"}
    for name, (options, files, cause) in others.items():
        other = hub.repos["model", f"tester/{name}"] = Repo("model", f"tester/{name}", **options)
        other.commit("main", files)
        causes[f"tester/{name}"] = cause
    models = load_models(Settings(models=(REPO, *causes), detector="yunet"))
    for name, cause in causes.items():
        with pytest.raises(ModelError, match=cause):
            models[name]
    assert len(models[REPO](astronaut())) == 1


def test_nothing_to_serve_ends_with_one_line(repo: Repo, start: Any) -> None:
    config = json.loads(repo.files["config.json"])
    config["id2label"] = {str(i): f"thing {i}" for i in range(7)}
    config["label2id"] = {name: int(i) for i, name in config["id2label"].items()}
    del config["provenance"]  # a model of somebody else's
    foreign = {name: content for name, content in repo.files.items() if name != "report.json"}
    repo.commit("main", foreign | {"config.json": json.dumps(config).encode()})
    with pytest.raises(SystemExit, match=r"error: tester/faces is no expression classifier"):
        start(REPO)
