"""Flicker: how often the shown label changes, without and with smoothing over time, and the faces found.

python -m tests.benchmarks.flicker talk.mp4 [--model model_card/fer2013] [--detector face_detection_yunet.onnx]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from gradio_ui.recognition import EmotionRecognizer, Recognition, load_detector
from gradio_ui.recognition.live import follow
from gradio_ui.recognition.tracker import ExpressionSession
from gradio_ui.recognition.video import VideoReader

TIME_CONSTANTS = (0.0, 0.25, 0.5, 1.0, 2.0)


def changes_per_minute(
    recognitions: list[tuple[float, Recognition]], labels: tuple[str, ...], time_constant: float
) -> tuple[int, float, int]:
    """Count the label changes of all faces, the same per minute of a face in sight, and the number of face ids."""
    session = ExpressionSession(labels, time_constant)
    shown: dict[int, list[str]] = defaultdict(list)
    for seconds, recognition in recognitions:
        for face in session.update(recognition, seconds):
            shown[face.face].append(face.label)
    changes = sum(a != b for labels in shown.values() for a, b in pairwise(labels))
    return changes, 60 * changes / session.summary()["seconds"], len(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--model", default=Path(__file__).parents[2] / "model_card" / "fer2013")
    parser.add_argument("--detector", help="YuNet's .onnx file")
    options = parser.parse_args()
    recognizer = EmotionRecognizer.from_pretrained(options.model, detector=load_detector(options.detector))
    searched: dict[str, list[tuple[float, Recognition]]] = {"all over each frame": [], "near known faces": []}
    live = follow(recognizer)
    with VideoReader(options.video) as reader:
        for frame in reader:
            searched["all over each frame"].append((frame.seconds, recognizer(frame.image, flip=False)))
            searched["near known faces"].append((frame.seconds, live(frame.image, frame.seconds)))
    print(f"{options.video.name}, {recognizer.detector.name}")
    for name, recognitions in searched.items():
        faces = sum(len(recognition) for _, recognition in recognitions)
        print(f"searched {name}: {faces} faces in {len(recognitions)} frames, {recognitions[-1][0]:.1f} s")
        print(f"{'time constant':>14} {'changes':>8} {'per minute':>11} {'ids':>4}")
        for time_constant in TIME_CONSTANTS:
            changes, rate, ids = changes_per_minute(recognitions, recognizer.labels, time_constant)
            print(f"{time_constant:>12.2f} s {changes:>8} {rate:>11.1f} {ids:>4}")


if __name__ == "__main__":
    main()
