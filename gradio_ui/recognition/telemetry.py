"""Telemetry of the libraries underneath, switched off before each of them is first imported.

Importing this module changes nothing. The programs call `disable_telemetry`, and so does every function of the engine
that imports such a library.
"""

from __future__ import annotations

import os

OPT_OUT = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime's Linux wheels report to Microsoft and write a device id
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, transformers and gradio_client
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets and evaluate ask a host of Amazon's to count a download
    "GRADIO_ANALYTICS_ENABLED": "False",  # gradio asks for its newest version and reports each launch
    "DO_NOT_TRACK": "1",  # the general form, for what a plug-in may bring along
}


def disable_telemetry() -> None:
    """Switch off the telemetry of all dependencies for this process and its children."""
    os.environ.update(OPT_OUT)
