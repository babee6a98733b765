"""Entry point of the Space and of `make app`: read the settings, load the first model, build the page, launch.

python app.py --port 7861 --model user/name@revision
"""

import logging
import sys


def main() -> None:
    """Serves the app until it is interrupted; a wrong setting or missing weights end in one line and exit code 1."""
    from gradio_ui.memory import return_freed_memory
    from gradio_ui.recognition.errors import RecognitionError
    from gradio_ui.recognition.telemetry import disable_telemetry, keep_fonts_in_temp
    from gradio_ui.settings import SettingsError, parse_settings

    disable_telemetry()
    keep_fonts_in_temp()
    logging.basicConfig(format="%(levelname)s: %(message)s")
    return_freed_memory()
    try:
        settings = parse_settings()
        settings.require_free_port()

        from gradio_ui.model_registry import load_models

        models = load_models(settings)
    except (SettingsError, RecognitionError) as error:
        sys.exit(f"error: {error}")

    from gradio_ui.demo import build_demo, launch_options

    build_demo(models, settings).launch(**launch_options(settings))


if __name__ == "__main__":
    main()
