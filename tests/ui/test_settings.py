from pathlib import Path

import pytest

from gradio_ui.settings import DEFAULT_MODEL, Settings, SettingsError, parse_settings


def test_defaults() -> None:
    settings = parse_settings([], {})
    assert settings == Settings(str(DEFAULT_MODEL), "auto", "127.0.0.1", 7860)


def test_flag_wins_over_environment_over_default() -> None:
    environ = {"FER_MODEL": "me/one@abc", "PORT": "8000", "GRADIO_SERVER_NAME": "::1"}
    assert parse_settings([], environ) == Settings("me/one@abc", "auto", "::1", 8000)
    assert parse_settings(["--port", "9000", "--model", "me/two"], environ) == Settings("me/two", "auto", "::1", 9000)


def test_the_limit_of_a_video_is_a_number_of_minutes() -> None:
    assert parse_settings([], {"FER_MAX_VIDEO_MINUTES": "1.5"}).max_video_minutes == 1.5
    with pytest.raises(SettingsError, match="max_video_minutes: expected a number above 0, got 'long'"):
        parse_settings(["--max-video-minutes", "long"], {})


def test_a_space_listens_to_the_outside() -> None:
    assert parse_settings([], {"SPACE_ID": "me/space"}).host == "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"port": 0}, "port: .*1 to 65535, got 0"),
        ({"model": " "}, "model: .*user/name"),
        ({"host": ""}, "host: .*empty"),
        ({"detector": "yolo"}, "detector: .*'yolo', which is no file"),
        ({"max_video_minutes": 0}, "max_video_minutes: .*above 0, got 0"),
        ({"max_file_size": "big"}, "max_file_size: .*500mb, got 'big'"),
    ],
)
def test_wrong_values_are_refused(values: dict, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        Settings(**values)


def test_a_detector_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "yunet.onnx"
    file.touch()
    assert Settings(detector=str(file)).detector == str(file)
