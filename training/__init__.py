"""Training, evaluation and publishing; no telemetry, switched off before any of its libraries is imported."""

from gradio_ui.recognition.telemetry import disable_telemetry

disable_telemetry()
