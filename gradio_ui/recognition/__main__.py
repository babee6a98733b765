"""Recognises whole folders from the command line.

python -m gradio_ui.recognition holiday/ talk.mp4 --out results.csv

One row per face: path, seconds (videos only), face, box in pixels, the detector's confidence, label, its probability,
all probabilities. A picture without a face has one row with nothing but its path. Broken off, the same command goes on
where it stopped. The exit code is 1 where a file could not be used; the others are in the result all the same.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .errors import RecognitionError
from .recognizer import EmotionRecognizer
from .types import Recognition
from .video import SUFFIXES as VIDEOS

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
DEFAULT_MODEL = Path(__file__).resolve().parents[2] / "model_card" / "fer2013"
BOX = ("left", "top", "right", "bottom")
OUTPUTS = (".csv", ".json", ".parquet")

Row = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0, 1 where a file failed, 130 where it was interrupted."""
    options = parse_options(argv)
    from .detector import load_detector

    try:
        wanted = options.detector
        detector = load_detector(wanted) if wanted in ("auto", "yunet", "haar") else load_detector("yunet", wanted)
        recognizer = EmotionRecognizer.from_pretrained(options.model, detector=detector)
    except RecognitionError as error:
        sys.exit(f"error: {error}")
    paths, failed = find_inputs(options.paths)
    settings = {
        "model": [recognizer.source.model_id, recognizer.source.revision],
        "detector": detector.name,
        "options": [options.per_second, options.smoothing, options.whole_picture],
    }
    journal = Journal(options.out.with_name(f".{options.out.name}.progress"), settings)
    try:
        failed |= recognize_all(paths, recognizer, journal, options)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Run the same command again to go on.\n")
        return 130
    write_table([row for path in paths for row in journal.rows(path)], recognizer.labels, options.out)
    journal.remove()
    for path, reason in failed.items():
        sys.stderr.write(f"failed: {path}: {reason}\n")
    return 1 if failed else 0


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line.

    Raises:
        SystemExit: after --help, or where an option cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m gradio_ui.recognition", description=__doc__.split("\n\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="pictures, videos, and folders of them")
    parser.add_argument("--out", required=True, type=Path, help="file to write: .csv, .json or .parquet")
    parser.add_argument(
        "--model", default=os.environ.get("FER_MODEL", "").split(",")[0] or DEFAULT_MODEL, help="folder or Hub id"
    )
    parser.add_argument("--detector", default="auto", help="auto, yunet, haar or a YuNet .onnx file")
    parser.add_argument("--per-second", type=float, default=10, help="frames of a video to analyse; 0 takes all")
    parser.add_argument("--smoothing", type=float, default=0.5, help="seconds, for videos; 0 is off")
    parser.add_argument("--whole-picture", action="store_true", help="every picture is one face, cut out already")
    parser.add_argument("--batch-size", type=int, default=16, help="pictures that are scored together")
    options = parser.parse_args(argv)
    if options.out.suffix not in OUTPUTS or not options.out.absolute().parent.is_dir():
        parser.error(f"--out: expected a .csv, .json or .parquet file in an existing folder, got {options.out}")
    for name, least in (("per_second", 0), ("smoothing", 0), ("batch_size", 1)):
        if not least <= (value := getattr(options, name)) < float("inf"):
            parser.error(f"--{name.replace('_', '-')}: expected {least} or more, got {value}")
    return options


def find_inputs(paths: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """The files to read, each once, in order: a folder stands for all pictures and videos in and below it.

    Returns:
        The files, and what holds none with the reason.
    """
    files: dict[Path, None] = {}
    failed = {}
    for path in paths:
        if not path.is_dir():
            files[path] = None  # whatever it is called; what it holds is looked at when it is read
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURES + VIDEOS and p.is_file())
        if not inside:
            failed[path] = "the folder holds no pictures and no videos"
        files |= dict.fromkeys(inside)
    return list(files), failed


