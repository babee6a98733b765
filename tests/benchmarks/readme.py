"""The tables of tests/benchmarks/README.md and the summary in the project's README, from results.json alone.

python -m tests.benchmarks.readme
"""

from __future__ import annotations

import json
from typing import Any

from tests.benchmarks import corpus
from tests.benchmarks.record import RESULTS, ROOT, describe
from training.files import write_text
from training.reporting.readme import with_block

BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"
TABLES = "tests/benchmarks/README.md"


def render_summary(results: dict[str, Any]) -> str:
    """Write what most people want to know, in one sentence.

    Args:
        results: the content of results.json, with the section `latency` at least.
    """
    latency = results["latency"]
    median = {row["what"]: row["median"] for row in latency["results"]}
    said = [f"a 640x480 image with one face takes {median['640x480 with 1 face, onnxruntime']:.0f} ms"]
    said.append(f"the first result comes {median['cold process to first result']:.1f} s after a cold start")
    if "webcam_1" in results:
        said.append(f"a webcam viewer gets {results['webcam_1']['viewers'][0]['per_second']:.0f} results a second")
    cores, processor = latency["machine"]["cores"], latency["machine"]["processor"]
    return f"On {cores} cores ({processor}) {', '.join(said[:-1])} and {said[-1]}: [all measurements]({TABLES})."


def render_speed(results: dict[str, Any]) -> str:
    """Write the tables of the sections that are there, as Markdown.

    Args:
        results: the content of results.json, with the section `latency` at least.
    """
    latency = results["latency"]
    lines = [
        f"Measured on {describe(latency['machine'])}, {latency['date']}; medians, model `{latency['model']}`.",
        "",
        "| what | median | p95 | target | limit of the machine |",
        "|---|---|---|---|---|",
    ]
    for row in latency["results"]:
        value, target = f"{row['median']:.3g} {row['unit']}", ""
        if row["target"] is not None:
            rounded = float(f"{row['target']:.3g}")
            target = f"{'≥' if row['higher'] else '≤'} {rounded:g}{'' if row['met'] else ', missed'}"
        limit = f"{row['limit']:.3g}" if "limit" in row else ""
        lines.append(f"| {row['what']} | {value} | {row['p95']:.3g} | {target} | {limit} |")
    if peers := results.get("peers", {}).get("results"):
        lines += [
            "",
            "| on the same images | start | memory | 640x480, one face | time by ours |",
            "|---|---|---|---|---|",
        ]
        for peer in peers:
            if "missing" in peer:
                lines.append(f"| {peer['name']} | not there | | | |")
                continue
            first = next(iter(peer["pictures"].values()))
            lines.append(
                f"| {peer['name']} | {peer['start_s']:.1f} s | {peer['megabytes']} MB | {first['median']:.3g} ms "
                f"| {peer['ratio']:.2g} |"
            )
    if training := results.get("training_speed"):
        lines += [
            "",
            f"Training runs at {training['ratio']:.0%} of a bare PyTorch loop's images a second "
            f"({training['trainer_per_s']:.0f} against {training['bare_per_s']:.0f}, batch {training['batch']}).",
        ]
    return "\n".join(
        [*lines, *against_before(results), *in_bulk(results), *in_the_browser(results), *over_time(results)]
    )


def against_before(results: dict[str, Any]) -> list[str]:
    """Likewise for the ratios to an older commit."""
    if "before" not in results:
        return []
    run = results["before"]
    lines = [
        "",
        f"Time of a result at commit `{run['commit']}` and now, each with "
        f"{'its own weights' if run['model'] == 'own' else run['model']}, in turns, on {describe(run['machine'])}, "
        f"{run['date']}:",
        "",
        "| what | before | now | ratio | 5 to 95 % of the pairs | ratio of processor time |",
        "|---|---|---|---|---|---|",
    ]
    for row in run["results"]:
        low, high = row["ratio_range"]
        lines.append(
            f"| {row['what']} | {row['before_ms']:.3g} ms | {row['after_ms']:.3g} ms | {row['ratio']:g} "
            f"| {low:g} to {high:g} | {row['cpu_ratio']:g} |"
        )
    return lines


