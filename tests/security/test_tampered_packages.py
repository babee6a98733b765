"""A tampered package is refused by name before it is published, also where its checksums were written again."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from training.errors import PublishError
from training.hub import package_check
from training.hub.file_check import check_file
from training.hub.package_check import check_files, check_onnx_answers, check_package
from training.reporting.package_layout import write_checksums

FIGURE = "figures/training_curves"
PICKLED = pickle.dumps({"weights": [1.0]}, protocol=4)
Tampering = Callable[[Path], None]


@pytest.fixture(scope="module")
def untouched(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shipped package, with checksums; not to be changed."""
    folder = Path(shutil.copytree(root / "model_card" / "fer2013", tmp_path_factory.mktemp("models") / "fer2013"))
    write_checksums(folder)
    return folder


@pytest.fixture
def package(untouched: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy to tamper with."""
    yield Path(shutil.copytree(untouched, tmp_path / "fer2013"))
    shutil.rmtree(tmp_path / "fer2013")


def flip(path: Path, count: int, start: int | None = None) -> None:
    """Invert bytes of a file, in its middle unless told where."""
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    start = len(data) // 2 if start is None else start
    data[start : start + count] ^= 0xFF
    path.write_bytes(data.tobytes())


def test_the_shipped_package_passes(untouched: Path) -> None:
    assert check_package(untouched) == []


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "config.json", "preprocessor_config.json", "model.safetensors"),
        *("onnx/model.onnx", "onnx/model_quantized.onnx", f"{FIGURE}.png", f"{FIGURE}.svg"),
    ],
)
def test_every_changed_byte_is_noticed(package: Path, name: str) -> None:
    flip(package / name, 1)
    assert any(problem.startswith(f"{name}: ") for problem in check_files(package))


def test_files_beyond_the_checksums(package: Path) -> None:
    shutil.copy(package / f"{FIGURE}.png", package / "figures/more.png")
    (package / f"{FIGURE}.svg").unlink()
    missing, more = check_files(package)
    assert f"{FIGURE}.svg: is in the checksums of report.json, but not in the folder" in missing
    assert (
        "figures/more.png: has no checksum in report.json; delete it, or run python -m training.hub.package_check"
        in more
    )


def test_a_package_without_checksums_names_the_command(root: Path, package: Path) -> None:
    report = (package / "report.json").read_text()
    start = report.index('"files": {')
    end = report.index("}", start)
    (package / "report.json").write_text(report[: start + len('"files": {')] + report[end:])
    (problem,) = check_files(package)
    assert problem.endswith(f"then run python -m training.hub.package_check {package} --write_checksums")


def test_no_pipeline_for_tampered_files(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "figures/x.png").write_bytes(PICKLED)
    monkeypatch.setattr(package_check, "Classifier", None)
    assert any("figures/x.png: may hold a pickle" in problem for problem in check_package(package))


def flip_structure(folder: Path) -> None:
    flip(folder / "onnx/model.onnx", 400_000)


def flip_weights(folder: Path) -> None:
    """So that the file can be read as before."""
    file = folder / "onnx/model.onnx"
    largest = max((tensor.raw_data for tensor in onnx.load(file).graph.initializer), key=len)
    flip(file, 400_000, start=file.read_bytes().index(largest))


def random_quantized(folder: Path) -> None:
    (folder / "onnx/model_quantized.onnx").write_bytes(np.random.default_rng(0).bytes(4_000_000))


def other_quantized(folder: Path) -> None:
    """A sound file, whose classifier answers the opposite."""
    model = onnx.load(folder / "onnx/model_quantized.onnx")
    head = next(tensor for tensor in model.graph.initializer if tensor.name == "classifier.bias")
    head.CopyFrom(onnx.numpy_helper.from_array(np.float32([0, 9, 0, 0, 0, 0, 0]), head.name))
    onnx.save(model, folder / "onnx/model_quantized.onnx")


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (flip_structure, "onnx/model.onnx: is no ONNX model"),
        (flip_weights, "onnx/model.onnx: expected the answers of model.safetensors"),
        (random_quantized, "onnx/model_quantized.onnx: is no ONNX model"),
        (other_quantized, "onnx/model_quantized.onnx: expected the answers of model.safetensors"),
    ],
)
def test_onnx_files_of_another_model(package: Path, tamper: Tampering, message: str) -> None:
    tamper(package)
    write_checksums(package)
    problems = check_files(package) or check_onnx_answers(package)
    assert len(problems) == 1 and problems[0].startswith(message)


SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{}</svg>'


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ("<script>alert(1)</script>", "<script>"),
        ('<g xmlns:h="http://www.w3.org/1999/xhtml"><h:script/></g>', "<script>"),
        ('<foreignObject width="9"/>', "<foreignObject>"),
        ('<image xlink:href="https://example.org/a.png"/>', "<image>"),
        ('<rect onload="alert(1)"/>', "onload"),
        ('<use xlink:href="https://example.org/a.svg#a"/>', "href"),
        ('<use href="data:image/svg+xml,x"/>', "href"),
        ('<rect style="fill: url(https://example.org/a)"/>', "style"),
        ("<rect fill=\"URL( 'https://example.org/a')\"/>", "fill"),
        ('<rect style="fill: \\75rl(a)"/>', "style"),
        ("<style>@import 'a.css';</style>", "'@'"),
        ("<style>rect {fill: ur<!-- -->l(https://example.org)}</style>", "in a style"),
        ('<a href="javascript:alert(1)"><text>a</text></a>', "<a>"),
        ("<animate attributeName='href'/>", "<animate>"),
        ("<rect", "is no SVG"),
    ],
)
def test_svg_with_code_or_references(tmp_path: Path, inside: str, message: str) -> None:
    (tmp_path / "a.svg").write_text(SVG.format(inside))
    with pytest.raises(PublishError, match=message):
        check_file(tmp_path / "a.svg")


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ('<!DOCTYPE svg [<!ENTITY x "y">]>', "the entity x"),
        ('<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>', "the entity x"),
        ('<?xml-stylesheet href="https://example.org/a.css"?>', "<.xml-stylesheet"),
    ],
)
def test_svg_with_a_preamble_that_fetches(tmp_path: Path, before: str, message: str) -> None:
    (tmp_path / "a.svg").write_text(before + SVG.format("<g/>"))
    with pytest.raises(PublishError, match=message):
        check_file(tmp_path / "a.svg")


def test_svg_of_shapes_passes(tmp_path: Path) -> None:
    inside = "<style>*{stroke: red}</style><g clip-path='url(#a)'><use xlink:href='#b'/><text>5 // 3 @</text></g>"
    (tmp_path / "a.svg").write_text(SVG.format(inside))
    check_file(tmp_path / "a.svg")


PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.png", PICKLED, "may hold a pickle"),
        ("x.png", pickle.dumps([], protocol=2), "may hold a pickle"),
        ("x.png", b"PK\x03\x04rest", "may hold a pickle"),
        ("model.safetensors", PICKLED, "may hold a pickle"),
        ("x.png", pickle.dumps([1], protocol=0), "expected a PNG image, got a file that begins with 28"),
        ("x.png", b"", "begins with nothing"),
        ("x.png", PNG, "ends at byte 8"),
        ("x.png", PNG + bytes(4) + b"IEND" + bytes(4) + PICKLED, "ends at byte 20"),
        ("x.png", PNG + bytes(4) + b"IEND" + bytes(4), "is no PNG image"),
        ("x.svg", PNG, "is no SVG"),
        ("model.safetensors", b"\x08" + bytes(7) + b"{}      ", None),
        ("model.safetensors", b"\xff" * 64, "is no safetensors file"),
        ("config.json", b'{"a": {"auto_map": {"AutoModel": "x--m.M"}}}', "names code to load, auto_map"),
        ("config.json", b'{"a": [{"custom_pipelines": {}}]}', "names code to load, custom_pipelines"),
        ("config.json", b'{"a": 1, "a": 2}', "holds an entry twice: a"),
        ("config.json", b"[]", "expected a JSON object, got list"),
        ("config.json", b"[" * 100_000, "is no JSON"),
        ("config.json", b"\xff", "is no JSON"),
        ("README.md", b"<script>alert(1)</script>", "Markdown without scripts"),
        ("README.md", b"<img src=x onerror=alert(1)>", "Markdown without scripts"),
        ("README.md", b"[a](javascript:alert(1))", "Markdown without scripts"),
        ("README.md", b"\xff\xfe", "is no text"),
        ("model.py", b"print()", "expected one of .json"),
        ("a.onnx", b"", "is no ONNX model|keeps"),
    ],
)
def test_each_kind_by_its_content(tmp_path: Path, name: str, data: bytes, message: str | None) -> None:
    (tmp_path / name).write_bytes(data)
    if message is None:
        check_file(tmp_path / name)
    else:
        with pytest.raises(PublishError, match=message):
            check_file(tmp_path / name)


def test_onnx_that_reads_another_file(tmp_path: Path, untouched: Path) -> None:
    model = onnx.load(untouched / "onnx/model_quantized.onnx")
    onnx.save(model, tmp_path / "a.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(PublishError, match="keeps weights in another file"):
        check_file(tmp_path / "a.onnx")
