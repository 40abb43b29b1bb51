"""A final name never holds half a file."""

import stat

import pytest

from workbench.files import atomic_write


def test_the_file_is_whole_and_alone(tmp_path):
    with atomic_write(tmp_path / "a.bin") as file:
        file.write(b"one")
        assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "a.bin").read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_when_writing_fails_the_old_file_stays(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"old")
    with (
        pytest.raises(OSError, match="disk full"),
        atomic_write(tmp_path / "a.bin") as f,
    ):
        f.write(b"new")
        raise OSError("disk full")
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_others_may_read_what_they_could_read_of_a_plain_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with atomic_write(tmp_path / "a.bin") as file:
        file.write(b"one")
    modes = [stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("plain", "a.bin")]
    assert modes[0] == modes[1]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match=r"create .*nowhere first"),
        atomic_write(tmp_path / "nowhere" / "a.bin"),
    ):
        pass
