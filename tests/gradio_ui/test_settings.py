from pathlib import Path

import pytest

from gradio_ui import settings as module
from gradio_ui.settings import Settings, SettingsError, parse_settings, shipped_models


def test_defaults() -> None:
    settings = parse_settings([], {})
    assert settings == Settings(shipped_models(), None, "127.0.0.1", 7860)


def test_flag_wins_over_environment_over_default() -> None:
    environ = {"FER_MODEL": "me/one@abc", "PORT": "8000", "GRADIO_SERVER_NAME": "::1"}
    assert parse_settings([], environ) == Settings(("me/one@abc",), None, "::1", 8000)
    assert parse_settings(["--port", "9000", "--model", "me/two"], environ) == Settings(("me/two",), None, "::1", 9000)


@pytest.mark.parametrize(
    ("flags", "environ"),
    [
        (["--model", "me/one", "--model", "me/two@v1"], {"FER_MODEL": "me/three"}),
        (["--model", "me/one, me/two@v1"], {}),
        ([], {"FER_MODEL": "me/one,me/two@v1"}),
    ],
)
def test_several_models_to_choose_from(flags: list[str], environ: dict[str, str]) -> None:
    assert parse_settings(flags, environ).models == ("me/one", "me/two@v1")


def test_the_shipped_packages_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = str(tmp_path / "fer2013")
    monkeypatch.setattr(module, "DEFAULT_MODEL", Path(default))
    assert parse_settings([], {}).models == (default,)  # in a Space there is none, and it is missed by name
    for name in ("aardvark", "fer2013", "ferplus"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").touch()
    assert parse_settings([], {}).models == (default, str(tmp_path / "aardvark"), str(tmp_path / "ferplus"))


def test_the_limit_of_a_video_is_a_number_of_minutes() -> None:
    assert parse_settings([], {"FER_MAX_VIDEO_MINUTES": "1.5"}).max_video_minutes == 1.5
    assert parse_settings(["--unclear", "0.6"], {"FER_UNCLEAR": "0.5"}).unclear_below == 0.6
    assert parse_settings([], {"FER_UNCLEAR": "0.5"}).unclear_below == 0.5
    with pytest.raises(SettingsError, match="max_video_minutes: expected a number above 0, got 'long'"):
        parse_settings(["--max-video-minutes", "long"], {})


def test_browsers_get_the_model_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "ort-wasm-simd-threaded.wasm").touch()
    assert parse_settings([], {}).on_device
    assert not parse_settings([], {"FER_ON_DEVICE": "no"}).on_device
    assert parse_settings(["--on-device", "yes"], {"FER_ON_DEVICE": "no"}).on_device
    assert parse_settings([], {"FER_RUNTIME": str(tmp_path)}).runtime == str(tmp_path)
    with pytest.raises(SettingsError, match="on_device: expected yes or no, got 'maybe'"):
        parse_settings([], {"FER_ON_DEVICE": "maybe"})


def test_a_space_listens_to_the_outside() -> None:
    assert parse_settings([], {"SPACE_ID": "me/space"}).host == "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"port": 0}, "port: .*1 to 65535, got 0"),
        ({"models": ("me/one", "")}, "model: .*user/name"),
        ({"host": ""}, "host: .*empty"),
        ({"max_video_minutes": 0}, "max_video_minutes: .*above 0, got 0"),
        ({"unclear_below": 1.1}, "unclear: expected a probability from 0 to 1, got 1.1"),
        ({"runtime": "nowhere"}, r"runtime: .*ort\*\.wasm, got nowhere"),
        ({"max_file_size": "big"}, "max_file_size: .*500mb, got 'big'"),
    ],
)
def test_wrong_values_are_refused(values: dict, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        Settings(**values)


def test_the_detector_is_left_to_the_engine() -> None:
    assert parse_settings([], {"FER_DETECTOR": "yunet"}).detector is None
    assert parse_settings(["--detector", "some.onnx"], {}).detector == "some.onnx"
