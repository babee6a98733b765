"""Recognize whole folders from the command line.

python -m gradio_ui.recognition holiday/ talk.mp4 --out results.csv

One row per face: path, seconds (videos only), face, box in pixels, the detector's confidence, label, its probability,
all probabilities, error. An image without a face has one row with nothing but its path; a file that cannot be read has
one with its path and the error. Interrupted, the same command continues where it stopped. The exit code is 1 if a file
could not be read; the others are in the table all the same.

With `--crops faces/` in place of `--out`, the faces themselves are written, see `gradio_ui.recognition.crops`. What is
too much for one table, or for one machine: `python -m gradio_ui.recognition corpus --help`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .bulk import recognize_many
from .corpus.command import DEFAULT_MODEL
from .corpus.command import main as score_corpus
from .corpus.parts import Parts, Row, part_name, picture_rows
from .corpus.works import IMAGES
from .crops import crop_targets, write_crops
from .errors import ImageError, RecognitionError
from .recognizer import EmotionRecognizer
from .tables import BOX, face_cells, face_columns, face_dict, label_columns, printable, write_csv
from .telemetry import disable_telemetry, keep_fonts_in_temp
from .types import Recognition
from .video import SUFFIXES as VIDEOS

OUTPUTS = (".csv", ".json", ".parquet")


@dataclass(frozen=True)
class Task:
    """A part of the run: the images that are scored together, or one video; its rows wait under its name."""

    name: str
    paths: tuple[Path, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 if a file failed, 130 if it was interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["corpus"]:
        return score_corpus(arguments[1:])
    options = parse_options(arguments)
    disable_telemetry()
    keep_fonts_in_temp()
    try:
        recognizer = EmotionRecognizer.from_pretrained(options.model, detector=options.detector)
        if options.crops:
            return crop_all(recognizer, options)
        parts = Parts(str(options.out.absolute().with_name(f".{options.out.name}.progress")), recognizer.labels)
        paths, empty = find_inputs(options.paths)
        tasks = find_tasks(paths, recognizer, options)
        recognize_all(tasks, recognizer, parts, options)
        rows = [row for task in tasks for row in parts.read(task.name)]
        rows += [_error_row(path, reason) for path, reason in empty.items()]
        write_table(rows, recognizer.labels, options.out)
        parts.remove_folder()
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Run the same command again to continue.\n")
        return 130
    except RecognitionError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {options.out} cannot be written ({error.strerror or error}). Run the same command again.")
    failed = [f"failed: {row['path']}: {row['error']}\n" for row in rows if "error" in row]
    sys.stderr.write("".join(failed))
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


def find_tasks(paths: Sequence[Path], recognizer: EmotionRecognizer, options: argparse.Namespace) -> list[Task]:
    """Cut the files into parts; a part that depends on something else than one before has another name."""
    settings = [
        recognizer.labels,
        (recognizer.source.model_id, recognizer.source.revision, recognizer.detector.name),
        (options.per_second, options.smoothing, options.whole_image, options.flip),
    ]
    groups: list[list[Path]] = []
    for path in paths:
        if groups and len(groups[-1]) < options.batch_size and not is_video(groups[-1][0]) and not is_video(path):
            groups[-1].append(path)
        else:
            groups.append([path])
    return [
        Task(part_name(index, (settings, [(str(path), _state(path)) for path in group])), tuple(group))
        for index, group in enumerate(groups)
    ]


def is_video(path: Path) -> bool:
    """Return whether a file is read as a video."""
    return path.suffix.lower() in VIDEOS


def _state(path: Path) -> tuple[int, ...]:
    """Return what changes when the file does; nothing where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns


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
    parser.add_argument(
        "--no-flip",
        dest="flip",
        action="store_false",
        help="score each face of an image alone, not with its mirror image; videos always are",
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
    tasks: Sequence[Task], recognizer: EmotionRecognizer, parts: Parts, options: argparse.Namespace
) -> None:
    """Recognize the files of every part that is not there yet, with a progress bar.

    Raises:
        StorageError: the parts cannot be read or written.
    """
    from tqdm import tqdm

    there = parts.names()
    missing = [task for task in tasks if task.name not in there]
    images = (path for task in missing if not is_video(task.paths[0]) for path in task.paths)
    results = recognize_many(
        images,
        recognizer,
        whole_image=options.whole_image,
        flip=options.flip,
        batch_size=options.batch_size,
        ahead=options.ahead,
    )
    with tqdm(total=sum(len(task.paths) for task in missing), unit="file", disable=None) as bar, closing(results):
        for task in missing:
            if is_video(task.paths[0]):
                parts.write(task.name, _video_rows(task.paths[0], recognizer, options))
            else:
                found = zip(task.paths, results, strict=False)  # the results of later tasks stay
                parts.write(task.name, [row for path, result in found for row in _image_rows(path, result)])
            bar.update(len(task.paths))


def _image_rows(path: Path, result: Recognition | ImageError) -> list[Row]:
    if isinstance(result, Recognition):
        return picture_rows(printable(str(path)), result)
    return [_error_row(path, str(result))]


def _error_row(path: Path, error: str) -> Row:
    return {"path": printable(str(path)), "error": printable(error)}


def _video_rows(path: Path, recognizer: EmotionRecognizer, options: argparse.Namespace) -> list[Row]:
    """Return the rows of a video; what of it could not be read is the last."""
    from tqdm import tqdm

    from .video_analysis import VideoAnalysis

    name = printable(path.name)
    try:
        analysis = VideoAnalysis(
            path, recognizer, per_second=options.per_second or None, time_constant=options.smoothing
        )
        with TemporaryDirectory() as folder:
            table = Path(folder) / "table.csv"
            form = "{desc}: {n:.0f} of {total} s"
            with tqdm(desc=name, unit="s", leave=False, bar_format=form, disable=None) as bar:
                for seconds in analysis.run(table):
                    bar.total = round(analysis.duration or seconds)
                    bar.update(seconds - bar.n)
            rows = list(_table_rows(path, table, recognizer.labels)) or [{"path": printable(str(path))}]
    except RecognitionError as error:
        return [_error_row(path, str(error))]
    return rows + ([_error_row(path, analysis.problem)] if analysis.problem else [])


def _table_rows(path: Path, table: Path, labels: Sequence[str]) -> Iterator[Row]:
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
