"""What the libraries underneath send and leave behind, switched off before each of them is first imported.

Importing this module changes nothing. The programs call both functions, and every function of the engine that imports
a library with telemetry calls the first.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

OPT_OUT = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime's Linux wheels report to Microsoft and write a device id
    "HF_HUB_DISABLE_TELEMETRY": "True",  # as Gradio writes it; huggingface_hub, transformers and gradio_client
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets and evaluate ask a host of Amazon's to count a download
    "GRADIO_ANALYTICS_ENABLED": "False",  # gradio asks for its newest version and reports each launch
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray reports each cluster that it starts
    "DO_NOT_TRACK": "1",  # the general form, for what a plug-in may bring along
}
# What those that are imported already have read from the variables: module, attribute, its value when switched off.
ALREADY_READ = (
    ("huggingface_hub.constants", "HF_HUB_DISABLE_TELEMETRY", True),
    ("datasets.config", "HF_UPDATE_DOWNLOAD_COUNTS", False),
    ("evaluate.config", "HF_UPDATE_DOWNLOAD_COUNTS", False),
)


def disable_telemetry() -> None:
    """Switch off the telemetry of all dependencies for this process and its children."""
    os.environ.update(OPT_OUT)
    for module, name, value in ALREADY_READ:
        if module in sys.modules:
            setattr(sys.modules[module], name, value)


def keep_fonts_in_temp() -> None:
    """Let matplotlib, which supervision imports, keep its list of fonts in the temporary folder, not in the home.

    For programs, not for a library: a matplotlibrc in the home is then not read. `MPLCONFIGDIR`, where set, wins.
    """
    if os.environ.get("MPLCONFIGDIR"):
        return
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"matplotlib-of-{user}"  # kept, as building the list takes a second
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    status = folder.lstat()
    if user not in ("user", status.st_uid) or not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o022:
        folder = Path(tempfile.mkdtemp(prefix="matplotlib-"))  # somebody else's folder of that name
    os.environ["MPLCONFIGDIR"] = str(folder)
