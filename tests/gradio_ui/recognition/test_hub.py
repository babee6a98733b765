"""A folder or a Hub id becomes a complete local folder, pinned to a commit, or one clear sentence."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import httpx2
import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils.sha import git_hash

from gradio_ui.recognition import ModelError, resolve_model
from gradio_ui.recognition.hub import _verify, _write_ref

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hub cache that holds someone/faces at COMMIT, which main stands for."""
    repo = tmp_path / "models--someone--faces"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    (repo / "snapshots").mkdir()
    (repo / "snapshots" / COMMIT).symlink_to(model_folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def answer(monkeypatch: pytest.MonkeyPatch, reply: Exception | None) -> list:
    """Lets the Hub answer with an error, or with COMMIT; returns what it is asked."""
    asked: list = []

    def model_info(model_id: str, revision: str | None, timeout: float) -> SimpleNamespace:
        asked.append((model_id, revision))
        if reply is not None:
            raise reply
        return SimpleNamespace(sha=COMMIT)

    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    return asked


def test_a_folder(model_folder: Path) -> None:
    source = resolve_model(model_folder)
    assert (source.folder, source.model_id, source.revision, source.origin) == (model_folder, "tiny", None, "folder")


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_without_network_the_cache_serves(cache: Path, monkeypatch: pytest.MonkeyPatch, revision: str | None) -> None:
    asked = answer(monkeypatch, httpx2.ConnectError("no route"))
    source = resolve_model("someone/faces", revision)
    assert (source.model_id, source.revision, source.origin) == ("someone/faces", COMMIT, "cache")
    assert (source.folder / "model.safetensors").is_file()
    assert source.notice == "The Hub cannot be reached. Serving someone/faces@01234567 from the cache."
    assert asked == [("someone/faces", revision)]


def test_revision_in_the_id_is_pinned_to_its_commit(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, None)
    fetched: list = []

    def snapshot_download(model_id: str, revision: str, **options: object) -> str:
        fetched.append((model_id, revision, options["local_files_only"]))
        return str(cache / "models--someone--faces" / "snapshots" / revision)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    source = resolve_model("someone/faces@v1")
    assert asked == [("someone/faces", "v1")]
    assert fetched == [("someone/faces", COMMIT, False)]
    assert (source.revision, source.origin) == (COMMIT, "hub")


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("someone/else", httpx2.ConnectError, "someone/else is not in its cache"),
        ("someone/faces@v9", httpx2.ReadTimeout, "someone/faces@v9 is not in its cache"),
        ("someone/else", RepositoryNotFoundError, "neither a folder someone/else here nor a model"),
        ("someone/faces", GatedRepoError, "gated"),
        ("someone/faces@v9", RevisionNotFoundError, "no revision v9"),
    ],
)
def test_errors_say_what_to_do(
    cache: Path, monkeypatch: pytest.MonkeyPatch, model: str, error: type, message: str
) -> None:
    response = httpx2.Response(404, request=httpx2.Request("GET", "http://localhost"))
    is_reply = issubclass(error, huggingface_hub.errors.HfHubHTTPError)
    answer(monkeypatch, error("no", response=response) if is_reply else error("no"))
    with pytest.raises(ModelError, match=message):
        resolve_model(model)


def test_no_folder_and_no_id(tmp_path: Path, model_folder: Path) -> None:
    with pytest.raises(ModelError, match="no Hub id of the form user/name"):
        resolve_model(tmp_path / "gone")
    with pytest.raises(ModelError, match="is a file"):
        resolve_model(model_folder / "config.json")
    with pytest.raises(ModelError, match=r"lacks config.json, preprocessor_config.json, model.safetensors \(pickled"):
        resolve_model(tmp_path)


def test_a_damaged_file_leaves_the_cache(tmp_path: Path) -> None:
    """The name of a file in the cache is its checksum: SHA-256, or git's."""
    content = b"some weights"
    names = {"weights": hashlib.sha256(content).hexdigest(), "config": git_hash(content)}
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    for name, checksum in names.items():
        (tmp_path / "blobs" / checksum).write_bytes(content)
        (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / checksum)
    (tmp_path / "snapshot" / "notes").write_text("of no checksum")
    _verify(tmp_path / "snapshot", "someone/faces")
    for name, checksum in names.items():
        (tmp_path / "blobs" / checksum).write_bytes(b"other weights")
        with pytest.raises(
            ModelError, match=rf"^{name} of someone/faces is damaged: expected the checksum {checksum[:9]}"
        ):
            _verify(tmp_path / "snapshot", "someone/faces")
        assert not (tmp_path / "blobs" / checksum).exists() and not (tmp_path / "snapshot" / name).is_symlink()
    assert (tmp_path / "snapshot" / "notes").exists()


def test_a_branch_is_recorded_for_later(tmp_path: Path) -> None:
    for revision, commit in (("main", "f" * 40), ("feature/x", COMMIT), ("main", COMMIT), (COMMIT, COMMIT)):
        _write_ref(tmp_path / "snapshots" / commit, revision)
        assert revision == commit or (tmp_path / "refs" / revision).read_text() == commit
    assert sorted(path.name for path in (tmp_path / "refs").iterdir()) == ["feature", "main"]