class Journal:
    """What is done so far, kept in a file beside the result so that the command can be broken off at any moment.

    Args:
        path: of the file. One line of JSON per input; the first line holds the settings.
        settings: a journal that was written with other ones is not gone on with.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path = path
        self._done: dict[str, dict[str, Any]] = {}
        if path.exists():
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(keepends=True)):
                entry = json.loads(line) if line.endswith("\n") else {}  # the last line may have been cut off
                if number == 0 and entry != settings:
                    break
                if number and entry:
                    self._done[entry["path"]] = entry
        lines = [settings, *self._done.values()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def add(self, path: Path, rows: list[Row], problem: str = "") -> None:
        """Notes that a file is done."""
        entry = {"path": str(path), "state": _state(path), "rows": rows, "problem": problem}
        self._done[str(path)] = entry
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def has(self, path: Path) -> bool:
        """Whether a file is done and has not changed since."""
        entry = self._done.get(str(path))
        return entry is not None and path.is_file() and entry["state"] == _state(path)

    def problem(self, path: Path) -> str:
        """What of a file that is done could not be read; "" for nothing."""
        return str(self._done[str(path)]["problem"])

    def rows(self, path: Path) -> list[Row]:
        """The rows of a file; none where it failed."""
        return self._done[str(path)]["rows"] if self.has(path) else []

    def remove(self) -> None:
        """Deletes the file, once the result is written."""
        self._path.unlink()


def recognize_all(
    paths: Sequence[Path], recognizer: EmotionRecognizer, journal: Journal, options: argparse.Namespace
) -> dict[Path, str]:
    """Recognises every file that the journal does not have yet, with a progress bar.

    Returns:
        The files that could not be used, or only in part, with the reason.
    """
    from tqdm import tqdm

    failed: dict[Path, str] = {}
    waiting: list[Path] = []

    def flush() -> None:
        results = recognizer.batch(waiting, whole_picture=options.whole_picture)
        for path, result in zip(waiting, results, strict=True):
            if isinstance(result, Recognition):
                journal.add(path, _picture_rows(path, result))
            else:
                failed[path] = str(result)
        waiting.clear()

    with tqdm(paths, unit="file") as bar:
        for path in bar:
            if journal.has(path):
                pass
            elif path.suffix.lower() in VIDEOS:
                try:
                    journal.add(path, *_read_video(path, recognizer, options))
                except RecognitionError as error:
                    failed[path] = str(error)
            else:
                waiting.append(path)
            if len(waiting) == options.batch_size:
                flush()
        flush()
    return {path: journal.problem(path) for path in paths if journal.has(path) and journal.problem(path)} | failed


def _picture_rows(path: Path, recognition: Recognition) -> list[Row]:
    return [
        {
            "path": str(path),
            "face": face["face"],
            **dict(zip(BOX, face["box"], strict=True)),
            **{name: face[name] for name in ("confidence", "label", "probability")},
            **face["probabilities"],
        }
        for face in recognition.to_dicts()
    ] or [{"path": str(path)}]


def _read_video(path: Path, recognizer: EmotionRecognizer, options: argparse.Namespace) -> tuple[list[Row], str]:
    """The rows of a video and what of it could not be read."""
    from tqdm import tqdm

    from .video_analysis import VideoAnalysis

    analysis = VideoAnalysis(path, recognizer, per_second=options.per_second or None, time_constant=options.smoothing)
    with TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        with tqdm(desc=path.name, unit="s", leave=False, bar_format="{desc}: {n:.0f} of {total} s") as bar:
            for seconds in analysis.run(table):
                bar.total = round(analysis.duration or seconds)
                bar.update(seconds - bar.n)
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(_video_rows(path, csv.DictReader(file), recognizer.labels))
    return rows or [{"path": str(path)}], analysis.problem


def _video_rows(path: Path, table: Iterator[dict[str, str]], labels: Sequence[str]) -> Iterator[Row]:
    for row in table:
        yield {
            "path": str(path),
            "seconds": float(row["seconds"]),
            "face": int(row["face"]),
            **{name: float(row[name]) for name in (*BOX, "confidence")},
            "label": row["label"],
            "probability": float(row[row["label"]]),
            **{label: float(row[label]) for label in labels},
        }


def write_table(rows: Sequence[Row], labels: Sequence[str], path: Path) -> None:
    """Writes the rows in the format of the path's suffix, whole or not at all."""
    import pandas as pd

    columns = ["path", "seconds", "face", *BOX, "confidence", "label", "probability", *labels]
    table = pd.DataFrame(rows, columns=columns).astype({"face": "Int64"})
    part = path.with_name(f".{path.name}.part")
    try:
        if path.suffix == ".csv":
            table.to_csv(part, index=False)
        elif path.suffix == ".json":
            table.to_json(part, orient="records", indent=1)
        else:
            table.to_parquet(part, index=False)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _state(path: Path) -> list[int]:
    """Changes when the file does."""
    about = path.stat()
    return [about.st_size, about.st_mtime_ns]


if __name__ == "__main__":
    sys.exit(main())
