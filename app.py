"""Entry point of the Space and of `make app`: read the settings, load the recognizer, build the page, launch.

python app.py --port 7861 --model user/name@revision
"""

import sys
from dataclasses import replace


def main() -> None:
    """Serves the app until it is interrupted; a wrong setting or missing weights end in one line and exit code 1."""
    from gradio_ui.recognition.errors import RecognitionError
    from gradio_ui.settings import DEFAULT_MODEL, DETECTORS, SettingsError, parse_settings

    try:
        settings = parse_settings()
        settings.require_free_port()

        from gradio_ui.recognition.detector import load_detector
        from gradio_ui.recognition.hub import HubUnreachableError
        from gradio_ui.recognition.recognizer import EmotionRecognizer

        wanted = settings.detector
        detector = load_detector(wanted) if wanted in DETECTORS else load_detector("yunet", wanted)
        try:
            recognizer = EmotionRecognizer.from_pretrained(settings.model, detector=detector)
        except HubUnreachableError as error:
            if not DEFAULT_MODEL.is_dir():  # a Space carries no weights
                raise
            recognizer = EmotionRecognizer.from_pretrained(DEFAULT_MODEL, detector=detector)
            notice = f"{error} Serving the checkpoint that came with the app."
            recognizer.source = replace(recognizer.source, notice=notice)
    except (SettingsError, RecognitionError) as error:
        sys.exit(f"error: {error}")

    if recognizer.source.notice:
        print(f"warning: {recognizer.source.notice}", file=sys.stderr)

    from gradio_ui.demo import build_demo, launch_options

    build_demo(recognizer, settings).launch(**launch_options(settings))


if __name__ == "__main__":
    main()
