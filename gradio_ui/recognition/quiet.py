"""What transformers shows while it loads a model from files that are there: bars over tensors, advice on torchvision.

Importing this module changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

_REPORTS = "transformers.modeling_utils"
_FALLBACKS = "transformers.utils.import_utils"  # the logger that tells of stand-ins for missing libraries


def _not_about_torchvision(record: logging.LogRecord) -> bool:
    return "requires torchvision" not in str(record.msg)


def hide_torchvision_advice() -> None:
    """Let transformers use its PIL image processors, which are meant here, without advice to install torchvision."""
    logger = logging.getLogger(_FALLBACKS)
    if _not_about_torchvision not in logger.filters:
        logger.addFilter(_not_about_torchvision)


def _no_load_report(record: logging.LogRecord) -> bool:
    return "LOAD REPORT" not in str(record.msg)


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Load with transformers without its bar over the tensors; bars of downloads and of others are as before.

    Nor does it print its table of keys that are missing, unexpected or reshaped: ask for `output_loading_info`.
    """
    from transformers.utils.logging import set_tqdm_hook

    hide_torchvision_advice()
    reports = logging.getLogger(_REPORTS)
    reports.addFilter(_no_load_report)
    previous = set_tqdm_hook(lambda make, args, options: make(*args, **options | {"disable": True}))
    try:
        yield
    finally:
        set_tqdm_hook(previous)
        reports.removeFilter(_no_load_report)
