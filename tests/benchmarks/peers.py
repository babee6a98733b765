"""Comparison with what people use instead, on the same images in turn: ours, `fer`, a ViT-B/16 pipeline.

    python -m tests.benchmarks.peers [--pictures FOLDER] [--fer_python other/.venv/bin/python] [--record]

Each peer runs in a process of its own, so that memory and start-up are its own. Nothing is installed: a peer that is
not there is left out, and the table says why. `fer` (Haar cascade and mini_XCEPTION) pins other versions than ours;
`--fer_python` names the Python of an environment that has it. The ViT has random weights, which cost the same time as
trained ones, and classifies the whole image: a pipeline finds no faces.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from tests.benchmarks.images import group_frame, portrait_frame
from tests.benchmarks.record import ROOT, describe, machine, record, summary

PROTOCOL = """
import json, resource, sys, time
say = lambda **answer: print("::" + json.dumps(answer), flush=True)
try:
    find = make()
except Exception as error:  # whatever a foreign package raises, it is not there
    sys.exit(say(missing=f"{type(error).__name__}: {error}".splitlines()[0]))
say(ready=True)
for line in sys.stdin:
    from PIL import Image
    import numpy
    picture = numpy.asarray(Image.open(line.strip()).convert("RGB"))
    start = time.perf_counter()
    faces = find(picture)
    took = 1000 * (time.perf_counter() - start)
    scale = 2**20 if sys.platform == "darwin" else 2**10
    say(faces=faces, ms=took, megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale)
"""
OURS = """
def make():
    from gradio_ui.recognition import EmotionRecognizer, load_detector
    recognize = EmotionRecognizer.from_pretrained(sys.argv[1], detector=load_detector(sys.argv[2] or None))
    return lambda picture: len(recognize(picture))
"""
FER = """
def make():
    import os
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    try:
        from fer.fer import FER
    except ImportError:
        from fer import FER
    detector = FER(mtcnn=False)
    return lambda picture: len(detector.detect_emotions(picture[..., ::-1].copy()))
"""
VIT = """
def make():
    import torch
    from PIL import Image
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor, pipeline
    torch.set_num_threads(2)
    model = ViTForImageClassification(ViTConfig(num_labels=7)).eval()
    classify = pipeline("image-classification", model=model, image_processor=ViTImageProcessor(), device="cpu")
    return lambda picture: classify(Image.fromarray(picture)) and None
"""


@dataclass
class Peer:
    """One process and what it answered.

    Attributes:
        name: for the table.
        missing: why it is not measured, or "".
        start_s: seconds from nothing to its first answer, imports included.
        megabytes: the most memory it held.
        faces, ms: by image; None faces for a peer that looks for none.
    """

    name: str
    process: subprocess.Popen[str]
    missing: str = ""
    start_s: float = 0.0
    megabytes: float = 0.0
    faces: dict[str, int | None] = field(default_factory=dict)
    ms: dict[str, list[float]] = field(default_factory=dict)

    def ask(self, image: Path | None = None) -> dict[str, Any]:
        """Send an image and wait for the answer; without an image, wait until the peer is ready."""
        assert self.process.stdin is not None and self.process.stdout is not None
        if image is not None:
            self.process.stdin.write(f"{image}\n")
            self.process.stdin.flush()
        for line in self.process.stdout:  # a library may print there, too
            if line.startswith("::"):
                return json.loads(line[2:])
        return {"missing": "it ended without an answer"}


def start(name: str, python: str, make: str, *arguments: str, first: Path) -> Peer:
    """Start a peer and wait for its first result."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [python, "-c", "import sys\n" + make + PROTOCOL, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    peer = Peer(name, process)
    answer = peer.ask()
    if "missing" not in answer:
        answer = peer.ask(first)
    peer.missing = answer.get("missing", "")
    peer.start_s = time.perf_counter() - began
    return peer


