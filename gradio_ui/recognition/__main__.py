"""Recognize whole folders from the command line.

python -m gradio_ui.recognition holiday/ talk.mp4 --out results.csv

One row per face: path, seconds (videos only), face, box in pixels, the detector's confidence, label, its probability,
all probabilities, error. An image without a face has one row with nothing but its path; a file that cannot be read has
one with its path and the error. Interrupted, the same command continues where it stopped. The exit code is 1 if a file
could not be read; the others are in the table all the same.

With `--crops faces/` in place of `--out`, the faces themselves are written, see `gradio_ui.recognition.crops`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .bulk import recognize_many
from .crops import crop_targets, write_crops
from .errors import JournalError, RecognitionError
from .journal import Journal, Row
from .recognizer import EmotionRecognizer
from .tables import BOX, face_cells, face_columns, face_dict, label_columns, printable, write_csv
from .telemetry import disable_telemetry, keep_fonts_in_temp
from .types import Recognition
from .video import SUFFIXES as VIDEOS

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
DEFAULT_MODEL = Path(__file__).resolve().parents[2] / "model_card" / "fer2013"
OUTPUTS = (".csv", ".json", ".parquet")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 if a file failed, 130 if it was interrupted."""
    options = parse_options(argv)
    disable_telemetry()
    keep_fonts_in_temp()
    try:
        recognizer = EmotionRecognizer.from_pretrained(options.model, detector=options.detector)
        if options.crops:
            return crop_all(recognizer, options)
        journal = Journal(options.out.with_name(f".{options.out.name}.progress"), _settings(recognizer, options))
    except RecognitionError as error:
        sys.exit(f"error: {error}")
    paths, failed = find_inputs(options.paths)
    try:
        failed |= recognize_all(paths, recognizer, journal, options)
        write_table(_all_rows(paths, journal, failed), recognizer.labels, options.out)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Run the same command again to continue.\n")
        return 130
    except JournalError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {options.out} cannot be written ({error.strerror or error}). Run the same command again.")
    journal.remove()
    for path, reason in failed.items():
        sys.stderr.write(f"failed: {printable(f'{path}: {reason}')}\n")
    return 1 if failed else 0


def crop_all(recognizer: EmotionRecognizer, options: argparse.Namespace) -> int:
    """Write the crops of all photographs; return the exit code as `main` does."""
    found: dict[Path, list[Path]] = {}
    empty: dict[Path, str] = {}
    for path in options.paths:
        files, failed = find_inputs([path])
        found[path] = [file for file in files if file.suffix.lower() not in VIDEOS]
        empty |= failed | {file: "a video; save frames of it as images" for file in files if file not in found[path]}
    targets = crop_targets(found, options.crops)
    twice = {
        file: "another photograph goes to the same place; give the folder above both"
        for files in found.values()
        for file in files
        if file not in targets
    }
    try:
        done = write_crops(targets, recognizer, whole_image=options.whole_image)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Run the same command again.\n")
        return 130
    except OSError as error:
        sys.exit(f"error: {options.crops} cannot be written ({error.strerror or error}). Run the same command again.")
    done.failed |= empty | twice
    sys.stderr.write("".join(f"{printable(line)}\n" for line in done.lines()))
    return 1 if done.failed else 0


def _settings(recognizer: EmotionRecognizer, options: argparse.Namespace) -> dict[str, Any]:
    """Describe what the rows depend on; a journal of other settings is not continued."""
    return {
        "columns": face_columns(recognizer.labels),
        "model": [recognizer.source.model_id, recognizer.source.revision],
        "detector": recognizer.detector.name,
        "options": [options.per_second, options.smoothing, options.whole_image],
    }


def _all_rows(paths: Sequence[Path], journal: Journal, failed: dict[Path, str]) -> list[Row]:
    """List the rows of all inputs in order, each that failed with its error at the end of its rows."""
    return [
        row
        for path in dict.fromkeys([*paths, *failed])
        for row in [
            *journal.rows(path),
            *([{"path": printable(str(path)), "error": printable(failed[path])}] if path in failed else []),
        ]
    ]


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        SystemExit: after --help, or where an option cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m gradio_ui.recognition", description=__doc__.split("\n\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="images, videos, and folders of them")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, help="file to write: .csv, .json or .parquet")
    target.add_argument("--crops", type=Path, metavar="FOLDER", help="write the faces instead, to train on, as PNGs")
    parser.add_argument(
        "--model", default=os.environ.get("FER_MODEL", "").split(",")[0] or DEFAULT_MODEL, help="folder or Hub id"
    )
    parser.add_argument("--detector", help="auto, yunet, whole or a YuNet .onnx file [FER_DETECTOR; default: auto]")
    parser.add_argument("--per-second", type=float, default=10, help="frames of a video to analyze; 0 takes all")
    parser.add_argument("--smoothing", type=float, default=0.5, help="seconds, for videos; 0 is off")
    parser.add_argument(
        "--whole-image",
        "--whole-picture",  # its name in earlier versions
        action="store_true",
        help="every image is one face, cropped already",
    )
    parser.add_argument("--batch-size", type=int, default=16, help="images that are scored together")
    parser.add_argument("--ahead", type=int, default=64, help="images read ahead; fewer take less memory")
    options = parser.parse_args(argv)
    if options.crops and any(options.crops.resolve().is_relative_to(path.resolve()) for path in options.paths):
        parser.error(f"--crops: expected a folder outside of those to read, got {options.crops}")
    if options.out and (options.out.suffix not in OUTPUTS or not options.out.absolute().parent.is_dir()):
        parser.error(f"--out: expected a .csv, .json or .parquet file in an existing folder, got {options.out}")
    for name, least in (("per_second", 0), ("smoothing", 0), ("batch_size", 1), ("ahead", 1)):
        if not least <= (value := getattr(options, name)) < float("inf"):
            parser.error(f"--{name.replace('_', '-')}: expected {least} or more, got {value}")
    return options


