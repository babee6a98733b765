"""The table of results in the project's README, from the shipped reports alone.

python -m training.reporting.readme

rewrites the block between the two markers; run it after packaging or evaluating a shipped model.
"""

from __future__ import annotations

from pathlib import Path

from training.errors import ReportError, command
from training.files import write_text
from training.reporting.added_results import held_out_note
from training.reporting.dataset_names import place_of
from training.reporting.report import Report
from training.reporting.tables import format_cell

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"
COLUMNS = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "macro_f1": "macro F1", "ece": "calibration error"}


def render_results(models: Path) -> str:
    """Render a Markdown table of every shipped model's results, with 95 % bootstrap intervals.

    Args:
        models: the folder of packages with a report.json.

    Raises:
        ReportError: a report cannot be used, or there is none.
    """
    lines = [f"| model, images | {' | '.join(COLUMNS.values())} |", "|---" * (1 + len(COLUMNS)) + "|"]
    notes: dict[str, None] = {}  # each once, in order
    for path in sorted(models.glob("*/report.json")):
        report = Report.load(path)
        if report.training is None:
            raise ReportError(f"{path}: expected the report of a packaged model, got one without training")
        notes |= {note: None} if (note := held_out_note(report)) else {}
        for result in report.results:
            what = f"`{path.parent.name}` on {place_of(result, report.training)}"
            what += ", with flip TTA" if result.tta == "flip" else ""
            what += ", without images seen in training" if result.subset == "unseen_pixels" else ""
            cells = [f"{what} (n = {result.counts.images:,})"]
            cells += [format_cell(result, key) for key in COLUMNS]
            lines.append(f"| {' | '.join(cells)} |")
    if len(lines) == 2:
        raise ReportError(f"{models}: expected at least one package with a report.json, got none")
    return "\n".join([*lines, *(f"\n{note}" for note in notes)])


def with_block(readme: str, block: str, begin: str = BEGIN, end: str = END) -> str:
    """Replace what stands between two markers of the README's text.

    Raises:
        ReportError: the markers are not there.
    """
    head, begun, rest = readme.partition(begin)
    _, ended, tail = rest.partition(end)
    if not (begun and ended):
        raise ReportError(f"README.md: expected the markers {begin} and {end}")
    return f"{head}{begin}\n{block}\n{end}{tail}"


@command
def main(argv: list[str] | None = None) -> None:
    """Command line."""
    readme = ROOT / "README.md"
    write_text(with_block(readme.read_text(encoding="utf-8"), render_results(ROOT / "model_card")), readme)


if __name__ == "__main__":
    main()
