"""CSV files: what is wrong is named with its line."""

import gzip
from pathlib import Path

import pytest

from training.data.csv_reader import MAX_LINE, csv_header, read_csv
from training.errors import DataError


def rows(path: Path, content: bytes) -> list[tuple[int, dict[str, str | None]]]:
    path.write_bytes(content)
    return list(read_csv(path, ("a",)))


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    content = '\ufeff A ,b\r\n1,2\r\n\r\n"x\ny",\r\n3\r\n'.encode()
    expected = [(2, {"a": "1", "b": "2"}), (5, {"a": "x\ny", "b": ""}), (6, {"a": "3", "b": None})]
    assert rows(tmp_path / "f.csv", content) == expected
    assert rows(tmp_path / "f.csv", gzip.compress(content)) == expected
    assert csv_header(tmp_path / "f.csv", ("a",)) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n3,\xff\n", r"f\.csv, line 3: expected a whole CSV file in UTF-8"),
        (b'a,b\n1,2\n"3,4\n5,6\n', r"f\.csv, line 3: expected a CSV row, its quotes closed"),
        (b"a,b\n1,2\n3," + b"4" * 200_000 + b"\n", r"f\.csv, line 3: expected a CSV row.*field larger"),
        (b"a,b\n1,2\n3," + b"4" * (MAX_LINE + 1), r"f\.csv, line 3: expected at most 1,000,000 bytes"),
        (b"a,b,A\n1,2,3\n", r"f\.csv: expected each column once; found a more than once"),
        (b"a,b\n", r"f\.csv: expected rows below the header"),
        (b"a,b\n\n\n", r"f\.csv: expected rows below the header"),
        (b"", r"f\.csv: expected the columns a; found an empty file"),
    ],
)
def test_what_is_wrong_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        rows(tmp_path / "f.csv", content)


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_damaged_gzip_is_not_blamed_on_a_row(damage: str, tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(5000))))
    if damage == "flipped":
        packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(DataError, match=r"f\.csv: expected a whole CSV file, plain or gzip; this gzip is damaged"):
        rows(tmp_path / "f.csv", bytes(packed[: -2000 if damage == "cut" else None]))
