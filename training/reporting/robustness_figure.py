"""Plot of the accuracy under corruptions, from the table in a report.

write_figures([robustness_figure(report.robustness)], Path("figures"), Path())
"""

from __future__ import annotations

from training.evaluation.results import Robustness
from training.evaluation.robustness import CORRUPTIONS
from training.reporting.plot_style import BLUE, MUTED, ReportFigure, new_figure, styled

TITLE = "Accuracy under corruptions"


@styled
def robustness_figure(measured: Robustness) -> ReportFigure:
    """Draw accuracy against severity, a panel for each corruption."""
    clean = measured.clean.accuracy
    where = f"{measured.head}, {measured.split}, {measured.images:,} images; dotted: the same images, clean"
    figure, panels = new_figure(TITLE, where, 4.9, 2, 4, sharey=True)
    strongest = []
    for axes, (name, corruption) in zip(panels.flat, CORRUPTIONS.items(), strict=True):
        accuracy = [row.accuracy for row in measured.rows if row.corruption == name]
        axes.axhline(clean, color=MUTED, linestyle=":", linewidth=1.2)
        axes.plot(accuracy, "o-", color=BLUE)
        axes.set_xticks(range(len(accuracy)), [f"{severity:g}" for severity in corruption.severities])
        axes.set(title=corruption.title, ylim=(0, 1), xlim=(-0.4, len(accuracy) - 0.6))
        axes.set_xlabel(corruption.unit, fontsize=9)
        axes.annotate(
            f"{accuracy[-1]:.2f}",
            (len(accuracy) - 1, accuracy[-1]),
            (0, -17 if accuracy[-1] > 0.15 else 7),
            textcoords="offset points",
            ha="center",
        )
        strongest.append(f"{corruption.title.lower()} {accuracy[-1]:.3f}")
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy")
    alt = f"{TITLE}. Clean {clean:.3f}; at the highest severity: " + ", ".join(strongest) + "."
    return ReportFigure("robustness", TITLE, alt, figure)
