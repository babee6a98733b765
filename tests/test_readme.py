"""The README is true: its results are the reports', its commands and settings exist, its front matter is a Space's."""

import json
import re
from pathlib import Path

import pytest
import yaml

from gradio_ui.settings import parse_settings
from training.errors import ReportError
from training.reporting.readme import BEGIN, END, render_results, with_block


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def test_results_are_those_of_the_reports(readme: str, root: Path) -> None:
    block = readme.partition(BEGIN)[2].partition(END)[0].strip()
    assert block == render_results(root / "model_card")


def test_another_report_gives_other_results(root: Path, tmp_path: Path) -> None:
    report = json.loads((root / "model_card/fer2013/report.json").read_text(encoding="utf-8"))
    report["results"][0]["metrics"]["accuracy"] = 0.123456
    (tmp_path / "fer2013").mkdir()
    (tmp_path / "fer2013/report.json").write_text(json.dumps(report))
    assert "0.123 (" in render_results(tmp_path)
    assert "0.123 (" not in render_results(root / "model_card")


def test_only_the_block_is_replaced() -> None:
    assert with_block("a\n<b>\nold\n</b>\nc", "new", "<b>", "</b>") == "a\n<b>\nnew\n</b>\nc"


def test_missing_markers_or_reports_are_said(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="markers"):
        with_block("no block here", "x")
    with pytest.raises(ReportError, match=r"report\.json"):
        render_results(tmp_path)


def test_front_matter_is_a_spaces(readme: str, root: Path) -> None:
    matter = yaml.safe_load(readme.split("---\n")[1])
    assert matter["sdk"] == "gradio" and matter["license"] == "apache-2.0"
    assert (root / matter["app_file"]).is_file()
    assert len(matter["short_description"]) <= 60  # the Hub's limit
    low, high = re.search(r"gradio\[mcp\]>=([\d.]+),<(\d+)", (root / "requirements.txt").read_text()).groups()
    assert tuple(map(int, low.split("."))) <= tuple(map(int, matter["sdk_version"].split(".")[:2]))
    assert int(matter["sdk_version"].split(".")[0]) < int(high)


def test_every_setting_named_exists(readme: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--help"])
    manual = capsys.readouterr().out
    table = readme.partition("## Settings")[2].partition("##")[0]
    for name in re.findall(r"`(--[\w-]+|[A-Z_]{4,})`", table):
        assert name in manual, f"{name} is in the README but not in app.py --help"


def test_every_make_target_and_module_named_exists(readme: str, root: Path) -> None:
    makefile = (root / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z0-9-]+)", readme):
        assert re.search(rf"^(?:[\w-]+ )*{target}\b.*:", makefile, re.MULTILINE), (
            f"make {target} is in the README only"
        )
    for module in re.findall(r"-m ((?:training|gradio_ui|tests)[\w.]+)", readme):
        path = root / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", readme):
        assert (root / link).exists(), link
