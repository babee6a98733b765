"""Reading and writing videos: timing, rotation, sound, and files that are no videos."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import pytest

from gradio_ui.recognition.errors import VideoError
from gradio_ui.recognition.video import VideoReader
from gradio_ui.recognition.video_writer import VideoWriter
from tests.support.clips import CODECS, frame_times, make_clip

STEADY = [i / 25 for i in range(25)]
UNEVEN = [0.0, 0.04, 0.4, 0.44, 0.9, 1.5]


def rewrite(source: Path | BinaryIO, target: Path) -> str:
    with VideoReader(source) as reader, VideoWriter(target, reader) as writer:
        for frame in reader:
            writer.write(frame, frame.image)
    return reader.problem


@pytest.mark.parametrize("suffix", CODECS)
def test_every_kind_of_file_becomes_an_mp4_with_sound(suffix: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / f"clip{suffix}", STEADY)
    assert rewrite(clip, tmp_path / "out.mp4") == ""
    assert frame_times(tmp_path / "out.mp4") == pytest.approx(STEADY, abs=0.002)
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert out.streams.video[0].codec_context.name == "h264"
        assert out.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert out.streams.audio[0].codec_context.name in ("aac", "opus", "flac")
        mono = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        pieces = [piece.to_ndarray()[0] for frame in out.decode(audio=0) for piece in mono.resample(frame)]
    sound = np.concatenate(pieces).astype(float)
    assert len(sound) / 48_000 == pytest.approx(1.0, abs=0.06)
    tone = np.abs(np.fft.rfft(sound[12_000:24_000])).argmax() * 4
    assert tone == pytest.approx(440, abs=5)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({clip.name, "out.mp4"})


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rate_is_kept(suffix: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / f"clip{suffix}", UNEVEN)
    with VideoReader(clip) as reader:
        assert [round(f.seconds, 3) for f in reader] == UNEVEN
    rewrite(clip, tmp_path / "out.mp4")
    assert frame_times(tmp_path / "out.mp4") == UNEVEN
    with av.open(str(tmp_path / "out.mp4")) as out:  # a player seeks by the length that the file states
        video = out.streams.video[0]
        assert UNEVEN[-1] < video.duration * video.time_base < UNEVEN[-1] + 0.5


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
def test_an_open_file_reads_like_its_path(suffix: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / f"clip{suffix}", STEADY)
    rewrite(clip, tmp_path / "from_path.mp4")
    for name, file in (("file", clip.open("rb")), ("memory", io.BytesIO(clip.read_bytes()))):
        with file:
            file.seek(100)  # wherever it stands
            assert rewrite(file, tmp_path / f"from_{name}.mp4") == ""
            assert not file.closed
        assert frame_times(tmp_path / f"from_{name}.mp4") == frame_times(tmp_path / "from_path.mp4")


def test_errors_do_not_name_an_open_file(tmp_path: Path) -> None:
    for content, expected in ((b"", r"The file is empty \(0 bytes\)"), (b"text" * 99, "The file cannot be read as a")):
        (tmp_path / "secret.mp4").write_bytes(content)
        with (tmp_path / "secret.mp4").open("rb") as file, pytest.raises(VideoError, match=f"^{expected}") as caught:
            VideoReader(file)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4"])
def test_a_video_that_begins_late_is_whole(suffix: str, tmp_path: Path) -> None:
    late = make_clip(tmp_path / f"late{suffix}", [600 + i / 25 for i in range(75)], sound=False)
    with VideoReader(late) as reader:
        assert reader.start == pytest.approx(600.0, abs=0.1)
        assert reader.duration == pytest.approx(3.0, abs=0.15)
        assert [frame.seconds for frame in reader] == pytest.approx([i / 25 for i in range(75)], abs=0.03)
        assert reader.problem == ""
    rewrite(late, tmp_path / "out.mp4")
    assert frame_times(tmp_path / "out.mp4") == pytest.approx([i / 25 for i in range(75)], abs=0.03)


@pytest.mark.parametrize(
    ("rotation", "shape", "bright"),
    [
        (0, (64, 96), np.s_[:, :40]),
        (90, (96, 64), np.s_[56:]),
        (-90, (96, 64), np.s_[:40]),
        (180, (64, 96), np.s_[:, 56:]),
    ],
)
def test_rotation_flags_are_honored(rotation: int, shape: tuple, bright: tuple, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", STEADY[:3], rotation=rotation)
    with VideoReader(clip) as reader:
        image = next(iter(reader)).image
    assert image.shape == (*shape, 3)
    assert image[bright][..., 0].min() > 180
    assert np.median(image[..., 0]) < image[bright][..., 0].min() or image[..., 0].mean() < 140
    rewrite(clip, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as out:
        frame = next(out.decode(video=0))
        assert (frame.height, frame.width, frame.rotation) == (*shape, 0)


def test_colors_survive_and_odd_sides_become_even(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", STEADY[:5], sound=False)
    image = np.full((63, 95, 3), (200, 60, 30), np.uint8)
    with VideoReader(clip) as reader, VideoWriter(tmp_path / "out.mp4", reader) as writer:
        for frame in reader:
            writer.write(frame, image)
    with VideoReader(tmp_path / "out.mp4") as reader:
        back = next(iter(reader)).image
    assert back.shape == (62, 94, 3)
    assert np.abs(back.mean(axis=(0, 1)) - (200, 60, 30)).max() < 4


def test_interrupted_writing_leaves_no_file(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", STEADY)
    with (
        pytest.raises(KeyboardInterrupt),
        VideoReader(clip) as reader,
        VideoWriter(tmp_path / "o.mp4", reader) as writer,
    ):
        writer.write(frame := next(iter(reader)), frame.image)
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_cut_off_file_gives_what_can_be_read(suffix: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / f"clip{suffix}", [i / 25 for i in range(150)], fragmented=suffix == ".mp4")
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) * 55 // 100])
    problem = rewrite(clip, tmp_path / "out.mp4")
    assert 10 < len(frame_times(tmp_path / "out.mp4")) < 140
    if suffix != ".mp4":  # a cut fragmented file does not say how long it was
        assert "breaks off after" in problem


def contents(kind: str, folder: Path) -> bytes:
    if kind == "text":
        return b"#EXTM3U\nhttp://127.0.0.1/secret\n" * 20
    if kind == "list of other files":
        return b"ffconcat version 1.0\nfile other.mp4\n"
    if kind == "picture":
        from PIL import Image

        Image.new("RGB", (64, 64)).save(folder / "p.png")
        return (folder / "p.png").read_bytes()
    clip = make_clip(folder / "whole.mp4", STEADY)
    return clip.read_bytes()[:-400] if kind == "cut before its index" else b""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("empty", r"is empty \(0 bytes\)"),
        ("text", r"cannot be read as a video .*changed name"),
        ("list of other files", r"cannot be read as a video .*changed name"),
        ("picture", r"cannot be read as a video .*changed name"),
        ("cut before its index", r"cannot be read as a video .*cut off"),
    ],
)
def test_other_files_are_one_clear_error(kind: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    bad = tmp_path / "film.mp4"
    bad.write_bytes(contents(kind, tmp_path / "source"))
    with pytest.raises(VideoError, match=rf"film\.mp4 {expected}"):
        VideoReader(bad)


def test_sound_alone_and_no_file_are_clear_errors(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        piece = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.int16), format="s16", layout="mono")
        piece.sample_rate = 48_000
        container.mux([*stream.encode(piece), *stream.encode(None)])
    with pytest.raises(VideoError, match="has no pictures, only sound"):
        VideoReader(path)
    with pytest.raises(VideoError, match="there is no such file"):
        VideoReader(tmp_path / "none.mp4")
