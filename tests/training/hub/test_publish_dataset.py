"""A dataset goes to the Hub and comes back row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard

from tests.support.hub_fixtures import Client
from tests.support.hub_server import Fault, HubServer
from training import publish_dataset
from training.data.labels import EMOTIONS, FERPLUS_EMOTIONS, VOTES
from training.data.load import load_fer, provenance
from training.errors import DataError
from training.publish_dataset import main

REPO = "tester/fer"


@pytest.fixture(autouse=True)
def as_client(client: Client) -> Client:
    return client


def rows(data: Any) -> dict[str, list]:
    """Every row of every split, pictures as the bytes they are stored as."""
    from datasets import Image as ImageFeature

    return {split: list(part.cast_column("image", ImageFeature(decode=False))) for split, part in data.items()}


@pytest.mark.parametrize("source", ["tiny_csv", "tiny_people"])
def test_round_trip_row_by_row(hub: HubServer, source: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    dataset = request.getfixturevalue(source)
    main([str(dataset), "--repo_id", REPO])
    there = load_fer(f"{REPO}@{hub.repos['dataset', REPO].refs['main']}", cache_dir=tmp_path)
    here = load_fer(dataset)
    assert there.column_names == here.column_names
    assert there["train"].features["label"].names == here["train"].features["label"].names
    assert rows(there) == rows(here)
    assert provenance(there)["fingerprint"] == provenance(here)["fingerprint"]
    assert provenance(there)["revision"] == hub.repos["dataset", REPO].refs["main"]


def test_load_dataset_knows_the_label_names(hub: HubServer, tiny_csv: Path, tiny_votes: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    main([str(tiny_csv), "--repo_id", REPO, "--ferplus", str(tiny_votes), "--version", "v1"])
    data = load_dataset(REPO, revision="v1", cache_dir=str(tmp_path))
    assert {split: len(part) for split, part in data.items()} == {"train": 56, "validation": 14, "test": 14}
    assert data["train"].features["label"].names == list(EMOTIONS)
    assert data["test"][0]["image"].size == (48, 48) and len(data["test"][0]["votes"]) == len(VOTES)


def test_card_and_shards(hub: HubServer, tiny_people: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(publish_dataset, "SHARD_BYTES", 50_000)
    main([str(tiny_people), "--repo_id", REPO, "--license", "cc-by-4.0"])
    files = hub.repos["dataset", REPO].files
    shards = [name for name in files if name.startswith("data/train-")]
    assert len(shards) > 1 and shards[-1].endswith(f"-of-{len(shards):05}.parquet")
    card = DatasetCard(files["README.md"].decode())
    assert card.data.license == "cc-by-4.0"
    label = next(feature for feature in card.data["dataset_info"]["features"] if feature["name"] == "label")
    assert list(label["dtype"]["class_label"]["names"].values()) == list(FERPLUS_EMOTIONS)
    assert f'load_dataset("{REPO}")' in card.text and "apparent expression" in card.text
    assert str(tiny_people.parent) not in files["README.md"].decode()
    assert rows(load_fer(REPO, cache_dir=tmp_path)) == rows(load_fer(tiny_people))


def test_again_uploads_nothing_and_old_shards_go(
    hub: HubServer, tiny_people: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(publish_dataset, "SHARD_BYTES", 50_000)
        main([str(tiny_people), "--repo_id", REPO])
        hub.requests.clear()
        main([str(tiny_people), "--repo_id", REPO])
        assert hub.asked("PUT|POST") == 0 and "nothing changed" in capsys.readouterr().out
    main([str(tiny_people), "--repo_id", REPO])
    assert sum(name.startswith("data/train-") for name in hub.repos["dataset", REPO].files) == 1


def test_broken_upload_shows_nothing_and_goes_on(hub: HubServer, tiny_csv: Path) -> None:
    hub.faults.append(Fault("/commit/", cut=True))
    with pytest.raises(SystemExit, match="run the same command again"):
        main([str(tiny_csv), "--repo_id", REPO])
    assert hub.repos["dataset", REPO].files.keys() == {".gitattributes"}
    hub.requests.clear()
    main([str(tiny_csv), "--repo_id", REPO])
    assert hub.asked("PUT /lfs") == 0
    assert "data/train-00000-of-00001.parquet" in hub.repos["dataset", REPO].files


def test_private_dataset_needs_a_token(
    hub: HubServer, tiny_csv: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    main([str(tiny_csv), "--repo_id", REPO, "--private"])
    assert load_fer(REPO, cache_dir=tmp_path / "mine")
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(DataError, match="Hub dataset you have access to"):
        load_fer(REPO, cache_dir=tmp_path / "theirs")


def test_bad_source_is_one_line(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("emotion,pixels,Usage\n9,1 2 3,Training\n")
    with pytest.raises(SystemExit, match=r"error: .*expected an emotion from 0 to 6"):
        main([str(tmp_path / "bad.csv"), "--repo_id", REPO])
    assert not hub.requests
