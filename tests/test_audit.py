"""The dependency check fails on a vulnerability that has a fix, and only then."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest

from tests import audit


def report(*fixed_in: str) -> str:
    one = {"id": "PYSEC-1", "fix_versions": list(fixed_in), "aliases": [], "description": ""}
    sound, skipped = {"name": "numpy", "version": "2.4", "vulns": []}, {"name": "torch", "skip_reason": "local build"}
    return json.dumps({"dependencies": [{"name": "lib", "version": "1.0", "vulns": [one]}, sound, skipped]})


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=text))


def test_a_vulnerability_with_a_fix_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answer(monkeypatch, report("1.1"))
    with pytest.raises(SystemExit, match="requirements"):
        audit.main()
    assert capsys.readouterr().out == "lib 1.0: PYSEC-1, fixed in 1.1\n"


def test_one_without_a_fix_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answer(monkeypatch, report())
    audit.main()
    assert capsys.readouterr().out == "lib 1.0: PYSEC-1, fixed in none yet\n"


def test_no_network_is_a_note(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answer(monkeypatch, "")
    audit.main()
    assert capsys.readouterr().out.startswith("vulnerabilities were not checked")