def make_images(folder: Path) -> list[Path]:
    """Write portraits and groups, and an image without a face."""
    portrait = portrait_frame()
    frames = {
        "portrait 640x480": portrait,
        "portrait 1920x1440": cv2.resize(portrait, (1920, 1440), interpolation=cv2.INTER_CUBIC),
        "six faces 640x480": group_frame(),
        "twelve faces 640x480": group_frame(3, 4),
        "no face 640x480": cv2.resize(portrait[300:], (640, 480), interpolation=cv2.INTER_CUBIC),
    }
    for name, frame in frames.items():
        Image.fromarray(frame).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in frames]


def compare(peers: list[Peer], images: list[Path], rounds: int) -> None:
    """Measure the peers; in each round every peer sees every image, one after the other."""
    for _ in range(rounds):
        for image in images:
            for peer in peers:
                answer = peer.ask(image)
                peer.missing = answer.get("missing", "")
                if peer.missing:
                    peers = [other for other in peers if other is not peer]
                    continue
                peer.faces[image.stem] = answer["faces"]
                peer.ms.setdefault(image.stem, []).append(answer["ms"])
                peer.megabytes = answer["megabytes"]


def rows_of(peers: list[Peer]) -> list[dict[str, Any]]:
    """Make the rows that results.json keeps. `ratio` is a peer's time over ours, the median over the images."""
    ours = {name: summary(values)["median"] for name, values in peers[0].ms.items()}
    rows = []
    for peer in peers:
        if peer.missing:
            rows.append({"name": peer.name, "missing": peer.missing})
            continue
        ms = {name: summary(values) for name, values in peer.ms.items()}
        rows.append(
            {
                "name": peer.name,
                "start_s": round(peer.start_s, 2),
                "megabytes": round(peer.megabytes),
                "ratio": round(float(np.median([ms[name]["median"] / ours[name] for name in ours])), 2),
                "pictures": {name: {"faces": peer.faces[name], **ms[name]} for name in ms},
            }
        )
    return rows


def format_rows(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        if "missing" in row:
            lines.append(f"{row['name']}: not there ({row['missing']})")
            continue
        lines.append(
            f"{row['name']}: first answer after {row['start_s']:.2f} s, {row['megabytes']} MB, "
            f"{row['ratio']:.2f} times our time"
        )
        for name, one in row["pictures"].items():
            faces = "-" if one["faces"] is None else one["faces"]
            lines.append(f"  {name:24} {faces:>3} faces {one['median']:>8.1f} ms, p95 {one['p95']:>8.1f} ms")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "model_card" / "fer2013")
    parser.add_argument("--detector", default="", metavar="FILE.onnx", help="YuNet; default: as the app finds it")
    parser.add_argument("--pictures", type=Path, help="a folder of images instead of the made ones")
    parser.add_argument("--fer_python", default=sys.executable, help="the Python of an environment with fer")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--record", action="store_true", help="keep the results in results.json")
    options = parser.parse_args()
    measured_on = machine()
    with tempfile.TemporaryDirectory() as scratch:
        images = sorted(options.images.resolve().iterdir()) if options.images else make_images(Path(scratch))
        detector = str(Path(options.detector).resolve()) if options.detector else ""
        ours = ("ours (YuNet, ONNX)", sys.executable, OURS, str(options.model.resolve()), detector)
        fer = ("fer (Haar, mini_XCEPTION)", options.fer_python, FER)
        vit = ("ViT-B/16 pipeline, whole image", sys.executable, VIT)
        peers = [start(*peer, first=images[0]) for peer in (ours, fer, vit)]
        try:
            if peers[0].missing:
                sys.exit(f"error: ours does not start: {peers[0].missing}")
            compare([peer for peer in peers if not peer.missing], images, options.rounds)
        finally:
            for peer in peers:
                peer.process.kill()
                peer.process.wait()
        rows = rows_of(peers)
    print(describe(measured_on))
    print(format_rows(rows))
    if options.record:
        record("peers", {"rounds": options.rounds, "results": rows}, measured_on)


if __name__ == "__main__":
    main()