def find_inputs(paths: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Find the files to read, each once, in order: a folder stands for all images and videos in and below it.

    Returns:
        The files, and the folders that hold none with the reason.
    """
    files: dict[Path, None] = {}
    failed = {}
    for path in paths:
        if not path.is_dir():
            files[path] = None  # whatever it is called; its content decides when it is read
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGES + VIDEOS and p.is_file())
        if not inside:
            failed[path] = "the folder holds no images and no videos"
        files |= dict.fromkeys(inside)
    return list(files), failed


def recognize_all(
    paths: Sequence[Path], recognizer: EmotionRecognizer, journal: Journal, options: argparse.Namespace
) -> dict[Path, str]:
    """Recognize every file that the journal does not have yet, with a progress bar.

    Returns:
        The files that could not be read, or only in part, with the reason.

    Raises:
        JournalError: the journal cannot be written.
    """
    from tqdm import tqdm

    failed: dict[Path, str] = {}
    missing = [path for path in paths if not journal.has(path)]
    images = [path for path in missing if path.suffix.lower() not in VIDEOS]
    results = recognize_many(
        images, recognizer, whole_image=options.whole_image, batch_size=options.batch_size, ahead=options.ahead
    )
    with tqdm(total=len(missing), unit="file", disable=None) as bar, closing(results):
        for path in missing:
            if path.suffix.lower() in VIDEOS:
                try:
                    journal.add(path, *_read_video(path, recognizer, options))
                except RecognitionError as error:
                    failed[path] = str(error)
            elif isinstance(result := next(results), Recognition):
                journal.add(path, _image_rows(path, result))
            else:
                failed[path] = str(result)
            bar.update()
    return {path: journal.problem(path) for path in paths if journal.has(path) and journal.problem(path)} | failed


def _image_rows(path: Path, recognition: Recognition) -> list[Row]:
    place = {"path": printable(str(path))}
    return [place | face_cells(face) for face in recognition.to_dicts()] or [place]


def _read_video(path: Path, recognizer: EmotionRecognizer, options: argparse.Namespace) -> tuple[list[Row], str]:
    """Return the rows of a video and what of it could not be read."""
    from tqdm import tqdm

    from .video_analysis import VideoAnalysis

    analysis = VideoAnalysis(path, recognizer, per_second=options.per_second or None, time_constant=options.smoothing)
    name = printable(path.name)
    with TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        with tqdm(desc=name, unit="s", leave=False, bar_format="{desc}: {n:.0f} of {total} s", disable=None) as bar:
            for seconds in analysis.run(table):
                bar.total = round(analysis.duration or seconds)
                bar.update(seconds - bar.n)
        rows = list(_video_rows(path, table, recognizer.labels))
    return rows or [{"path": printable(str(path))}], analysis.problem


def _video_rows(path: Path, table: Path, labels: Sequence[str]) -> Iterator[Row]:
    """Turn the table of `VideoAnalysis.run` into rows, with the smoothed probabilities."""
    from .video_analysis import read_table

    columns = label_columns(labels)
    for row in read_table(table, labels):
        probabilities = [row[columns[label]] for label in labels]
        box = [row[name] for name in BOX]
        face = face_dict(row["face"], box, row["confidence"], row["label"], labels, probabilities)
        yield {"path": printable(str(path)), "seconds": row["seconds"], **face_cells(face)}


def write_table(rows: Sequence[Row], labels: Sequence[str], path: Path) -> None:
    """Write the rows in the format of the path's suffix, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    columns = ["path", "seconds", *face_columns(labels), "error"]
    part = path.with_name(f".{path.name}.part")
    try:
        if path.suffix == ".csv":
            with part.open("w", newline="", encoding="utf-8") as file:
                write_csv(file, columns, rows)
        else:
            import pandas as pd

            table = pd.DataFrame(rows, columns=columns).astype({"face": "Int64"})
            if path.suffix == ".json":
                table.to_json(part, orient="records", indent=1)
            else:
                # A column without a single value would otherwise get the type null.
                table.astype(
                    {
                        "error": "string",
                        "label": "string",
                        "shown": "string",
                        "unclear": "boolean",
                        "seconds": "float64",
                    }
                ).to_parquet(part, index=False)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
