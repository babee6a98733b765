"""A package goes to the Hub whole, once, and only when it is fit to be seen."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard

from tests.support.hub_api import is_lfs
from tests.support.hub_fixtures import Client, files_of
from tests.support.hub_server import Fault, HubServer
from training.errors import PublishError
from training.hub.package_check import check_package, package_files
from training.hub.sync import code_version, push
from training.publish import main
from training.reporting.package_layout import write_checksums

REPO = "tester/faces"


@pytest.fixture(autouse=True)
def as_client(client: Client) -> Client:
    return client


@pytest.fixture
def files(package: Path) -> dict:
    """A package's files without the checks, which have tests of their own."""
    return files_of(package)


def test_published_byte_for_byte_in_one_tagged_commit(hub: HubServer, package: Path) -> None:
    main([str(package), "--repo_id", REPO])
    repo = hub.repos["model", REPO]
    assert len(repo.commits) == 2  # that of the creation, and ours
    assert repo.tags == {code_version(): repo.refs["main"]}
    assert not repo.private
    assert repo.files.keys() - {".gitattributes"} == files_of(package).keys()
    for name, path in files_of(package).items():
        assert name == "README.md" or repo.files[name] == path.read_bytes()
    card = repo.files["README.md"].decode()
    assert f'pipeline("image-classification", model="{REPO}")' in card
    assert ModelCard(card).data.to_dict()["model-index"][0]["name"] == "faces"


def test_again_uploads_nothing(hub: HubServer, files: dict, client: Client) -> None:
    first = push(REPO, files, message="first", tag="v1")
    hub.requests.clear()
    again = push(REPO, files, message="again", tag="v1")
    assert (again.changed, again.deleted, again.commit) == ([], [], first.commit)
    assert hub.asked("PUT|POST") == 0


def test_changes_are_sent_and_what_went_is_deleted(hub: HubServer, files: dict) -> None:
    push(REPO, files, message="first", tag="v1")
    hub.requests.clear()
    files["config.json"].write_text("{}")
    del files["report.json"]
    done = push(REPO, files, message="second", tag="v2")
    assert (done.changed, done.deleted) == (["config.json"], ["report.json"])
    assert hub.asked("PUT /lfs") == 0
    repo = hub.repos["model", REPO]
    assert repo.files.keys() == files.keys() | {".gitattributes"}
    assert repo.tags["v2"] == repo.refs["main"] != repo.tags["v1"]


def test_a_published_version_stays(hub: HubServer, files: dict) -> None:
    push(REPO, files, message="first", tag="v1")
    before = dict(hub.repos["model", REPO].refs)
    files["config.json"].write_text("{}")
    with pytest.raises(PublishError, match=r"holds v1 already, with other content \(config.json\).*raise --version"):
        push(REPO, files, message="second", tag="v1")
    assert hub.repos["model", REPO].refs == before


def test_dry_run_changes_nothing(hub: HubServer, package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(package), "--repo_id", REPO, "--dry_run"])
    assert not hub.repos and hub.asked("PUT|POST") == 0
    assert "upload model.safetensors" in capsys.readouterr().out


