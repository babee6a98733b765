"""Results reach results.json and the manuals unchanged, and a peer that is not installed is left out."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.benchmarks import before, corpus, latency, peers, training_speed
from tests.benchmarks.images import face_crops, group_frame, portrait_frame
from tests.benchmarks.latency import Row
from tests.benchmarks.readme import BEGIN, END, TABLES, render_speed, render_summary
from tests.benchmarks.record import INSTRUCTIONS, RESULTS, cpuinfo, describe, machine, record, take_turns
from tests.benchmarks.scaling import GROWTHS, plot

MACHINE = {"processor": "Some CPU", "cores": 2, "memory_gb": 8.0, "system": "Linux", "busy_before": 0.02}
# A peer that needs no model: it finds a "face" in every picture that is not black.
EYES = "def make():\n    return lambda picture: int(picture.any())\n"
WEIGHTS = {"kernel": (5, 3, 2, 2), "matrix": (80, 7)}
NOBODY = "def make():\n    import a_package_that_nobody_has\n"


def test_sections_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    record("peers", {"results": [1]}, MACHINE, path)
    record("latency", {"results": [2]}, MACHINE, path)
    record("peers", {"results": [3]}, MACHINE, path)
    kept = json.loads(path.read_text())
    assert (kept["peers"]["results"], kept["latency"]["results"]) == ([3], [2])
    assert kept["peers"]["machine"] == MACHINE
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_this_machine_is_described() -> None:
    here = machine()
    assert 0 <= here["busy_before"] <= 1
    assert set(here["instructions"]) <= set(INSTRUCTIONS)
    assert describe(here).startswith(f"{here['cores']} cores (")


def test_the_instruction_set_is_described() -> None:
    text = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 amx_tile\n\nprocessor\t: 1\nflags\t\t: none\n"
    assert (cpuinfo("model name", text), cpuinfo("flags", text)) == ("Some CPU", "fpu avx2 amx_tile")
    assert cpuinfo("Features", text) == ""
    assert describe(MACHINE | {"instructions": ["avx2"]}).startswith("2 cores (Some CPU, avx2), 8 GB")


def test_tasks_take_turns() -> None:
    seen: list[str] = []
    values = take_turns({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=2, warm_up=1)
    assert seen == ["a", "b"] * 3
    assert {name: len(times) for name, times in values.items()} == {"a": 2, "b": 2}


def test_the_tables_show_results_and_missed_targets() -> None:
    fast = Row("detect", "ms", 12.0, values=[9.0, 10.0, 11.0])
    slow = Row("throughput", "faces/s", 2000.0, higher=True, values=[700.0, 710.0, 720.0], limit=900.0)
    beside = Row("classify, torch", "ms", None, values=[4.0])
    results = {
        "latency": {
            "machine": MACHINE,
            "date": "2026-01-31",
            "model": "tiny",
            "results": [row.as_dict() for row in (fast, slow, beside)],
        }
    }
    viewer = {"per_second": 8.5, "delay_median": 91.2, "delay_p95": 140.0}
    slower = viewer | {"per_second": 7.25}
    webcam = {"machine": MACHINE, "seconds": 30.0, "viewers": [viewer, slower], "megabytes": [300.2, 299.1]}
    table = render_speed(results | {"webcam_2": webcam})
    assert "| 2 viewers, the slowest of them, 30 s | 7.25 | 91 ms | 140 ms | -1 MB | 2% |" in table
    assert "2 cores (Some CPU)" in table and "2026-01-31" in table
    assert "| detect | 10 ms | 10.9 | ≤ 12 |  |" in table
    assert "| throughput | 710 faces/s | 701 | ≥ 2000, missed | 900 |" in table
    assert "| classify, torch | 4 ms | 4 |  |  |" in table


def test_the_engine_in_the_browser_is_shown() -> None:
    row = {"backend": "wasm", "precision": "int8", "first_start": 1.46, "second_start": 0.98, "megabytes": 19.2}
    row |= {"per_second": 29.4, "delay_median": 31.3, "delay_p95": 63.6, "page_fps": 60.0, "faces": 1}
    row |= {"browser_megabytes": [400, 410], "cpu_ms_per_result": 36.2}
    on_device = {
        "machine": MACHINE,
        "date": "2026-01-31",
        "seconds": 300.0,
        "faces_1": row,
        "faces_6": row | {"faces": 6},
    }
    latency = {"machine": MACHINE, "date": "2026-01-31", "model": "tiny", "results": []}
    table = render_speed({"latency": latency, "on_device": on_device})
    rest = "29.4 | 31 ms | 64 ms | 60 frames/s | 36 ms | 1.5 s, 19 MB | 1.0 s | 400 and 410 MB |"
    assert f"| 1 face, wasm, int8 | {rest}" in table and f"| 6 faces, wasm, int8 | {rest}" in table


def test_ratios_to_the_code_before_are_shown() -> None:
    latency = {"machine": MACHINE, "date": "2026-01-31", "model": "tiny", "results": []}
    row = {"what": "start", "before_ms": 400.0, "after_ms": 250.0, "ratio": 1.6, "cpu_ratio": 1.5, "rounds": 3}
    old = {"machine": MACHINE, "date": "2026-01-31", "commit": "abc123", "model": "own"}
    bulk = {"results": {"pipeline": {"per_second": 61.26, "of_limit": 0.876}}}
    table = render_speed(
        {"latency": latency, "before": old | {"results": [row | {"ratio_range": [1.4, 1.8]}]}, "bulk": old | bulk}
    )
    assert "at commit `abc123` and now, each with its own weights" in table
    assert "| start | 400 ms | 250 ms | 1.6 | 1.4 to 1.8 | 1.5 |" in table
    assert "| pipeline | 61.3 | 88% |" in table


def test_sides_take_turns_and_are_paired() -> None:
    class Side:
        def __init__(self, times: list[float]) -> None:
            self.times = iter(times)

        def measure(self, task: str) -> tuple[float, float]:
            turns.append((task, self))
            return (time := next(self.times)), time / 2

    turns: list[tuple[str, Side]] = []
    before_side, after_side = Side([9.0, 0.2, 0.4, 0.8]), Side([9.0, 0.1, 0.2, 0.2])
    (row,) = before.compare(before_side, after_side, ["a"], rounds=3)  # type: ignore[arg-type]
    assert turns == [("a", before_side), ("a", after_side)] * 4
    assert (row["before_ms"], row["after_ms"], row["ratio"], row["cpu_ratio"]) == (400.0, 200.0, 2.0, 2.0)


def test_the_multiply_adds_of_a_network(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    weights = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in WEIGHTS.items()]
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["y"], strides=[2, 2]),
        helper.make_node("Flatten", ["y"], ["z"]),
        helper.make_node("MatMul", ["z", "matrix"], ["out"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, 8, 8]), ("out", [1, 7]))
    ]
    save(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)), tmp_path / "m.onnx")
    assert latency.multiply_adds(tmp_path / "m.onnx") == 5 * 4 * 4 * 3 * 2 * 2 + 80 * 7


def test_the_summary_is_one_sentence() -> None:
    rows = [
        Row("640x480 with 1 face, onnxruntime", "ms", 18.0, values=[16.4]),
        Row("cold process to first result", "s", 2.5),
    ]
    rows[1].values.append(0.52)
    latency = {"machine": MACHINE, "results": [row.as_dict() for row in rows]}
    said = render_summary({"latency": latency, "webcam_1": {"viewers": [{"per_second": 29.8}]}})
    assert said.startswith(
        "On 2 cores (Some CPU) a 640x480 image with one face takes 16 ms, the first result comes 0.5 s"
    )
    assert "and a webcam viewer gets 30 results a second" in said and "\n" not in said


@pytest.mark.skipif(not RESULTS.exists(), reason="`make benchmark` has not run yet")
def test_the_manuals_are_those_of_the_results(root: Path) -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    for name, block in (("README.md", render_summary(results)), (TABLES, render_speed(results))):
        assert (root / name).read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip() == block, name


def test_peers_see_the_same_and_a_missing_one_is_named(tmp_path: Path) -> None:
    images = [tmp_path / "black.png", tmp_path / "gray.png"]
    for value, path in zip((0, 90), images, strict=True):
        Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)
    found = [
        peers.start(name, sys.executable, make, first=images[0]) for name, make in (("eyes", EYES), ("no", NOBODY))
    ]
    try:
        assert (found[0].missing, found[1].missing) == (
            "",
            "ModuleNotFoundError: No module named 'a_package_that_nobody_has'",
        )
        peers.compare([found[0]], images, rounds=2)
    finally:
        for peer in found:
            peer.process.kill()
            peer.process.wait()
    eyes, nobody = peers.rows_of(found)
    assert {name: one["faces"] for name, one in eyes["pictures"].items()} == {"black": 0, "gray": 1}
    assert eyes["ratio"] == 1 and eyes["start_s"] > 0 and eyes["megabytes"] > 5
    assert nobody == {"name": "no", "missing": found[1].missing}
    assert "no: not there (ModuleNotFoundError" in peers.format_rows([eyes, nobody])


@pytest.mark.slow
def test_the_trainer_and_the_bare_loop_take_turns(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.json"
    recipe.write_text(json.dumps({"hidden_sizes": [8, 16], "depths": [1, 1], "bf16": True, "use_cpu": True}))
    result = training_speed.measure_kind("avx2", recipe, steps=3, batch=14)
    assert (result["recipe"], result["device"], result["batch"], result["steps"]) == ("tiny.json", "cpu", 14, 3)
    assert min(result["ratio"], result["trainer_per_s"], result["bare_per_s"], result["other_precision"]) > 0
    assert (result["precision"], result["processor"]["native_bfloat16"]) == ("float32", False)
    assert result["processor"]["limits"] == training_speed.KINDS["avx2"]
    assert "avx2 instructions: tiny.json, cpu, float32" in training_speed.describe_speed("avx2", result)


def test_the_images_hold_the_faces_they_should() -> None:
    from gradio_ui.recognition import load_detector

    detector = load_detector("yunet")
    assert [len(detector(frame)) for frame in (portrait_frame(), group_frame(), group_frame(3, 4))] == [1, 6, 12]
    assert len({crop.tobytes() for crop in face_crops(64)}) == 64


def test_a_plot_of_each_growth(tmp_path: Path) -> None:
    steps = [{"work": 2.0**n, "time": 3.0 * n + 1, "megabytes": 100 + n} for n in range(4)]
    for name, growth in GROWTHS.items():
        plot(growth, steps, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as drawn:
            assert drawn.size == (720, 600)


def test_the_cost_of_a_corpus_is_worked_out() -> None:
    speeds = {name: {"per_second": 50.0, "start_s": 1.0} for name in corpus.NAMES} | {
        "ray_2": {"per_second": 80.0, "start_s": 9.0}
    }
    measured = {"machine": MACHINE, "pictures": 600, "speeds": speeds, "bytes_stored": 100, "bytes_read": 40_000}
    table = "\n".join(corpus.lines({"corpus": measured}))
    assert "| corpus on Ray, two nodes with a worker each | 80 | 9.0 s | 0.62 |" in table
    assert "a core scores 80 / 2 = 40 pictures/s" in table
    assert "| 10 million | 10,000,000 / 40 / 3600 = 69 | 1.1 hours | 0.40 TB | 1.0 GB |" in table
    assert corpus.lines({}) == []
