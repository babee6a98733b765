"""Benchmarks, run without the telemetry of the libraries that they measure."""

from gradio_ui.recognition.telemetry import disable_telemetry

disable_telemetry()