def test_dry_run_without_a_connection(
    hub: HubServer, package: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.faults.append(Fault("", cut=True, times=999))
    monkeypatch.delenv("HF_TOKEN")
    main([str(package), "--repo_id", REPO, "--dry_run"])
    said = capsys.readouterr().out
    assert "files pass all local checks" in said and "the Hub was not asked" in said
    (package / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit, match=r"notes\.txt: does not belong"):
        main([str(package), "--repo_id", REPO, "--dry_run"])


def test_branch_pull_request_and_private(hub: HubServer, files: dict) -> None:
    push(REPO, files, message="first", private=True)
    repo = hub.repos["model", REPO]
    main_head = repo.refs["main"]
    assert repo.private
    files["config.json"].write_text("{}")
    push(REPO, files, message="aside", revision="next")
    assert repo.commits[repo.refs["next"]]["config.json"] == b"{}"
    pull = push(REPO, files, message="ask", create_pr=True, tag="v1")
    assert pull.url.endswith("/discussions/1") and repo.refs["refs/pr/1"] == pull.commit
    assert repo.refs["main"] == main_head and not repo.tags
    with pytest.raises(PublishError, match="got both"):
        push(REPO, files, message="both", create_pr=True, revision="next")


def test_private_never_goes_into_a_public_repository(hub: HubServer, files: dict) -> None:
    HfApi().create_repo(REPO)
    with pytest.raises(PublishError, match="public already"):
        push(REPO, files, message="first", private=True)
    assert hub.repos["model", REPO].files.keys() == {".gitattributes"}


@pytest.mark.parametrize("request_", ["PUT /lfs/", "/commit/main"])
def test_broken_upload_shows_nothing_and_goes_on(hub: HubServer, files: dict, request_: str) -> None:
    hub.faults.append(Fault(request_, cut=True, times=99))
    with pytest.raises(PublishError, match=r"broken off .* run the same command again"):
        push(REPO, files, message="first", tag="v1")
    repo = hub.repos["model", REPO]
    assert repo.files.keys() == {".gitattributes"} and not repo.tags
    hub.faults.clear()
    there = set(hub.lfs)
    hub.requests.clear()
    push(REPO, files, message="first", tag="v1")
    large = {path.read_bytes() for name, path in files.items() if is_lfs(name)}
    assert hub.asked("PUT /lfs") == len(large) - len(there)  # what had arrived is not sent again
    assert repo.files["model.safetensors"] == files["model.safetensors"].read_bytes()
    assert len(repo.commits) == 2 and repo.tags == {"v1": repo.refs["main"]}


def test_a_lost_tag_is_set_the_next_time(hub: HubServer, files: dict) -> None:
    hub.faults.append(Fault("/tag/", status=500))
    with pytest.raises(PublishError, match="answered 500"):
        push(REPO, files, message="first", tag="v1")
    assert push(REPO, files, message="first", tag="v1").changed == []
    repo = hub.repos["model", REPO]
    assert repo.tags == {"v1": repo.refs["main"]} and len(repo.commits) == 2


def test_busy_hub_is_waited_for(hub: HubServer, files: dict, client: Client) -> None:
    hub.faults += [
        Fault("PUT /lfs/", status=500),
        Fault("/preupload/", status=429, headers={"Retry-After": "7"}),
    ]
    push(REPO, files, message="first")
    assert hub.repos["model", REPO].files.keys() == files.keys() | {".gitattributes"}
    assert 8 in client.waits and not hub.faults


def test_somebody_else_commits_meanwhile(hub: HubServer, files: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    HfApi().create_repo(REPO)
    repo = hub.repos["model", REPO]
    commit = HfApi.create_commit

    def late(self: HfApi, **options: object) -> object:
        repo.commit("main", repo.files | {"theirs.txt": b"theirs"})
        return commit(self, **options)

    monkeypatch.setattr(HfApi, "create_commit", late)
    with pytest.raises(PublishError, match=r"412.*somebody else"):
        push(REPO, files, message="first")
    assert repo.files["theirs.txt"] == b"theirs"


@pytest.mark.parametrize(
    ("repo_id", "token", "message"),
    [
        (REPO, "token-that-reads", "403.*has the right"),
        (REPO, "no-such-token", "401.*HF_TOKEN"),
        ("someone/else", "token-that-writes", "403.*right to someone/else"),
        ("no repo", "token-that-writes", "expected a repository such as user/name"),
    ],
)
def test_no_access(
    hub: HubServer, files: dict, monkeypatch: pytest.MonkeyPatch, repo_id: str, token: str, message: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(PublishError, match=message) as caught:
        push(repo_id, files, message="first")
    assert not hub.repos and token not in str(caught.value)


def test_no_token(hub: HubServer, files: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(PublishError, match="found none: set HF_TOKEN"):
        push(REPO, files, message="first")
    assert not hub.requests


def test_refused_with_all_that_is_wrong(hub: HubServer, package: Path, tmp_path: Path) -> None:
    (package / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    (package / "notes.txt").write_text("mine")
    (package / "figures" / "a.png").symlink_to(package / "figures" / "example.png")
    with pytest.raises(SystemExit) as caught:
        main([str(package), "--repo_id", REPO])
    lines = str(caught.value).splitlines()[1:]
    for text in ("figures/a.png: a link", "notes.txt: does not", "pytorch_model.bin: does not"):
        assert any(text in line for line in lines)
    assert not hub.requests


def seal(package: Path) -> Path:
    """Record the checksums again, as somebody would who changes a package by hand."""
    write_checksums(package)
    return package


def test_report_of_other_weights(package: Path) -> None:
    report = json.loads((package / "report.json").read_text())
    report["model"]["weights_sha256"] = "0" * 64
    (package / "report.json").write_text(json.dumps(report))
    problems = "\n".join(check_package(package))
    assert "other weights" in problems and "README.md: is not what report.json says" in problems


def test_wrong_labels_and_card(package: Path) -> None:
    config = json.loads((package / "config.json").read_text())
    config["id2label"]["3"] = "happiness"
    config["label2id"] = {name: int(i) for i, name in config["id2label"].items()}
    (package / "config.json").write_text(json.dumps(config))
    card = (package / "README.md").read_text()
    (package / "README.md").write_text(card.replace("pipeline_tag: image-classification\n", ""))
    problems = "\n".join(check_package(seal(package)))
    assert "other labels" in problems and "pipeline_tag: image-classification" in problems
    (package / "README.md").write_text(card.replace("---\n", "---\n: [\n", 1))
    assert "metadata cannot be used" in "\n".join(check_package(seal(package)))


def test_weights_that_do_not_load(package: Path) -> None:
    weights = (package / "model.safetensors").read_bytes()
    (package / "model.safetensors").write_bytes(weights[:-100])
    assert any(problem.startswith("model.safetensors: is no") for problem in check_package(package))
    (package / "model.safetensors").unlink()
    assert check_package(package) == ["model.safetensors missing; package the run again"]
    with pytest.raises(PublishError, match="found nothing at"):
        package_files(package / "gone", REPO)


@pytest.mark.slow
def test_command_line_never_shows_the_token(hub: HubServer, package: Path, client: Client) -> None:
    result = client.run("-m", "training.publish", str(package), "--repo_id", REPO, HF_DEBUG="1")
    assert result.returncode == 0, result.stderr
    assert "upload model.safetensors" in result.stdout and f"{hub.endpoint}/{REPO}/commit/" in result.stdout
    assert hub.token not in result.stdout + result.stderr
    assert hub.repos["model", REPO].tags
