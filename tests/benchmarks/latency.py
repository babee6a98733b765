"""Latency of an image and of a start: medians and 95th percentiles against the targets for two cores.

Those for the classifier follow from the machine: its multiply-adds, and how many a large matrix product does a second.

    python -m tests.benchmarks.latency [--model model_card/fer2013] [--detector yunet.onnx] [--record]

Run it on an idle machine. The backends take turns within each round, so that a change of clock or load meets both.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gradio_ui.recognition import Classifier, Detector, EmotionRecognizer, ModelSource, load_detector
from gradio_ui.recognition.backends import ONNX_FILE, OnnxBackend
from tests.benchmarks.app import running_app
from tests.benchmarks.images import face_crops, group_frame, portrait_frame
from tests.benchmarks.record import ROOT, describe, machine, record, seconds
from training.export import QUANTIZED_FILE

COLD = """
import sys, numpy
from gradio_ui.recognition import EmotionRecognizer, load_detector
recognizer = EmotionRecognizer.from_pretrained(sys.argv[1], detector=load_detector(sys.argv[2] or None))
recognizer(numpy.load(sys.argv[3]))
"""


@dataclass
class Row:
    """One measurement.

    Attributes:
        what: what was measured.
        unit: of the values and the target.
        target: the most (the least where `higher` is better) that the median may be, or None for a backend beside.
        limit: what the same multiply-adds cost as one large matrix product on this machine, or None.
        values: one for each round.
    """

    what: str
    unit: str
    target: float | None
    higher: bool = False
    values: list[float] = field(default_factory=list)
    limit: float | None = None

    @property
    def median(self) -> float:
        return float(np.median(self.values))

    @property
    def p95(self) -> float:
        """95th percentile; of a throughput the 5th, so that 95 % of the rounds are at least as good."""
        return float(np.percentile(self.values, 5 if self.higher else 95))

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.median >= self.target if self.higher else self.median <= self.target

    def as_dict(self) -> dict[str, Any]:
        figures: dict[str, Any] = {"median": round(self.median, 3), "p95": round(self.p95, 3)}
        figures |= {"target": self.target and round(self.target, 3), "met": self.met}
        if self.limit is not None:
            figures["limit"] = round(self.limit, 3)
        return {"what": self.what, "unit": self.unit, "higher": self.higher, **figures, "rounds": len(self.values)}


def multiply_adds(file: Path) -> int:
    """Count the multiplications of a network's convolutions and matrix products for one image."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(file)).graph
    shapes = {value.name: [d.dim_value or 1 for d in value.type.tensor_type.shape.dim] for value in graph.value_info}
    shapes |= {value.name: [d.dim_value or 1 for d in value.type.tensor_type.shape.dim] for value in graph.output}
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            total += math.prod(shapes[node.output[0]]) * math.prod(weights[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm") and node.input[1] in weights:
            outputs = shapes[node.output[0]][-1]
            total += math.prod(shapes[node.output[0]]) * math.prod(weights[node.input[1]]) // outputs
    return total


def measure_peak(side: int = 1536, rounds: int = 7) -> float:
    """Measure the multiply-adds a second of a large float32 matrix product on all cores; the best of the rounds."""
    one = np.random.default_rng(0).random((side, side), np.float32)
    return side**3 / min(seconds(lambda: one @ one) for _ in range(rounds))


def measure_engine(model: Path, detector: Detector, rounds: int) -> list[Row]:
    """Measure what happens in one warm process."""
    one, six = portrait_frame(), group_frame()
    crops = face_crops(64)
    classifiers = {"torch": Classifier.from_pretrained(model, "cpu", backend="torch")}
    if (model / ONNX_FILE).is_file():
        classifiers = {"onnxruntime": Classifier.from_pretrained(model, backend="onnxruntime"), **classifiers}
    if (model / QUANTIZED_FILE).is_file():
        exact = classifiers["torch"]
        classifiers["int8"] = Classifier(exact.config, OnnxBackend(model, len(exact.labels), QUANTIZED_FILE))
    # What a face costs at the least, in milliseconds. A network of small layers with 13 convolutions and 14
    # normalizations between its matrix products cannot reach that; the targets leave it twice the time in batches.
    face = 1000 * multiply_adds(model / ONNX_FILE) / measure_peak() if (model / ONNX_FILE).is_file() else math.inf
    tasks: list[tuple[Row, Callable[[], float]]] = []

    def add(row: Row, call: Callable[[], Any]) -> None:
        tasks.append((row, lambda: len(crops) / seconds(call) if row.higher else 1000 * seconds(call)))

    for place, (name, classifier) in enumerate(classifiers.items()):
        recognizer = EmotionRecognizer(classifier, detector, ModelSource(model, model.name, None, "folder"))
        for frame, faces in ((one, 1), (six, 6)):
            if (found := len(recognizer(frame))) != faces:
                sys.exit(f"error: {detector.name} finds {found} of {faces} faces, so times would not compare")

        def graded(
            what: str, unit: str, target: float, limit: float | None = None, place: int = place, label: str = name
        ) -> Row:
            kept = target if place == 0 else None  # the backend that `auto` takes has to meet it
            return Row(f"{what}, {label}", unit, kept, unit != "ms", limit=limit if place == 0 else None)

        add(graded("classify 1 face", "ms", 4 * face, face), lambda c=classifier: c(crops[:1]))
        add(graded("classify 32 faces", "ms", 64 * face, 32 * face), lambda c=classifier: c(crops[:32]))
        add(graded("throughput", "faces/s", 500 / face, 1000 / face), lambda c=classifier: c(crops))
        add(graded("640x480 with 1 face", "ms", 15), lambda r=recognizer: r(one))
        add(graded("640x480 with 6 faces", "ms", 26), lambda r=recognizer: r(six))
    add(Row(f"detect in 640x480, {detector.name}", "ms", 11), lambda: detector(one))

    for current in range(-3, rounds):  # three to warm up
        for row, measure in tasks:
            value = measure()
            if current >= 0:
                row.values.append(value)
    return [row for row, _ in tasks]


def measure_start(model: Path, detector_path: str, starts: int) -> list[Row]:
    """Measure new processes: the engine's first result, the app's first answer, the app's memory after an image."""
    from gradio_client import Client, handle_file

    engine = Row("cold process to first result", "s", 0.5)
    answer, memory = Row("app.py to first answer", "s", 4), Row("memory of the app after an image", "MB", 450)
    with tempfile.TemporaryDirectory() as scratch:
        frame, image = Path(scratch) / "frame.npy", Path(scratch) / "frame.png"
        np.save(frame, portrait_frame())
        Image.fromarray(portrait_frame()).save(image)
        for _ in range(starts):
            command = [sys.executable, "-c", COLD, str(model), detector_path, str(frame)]
            start = time.perf_counter()
            subprocess.run(command, cwd=ROOT, check=True)
            engine.values.append(time.perf_counter() - start)
            start = time.perf_counter()
            with running_app("--model", str(model), "--detector", detector_path or "auto") as (url, app):
                answer.values.append(time.perf_counter() - start)
                Client(url, verbose=False).predict(handle_file(image), False, api_name="/recognize")
                memory.values.append(app.memory_info().rss / 1e6)
    return [engine, answer, memory]


def format_rows(rows: list[Row]) -> str:
    lines = [f"{'':34} {'median':>9} {'p95':>9} {'target':>9} {'limit':>9}"]
    for row in rows:
        limit = "" if row.limit is None else f"{row.limit:.4g}"
        verdict = "" if row.target is None else f"{row.target:>9.4g} {limit:>9}  {'met' if row.met else 'missed'}"
        lines.append(f"{row.what:34} {row.median:>9.2f} {row.p95:>9.2f} {verdict:26} {row.unit}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "model_card" / "fer2013")
    parser.add_argument("--detector", default="", metavar="FILE.onnx", help="YuNet; default: as the app finds it")
    parser.add_argument("--rounds", type=int, default=100, help="of each warm measurement")
    parser.add_argument("--starts", type=int, default=5, help="of the engine and the app; 0 leaves them out")
    parser.add_argument("--record", action="store_true", help="keep the results in results.json")
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # or PyTorch's threads would spin into the next backend's turn
    measured_on = machine()
    model = options.model.resolve()
    detector_path = str(Path(options.detector).resolve()) if options.detector else ""
    rows = measure_engine(model, load_detector(detector_path or None), options.rounds)
    if options.starts:
        rows += measure_start(model, detector_path, options.starts)
    print(describe(measured_on))
    print(format_rows(rows))
    if options.record:
        record("latency", {"model": model.name, "results": [row.as_dict() for row in rows]}, measured_on)


if __name__ == "__main__":
    main()