def in_bulk(results: dict[str, Any]) -> list[str]:
    """Likewise for many images."""
    if "bulk" not in results:
        return []
    run = results["bulk"]
    lines = ["", f"Many JPEG photographs, on {describe(run['machine'])}, {run['date']}:", ""]
    lines += ["| way | images/s | of the limit: reading and detecting alone |", "|---|---|---|"]
    return lines + [
        f"| {name} | {row['per_second']:.3g} | {row['of_limit']:.0%} |" for name, row in run["results"].items()
    ]


def in_the_browser(results: dict[str, Any]) -> list[str]:
    """Likewise for the engine on the visitor's own device."""
    if "on_device" not in results:
        return []
    run = results["on_device"]
    lines = [
        "",
        f"On the visitor's own device: headless Chromium for {run['seconds']:.0f} s on {describe(run['machine'])}, "
        f"{run['date']}; the server has nothing to do:",
        "",
        "| live, 640x480 | results/s | frame to overlay, median | p95 | page | processor time a result | first start, "
        "download | second start | memory, at the 40th second and at the end |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in ("faces_1", "faces_6"):
        row = run[name]
        before, after = row["browser_megabytes"]
        lines.append(
            f"| {row['faces']:g} face{'s' if row['faces'] > 1 else ''}, {row['backend']}, {row['precision']} "
            f"| {row['per_second']:g} | {row['delay_median']:.0f} ms | {row['delay_p95']:.0f} ms "
            f"| {row['page_fps']:.0f} frames/s | {row['cpu_ms_per_result']:.0f} ms "
            f"| {row['first_start']:.1f} s, {row['megabytes']:.0f} MB | {row['second_start']:.1f} s "
            f"| {before} and {after} MB |"
        )
    return lines


def over_time(results: dict[str, Any]) -> list[str]:
    """Likewise for the webcam and for videos."""
    lines = []
    if webcam := [results[name] for name in sorted(results) if name.startswith("webcam_")]:
        lines += [
            "",
            "| webcam, 640x480, browser and server on this machine | results/s | frame to overlay, median | p95 "
            "| server memory | busy before |",
            "|---|---|---|---|---|---|",
        ]
    for run in webcam:
        slowest = min(run["viewers"], key=lambda viewer: viewer["per_second"])
        first, last = run["megabytes"]
        count = len(run["viewers"])
        lines.append(
            f"| {count} viewers, the slowest of them, {run['seconds']:.0f} s "
            if count > 1
            else f"| one viewer, {run['seconds']:.0f} s "
        )
        lines[-1] += (
            f"| {slowest['per_second']:g} | {slowest['delay_median']:.0f} ms | {slowest['delay_p95']:.0f} ms "
            f"| {last - first:+.0f} MB | {run['machine']['busy_before']:.0%} |"
        )
    if videos := [results[name] for name in ("video", "long_video") if name in results]:
        lines += [
            "",
            "| video | analyzed | times real time | an analyzed frame, first and last tenth "
            "| most memory, first fifth and all | busy before |",
            "|---|---|---|---|---|---|",
        ]
    for clip in videos:
        lines.append(
            f"| {clip['size'][0]}x{clip['size'][1]}, {clip['seconds'] / 60:.0f} min at {clip['rate']} frames/s "
            f"| {clip['per_second']:g} frames/s | {clip['times_real_time']:g} "
            f"| {clip['ms_per_frame_first_tenth']:.0f} and {clip['ms_per_frame_last_tenth']:.0f} ms "
            f"| {clip['megabytes_first_fifth']} and {clip['megabytes']} MB | {clip['machine']['busy_before']:.0%} |"
        )
    return [*lines, *corpus.lines(results)]


def main() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    for name, block in (("README.md", render_summary(results)), (TABLES, render_speed(results))):
        path = ROOT / name
        write_text(with_block(path.read_text(encoding="utf-8"), block, BEGIN, END), path)


if __name__ == "__main__":
    main()
