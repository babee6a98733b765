"""The command `python -m gradio_ui.recognition corpus SOURCE --out DIR`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import RecognitionError, StorageError
from ..hub import ModelSource
from ..tables import printable
from ..telemetry import disable_telemetry, keep_fonts_in_temp
from .engines import score_here
from .parts import Parts, part_name
from .ray_engine import score_with_ray
from .sources import find_works
from .worker import Done, Job, Part

SETTINGS = "_settings.json"  # readers of parquet folders pass over names that begin so
DEFAULT_MODEL = Path(__file__).resolve().parents[3] / "model_card" / "fer2013"
_DESCRIPTION = """Score a corpus of pictures into a folder of parquet files, one row a face.

SOURCE is a folder of images, tar shards or dataset files, a glob of images or tar shards (also shard-{000..099}.tar),
a .csv or .parquet table with a column path, or the id of a dataset on the Hub; --out is a folder. Each may be a local
path or an address that fsspec opens, such as s3://bucket/folder, where the package for it (s3fs) is installed.
Interrupted, the same command continues where it stopped."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 if a picture or a part failed, 130 if it was interrupted."""
    options = parse_options(argv)
    disable_telemetry()
    keep_fonts_in_temp()
    try:
        job, settings = make_job(options)
        store = Parts(options.out, job.labels)
        planned = [
            Part(part_name(index, (settings, work)), work)
            for index, work in enumerate(find_works(options.source, options.part_size))
        ]
        there = store.names()
        check_settings(store, settings, bool(there))
        done = list(_with_progress([part for part in planned if part.name not in there], job, options))
        return _finish(store, planned, there, done)
    except RecognitionError as error:
        sys.exit(f"error: {printable(str(error))}")
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Run the same command again to continue.\n")
        return 130


def _finish(store: Parts, planned: Sequence[Part], there: set[str], done: Sequence[Done]) -> int:
    """Tell what became of the parts; once all are there, remove those of pictures that have changed or gone."""
    missing = {part.name for part in planned} - there - {one.name for one in done if not one.problem}
    problems = dict.fromkeys(one.problem for one in done if one.problem)
    if not missing:
        store.remove(there - {part.name for part in planned})
    pictures, faces, errors = (sum(getattr(one, name) for one in done) for name in ("pictures", "faces", "errors"))
    kept = len(there & {part.name for part in planned})
    sys.stderr.write(
        f"{pictures} pictures, {faces} faces, {errors} errors in {len(planned) - kept - len(missing)} parts"
    )
    sys.stderr.write(f"; {kept} parts were there\n" if kept else "\n")
    for problem in problems:
        sys.stderr.write(f"failed: {problem}\n")
    if missing:
        sys.stderr.write(f"{len(missing)} parts of {len(planned)} are missing. Run the same command again.\n")
    return 1 if missing or errors else 0


def _with_progress(parts: Sequence[Part], job: Job, options: argparse.Namespace) -> Iterator[Done]:
    from tqdm import tqdm

    if not parts:
        return
    if options.engine == "ray":
        done = score_with_ray(parts, job, address=options.address, workers=options.workers, gpus=options.gpus)
    else:
        done = score_here(parts, job, options.workers or os.cpu_count() or 1)
    yield from tqdm(done, total=len(parts), unit="part", disable=None)


def make_job(options: argparse.Namespace) -> tuple[Job, dict[str, object]]:
    """Load the model once, so that what is wrong with it shows before anything starts.

    Returns:
        The job, and what the rows depend on.

    Raises:
        RecognitionError: the model or the detector cannot be loaded, or the address of the parts is of no known kind.
    """
    from ..detector import VARIABLE
    from ..recognizer import EmotionRecognizer

    detector = options.detector or os.environ.get(VARIABLE) or None
    recognizer = EmotionRecognizer.from_pretrained(options.model, detector=detector)
    job = Job(
        model=_address_of(recognizer.source),
        detector=detector,
        labels=recognizer.labels,
        whole_image=options.whole_image,
        flip=options.flip,
        batch_size=options.batch_size,
        time_limit=options.time_limit,
        memory=options.memory,
        out=Parts(options.out, recognizer.labels).address,
    )
    return job, {
        "model": [recognizer.source.model_id, recognizer.source.revision],
        "labels": list(recognizer.labels),
        "detector": recognizer.detector.name,
        "whole_image": options.whole_image,
        "flip": options.flip,
        "part_size": options.part_size,
    }


def _address_of(source: ModelSource) -> str:
    return f"{source.model_id}@{source.revision}" if source.revision else str(source.folder.resolve())


def check_settings(store: Parts, settings: dict[str, object], begun: bool) -> None:
    """Record what the rows depend on, or see that it is what the folder was begun with.

    Raises:
        StorageError: it is not, or the record cannot be read or written.
    """
    content = json.dumps(settings, indent=1).encode()
    recorded = store.read_bytes(SETTINGS)
    if begun and recorded != content:
        raise StorageError(
            f"{store.address} holds the scores of another model, detector or other options (see {SETTINGS} there). "
            "Choose another --out."
        )
    if recorded != content:
        store.write_bytes(SETTINGS, content)


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        SystemExit: after --help, or where an option cannot be used.
    """
    parser = argparse.ArgumentParser(
        prog="python -m gradio_ui.recognition corpus",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="To recognize a folder that is called corpus, write ./corpus.",
    )
    parser.add_argument("source", metavar="SOURCE", help="the pictures, see above")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the parquet files")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="default: this machine")
    parser.add_argument(
        "--address", help="of the Ray cluster [RAY_ADDRESS; default: one that runs here, or a new one]"
    )
    parser.add_argument("--workers", type=int, help="processes that score [default: one a core]")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of a worker, with --engine ray; may be 0.5")
    parser.add_argument(
        "--model", default=os.environ.get("FER_MODEL", "").split(",")[0] or DEFAULT_MODEL, help="folder or Hub id"
    )
    parser.add_argument("--detector", help="auto, yunet, whole or a YuNet .onnx file [FER_DETECTOR; default: auto]")
    parser.add_argument("--whole-image", action="store_true", help="every image is one face, cropped already")
    parser.add_argument(
        "--no-flip", dest="flip", action="store_false", help="score each face alone, not with its mirror image"
    )
    parser.add_argument("--part-size", type=int, default=1000, help="pictures of a part; a tar shard is one part")
    parser.add_argument("--batch-size", type=int, default=16, help="pictures that are scored together")
    parser.add_argument("--time-limit", type=float, default=60, metavar="SECONDS", help="that a picture may take")
    parser.add_argument(
        "--memory", type=int, default=4096, metavar="MIB", help="that pictures may take in a worker; 0: no limit"
    )
    options = parser.parse_args(argv)
    least = {"workers": 1, "gpus": 0, "part_size": 1, "batch_size": 1, "time_limit": 0.1, "memory": 0}
    for name, smallest in least.items():
        value = getattr(options, name)
        if value is not None and not smallest <= value < float("inf"):
            parser.error(f"--{name.replace('_', '-')}: expected {smallest} or more, got {value}")
    return options
