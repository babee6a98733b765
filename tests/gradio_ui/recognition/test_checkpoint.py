"""The JSON files of a model folder: what each value may be, and what a message says of one that may not."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gradio_ui.recognition.checkpoint import (
    labels_of,
    model_name,
    read_config,
    read_preprocessor,
    verify_files,
)
from gradio_ui.recognition.errors import ModelError

LABELS = {"id2label": {"0": "happy", "1": "sad"}}


def write(folder: Path, file: str, content: Any) -> Path:
    (folder / file).write_text(json.dumps(content))
    return folder


def test_a_folder_in_the_hubs_cache_has_its_hub_id() -> None:
    assert model_name(Path("/hub/models--someone--faces/snapshots/0123")) == "someone/faces"
    assert model_name(Path("/hub/datasets--someone--faces/snapshots/0123")) == "0123"
    assert model_name(Path("/models/tiny")) == "tiny"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"id2label": {"0": "happy", "2": "sad"}},
            'cannot be used: expected id2label to map 0, .*"1": "sad"}, got',
        ),
        ({"id2label": {"0": "happy", "1": "happy"}}, "cannot be used: expected id2label .*, got 'happy' twice"),
        (
            {"id2label": {str(n): c for n, c in enumerate("abcdef")}},
            r"a, b, c, d, e, \.\.\.\. Expected id2label with",
        ),
        (
            {"id2label": {str(n): c for n, c in enumerate("abcde")}},
            r"are a, b, c, d, e\. Expected id2label with",
        ),
        ({"crop_margin": {"yunet": -1}}, "crop_margin in config.json is .* Expected a number above -1 and up to 2"),
        ({"crop_margin": {"yunet": 2.01}}, "crop_margin"),
        ({"crop_margin": [0.1]}, "crop_margin"),
    ],
)
def test_a_config_that_cannot_be_used(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"^{tmp_path.name}[: ].*{expected}"):
        read_config(write(tmp_path, "config.json", LABELS | change))


def test_a_config_at_the_edge_of_what_may_be(tmp_path: Path) -> None:
    good = LABELS | {"crop_margin": {"yunet": 2, "other": -0.99}}
    assert read_config(write(tmp_path, "config.json", good)) == good
    own = {"id2label": {"0": "bored", "1": "awake"}, "provenance": {}}  # classes of one's own, packaged by us
    assert read_config(write(tmp_path, "config.json", own)) == own
    assert labels_of({"id2label": {1: "sad", 0: "Happy"}}) == ("Happy", "sad")


@pytest.mark.parametrize(
    ("key", "value", "good"),
    [
        ("image_mean", [0.5, None, 0.5], [0, 0.5, 0.5]),
        ("image_std", [0.5, 0, 0.5], 0.1),
        ("rescale_factor", 0, 1 / 255),
        ("rescale_factor", True, None),
        ("crop_pct", 1.01, 1),
        ("resample", 6, 5),
        ("resample", -1, 0),
        ("size", {"height": 4097, "width": 4096}, {"height": 4096, "width": 1}),
        ("size", 0, {"shortest_edge": 224}),
    ],
)
def test_values_of_an_image_processor(key: str, value: Any, good: Any, tmp_path: Path) -> None:
    assert read_preprocessor(write(tmp_path, "preprocessor_config.json", {key: good})) == {key: good}
    with pytest.raises(ModelError, match=f"{key} in preprocessor_config.json is {re.escape(repr(value)[:9])}.*Exp"):
        read_preprocessor(write(tmp_path, "preprocessor_config.json", {key: value}))


def test_files_are_compared_with_their_checksums(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    verify_files(tmp_path, "a.json")  # no report, nothing to compare with
    report = {"schema_version": 1, "files": {"a.json": hashlib.sha256(b"{}").hexdigest()}}
    verify_files(write(tmp_path, "report.json", report), "a.json")
    with pytest.raises(ModelError, match=r"b\.json is not listed in report\.json"):
        verify_files(tmp_path, "a.json", "b.json")
    (tmp_path / "a.json").write_bytes(b"[]")
    with pytest.raises(ModelError, match=r"a\.json is damaged: report\.json gives the checksum 44136fa355b3, the"):
        verify_files(tmp_path, "a.json")
