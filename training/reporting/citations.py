"""The papers behind data and networks, for the card."""

from __future__ import annotations

from training.reporting.dataset_names import is_fer2013, lineage
from training.reporting.report import Report, RunRecord

CITATIONS = {
    "fer2013": (
        "FER-2013: Goodfellow et al., *Challenges in Representation Learning: A report on three machine learning "
        "contests*, 2013,\n[arXiv:1307.0414](https://arxiv.org/abs/1307.0414)."
    ),
    "ferplus": (
        "FER+: Barsoum et al., *Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label "
        "Distribution*,\n2016, [arXiv:1608.01041](https://arxiv.org/abs/1608.01041)."
    ),
    "ConvNext": (
        "ConvNeXt: Liu et al., *A ConvNet for the 2020s*, 2022, [arXiv:2201.03545](https://arxiv.org/abs/2201.03545)."
    ),
    "ConvNextV2": (
        "ConvNeXt V2: Woo et al., *ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders*, 2023,\n"
        "[arXiv:2301.00808](https://arxiv.org/abs/2301.00808)."
    ),
    "ViT": (
        "ViT: Dosovitskiy et al., *An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale*, 2020,"
        "\n[arXiv:2010.11929](https://arxiv.org/abs/2010.11929)."
    ),
    "DeiT": (
        "DeiT: Touvron et al., *Training data-efficient image transformers & distillation through attention*, 2020,\n"
        "[arXiv:2012.12877](https://arxiv.org/abs/2012.12877)."
    ),
    "Swin": (
        "Swin: Liu et al., *Swin Transformer: Hierarchical Vision Transformer using Shifted Windows*, 2021,\n"
        "[arXiv:2103.14030](https://arxiv.org/abs/2103.14030)."
    ),
    "RegNet": (
        "RegNet: Radosavovic et al., *Designing Network Design Spaces*, 2020, "
        "[arXiv:2003.13678](https://arxiv.org/abs/2003.13678)."
    ),
}


def citations(report: Report, training: RunRecord) -> list[str]:
    """Return the papers behind data and network, as far as they are known."""
    runs = [*lineage(training), *training.earlier.values()]
    base = training.local_base.dataset if training.local_base else None
    votes = any(run.recipe.get("ferplus_weight") for run in runs) or any(r.head == "ferplus" for r in report.results)
    keys = {
        "fer2013": base == "FER-2013" or any(map(is_fer2013, runs)),
        "ferplus": votes,
        report.model.architecture.removesuffix("ForImageClassification"): True,
    }
    return [CITATIONS[key] for key, used in keys.items() if used and key in CITATIONS]
