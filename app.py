"""Entry point of the Space and of `make app`: read the settings, load the first model, build the page, launch.

python app.py --port 7861 --model user/name@revision
"""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def main() -> None:
    """Serve the app until it is interrupted; a wrong setting or missing weights end in one line and exit code 1."""
    from gradio_ui.recognition.errors import RecognitionError
    from gradio_ui.recognition.telemetry import disable_telemetry, keep_fonts_in_temp
    from gradio_ui.server.component_stubs import skip_component_stubs
    from gradio_ui.server.memory import MemoryRelease, return_freed_memory
    from gradio_ui.server.temp_files import TempFiles
    from gradio_ui.settings import SettingsError, parse_settings

    disable_telemetry()
    keep_fonts_in_temp()
    logging.basicConfig(format="%(levelname)s: %(message)s")
    return_freed_memory()
    skip_component_stubs()
    try:
        settings = parse_settings()
        settings.require_free_port()
        with interrupted_by_signals(), TempFiles(), MemoryRelease():
            from gradio_ui.model_registry import load_models

            models = load_models(settings)

            from gradio_ui.demo import build_demo, launch_options

            build_demo(models, settings).launch(**launch_options(models, settings))
    except (SettingsError, RecognitionError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Treat the signals that end a server as Ctrl-C, once: what is being cleaned up then is not interrupted again.

    SIGTERM raises `Terminated`, upon which the page finishes the work under way.
    """
    from gradio_ui.server.health import Terminated

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(came: int, _: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise Terminated if came == signal.SIGTERM else KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main()
