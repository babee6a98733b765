"""Training from a dataset of the Hub, votes included, and pushing what comes of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.support.hub_fixtures import Client
from tests.support.hub_server import Fault, HubServer
from training import publish, publish_dataset
from training.data.labels import EMOTIONS
from training.data.load import load_fer
from training.errors import DataError, ReportError
from training.train import main

DATASET, REPO = "tester/fer", "tester/run"
TINY = "--hidden_sizes 8 16 --depths 1 1 --patch_size 4 --report_to none --save_strategy no --eval_strategy no".split()
TINY += "--load_best_model_at_end false --max_steps 2 --per_device_train_batch_size 14".split()


@pytest.fixture(autouse=True)
def as_client(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


@pytest.fixture
def dataset(hub: HubServer, tiny_csv: Path, tiny_votes: Path) -> str:
    """The tiny dataset with its votes on the Hub, as user/name@commit."""
    publish_dataset.main([str(tiny_csv), "--repo_id", DATASET, "--ferplus", str(tiny_votes)])
    return f"{DATASET}@{hub.repos['dataset', DATASET].refs['main']}"


def test_votes_come_back_row_by_row(dataset: str, tiny_csv: Path, tiny_votes: Path) -> None:
    there, here = load_fer(dataset), load_fer(tiny_csv, ferplus=tiny_votes)
    assert {split: part["votes"][:] for split, part in there.items()} == {
        split: part["votes"][:] for split, part in here.items()
    }
    assert there["train"].features["votes"] == here["train"].features["votes"]
    with pytest.raises(DataError, match="holds FER\\+ votes itself"):
        load_fer(dataset, ferplus=tiny_votes)


def test_votes_in_another_order_are_refused(
    dataset: str, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import load_dataset

    rows = load_dataset(DATASET, split="train")
    shifted = rows.map(lambda row: {"votes": [*row["votes"][1:8], row["votes"][0], *row["votes"][8:]]})
    local = tmp_path / "shifted"
    for split in ("train", "validation"):
        (local / "data").mkdir(parents=True, exist_ok=True)
        shifted.to_parquet(local / "data" / f"{split}-00000-of-00001.parquet")
    with pytest.raises(DataError, match="column votes: expected votes that fit the labels"):
        load_fer(local)


@pytest.mark.slow
def test_a_package_lands_and_no_log_has_the_token(
    dataset: str, hub: HubServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    flags = ["--dataset", dataset, "--output_dir", str(run), "--ferplus_weight", "0.5", *TINY]
    main([*flags, "--push_to_hub", "true", "--hub_model_id", REPO, "--hub_private_repo", "true"])
    repo = hub.repos["model", REPO]
    assert repo.private and len(repo.commits) == 2  # the empty one and ours
    assert not [name for name in repo.files if name.endswith(".bin") or "checkpoint" in name]

    from transformers import pipeline

    scores = pipeline("image-classification", model=REPO, device="cpu")(Image.new("RGB", (60, 60)), top_k=9)
    assert {entry["label"] for entry in scores} == set(EMOTIONS)
    told = capfd.readouterr()
    assert "eval_ferplus_accuracy" in told.out
    texts = [told.out, told.err, *(path.read_bytes().decode(errors="ignore") for path in run.rglob("*.json"))]
    assert not [text for text in texts if hub.token in text]
    assert not [name for name, data in repo.files.items() if hub.token.encode() in data]


@pytest.mark.parametrize(
    ("flags", "token", "message"),
    [
        ([], "", "expected --hub_model_id user/name, got None"),
        (["--hub_model_id", REPO], "", "expected a token in HF_TOKEN"),
        (["--hub_model_id", REPO], "expired", "the Hub answered 401"),
        (["--hub_model_id", REPO, "--hub_token", "secret"], "token-that-writes", "got --hub_token"),
    ],
)
def test_refused_before_the_training(
    tiny_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], token: str, message: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    run = tmp_path / "run"
    with pytest.raises(SystemExit, match=message) as caught:
        main(["--dataset", str(tiny_csv), "--output_dir", str(run), *TINY, "--push_to_hub", "true", *flags])
    assert "secret" not in str(caught.value) and not (run / "run.json").exists()


@pytest.mark.slow
def test_broken_push_says_how_to_go_on(
    tiny_csv: Path, hub: HubServer, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(  # its own tests build one
        "training.hub.push_run.package", lambda *_: shutil.copytree(package, run / "package")
    )
    hub.faults.append(Fault("/commit/", cut=True))
    flags = ["--dataset", str(tiny_csv), "--output_dir", str(run), *TINY]
    with pytest.raises(SystemExit, match=f"need not be repeated: python -m training.publish {run}/package") as caught:
        main([*flags, "--push_to_hub", "true", "--hub_model_id", REPO, "--hub_private_repo", "true"])
    assert hub.repos["model", REPO].files.keys() == {".gitattributes"}
    publish.main(str(caught.value).rpartition("training.publish ")[2].split())
    assert hub.repos["model", REPO].private
    assert hub.repos["model", REPO].files["model.safetensors"] == (package / "model.safetensors").read_bytes()


def test_a_run_that_cannot_be_packaged_is_kept(
    tiny_csv: Path, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ReportError("no such report")

    run = tmp_path / "run"
    monkeypatch.setattr("training.hub.push_run.package", fail)
    flags = ["--dataset", str(tiny_csv), "--output_dir", str(run), *TINY]
    with pytest.raises(SystemExit) as caught:
        main([*flags, "--push_to_hub", "true", "--hub_model_id", REPO])
    for text in ("is trained, but not packaged: no such report", f"training.package {run} {run}/package --dataset"):
        assert text in str(caught.value)
    assert (run / "model.safetensors").is_file() and (run / "run.json").is_file()
