"""A person's mistake is one line and exit status 1; a bug of ours keeps its traceback."""

from __future__ import annotations

import errno
import shutil
import tempfile

import pytest

from regen.errors import UserError, reported


def test_each_problem_is_one_line_on_stderr(capsys):
    with pytest.raises(SystemExit) as stop, reported():
        raise UserError("first\nsecond")
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: first\nerror: second\n"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full"), (errno.EFBIG, "no file may grow this large"), (errno.EACCES, "permission denied"),
        (errno.EROFS, "the file system is read-only"), (errno.EIO, "the disk cannot be read or written"),
    ],
)  # fmt: skip
def test_a_disk_that_cannot_be_written_is_named_with_its_file(number, said, capsys):
    with pytest.raises(SystemExit), reported():
        raise OSError(number, "", "models/a")
    assert capsys.readouterr().err.startswith(f"error: models/a: {said}")


def test_of_two_files_it_is_the_one_that_was_to_be_written(capsys):
    with pytest.raises(SystemExit), reported():
        raise OSError(errno.ENOSPC, "", ".work/train/a/model.json", None, "models/a/model.json")
    assert capsys.readouterr().err.startswith("error: models/a/model.json: the disk is full")


def test_other_errors_of_the_system_keep_their_traceback():
    with pytest.raises(OSError, match="odd"), reported():
        raise OSError(errno.ECHILD, "odd")


def test_no_temporary_folder_is_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "missing")])
    with pytest.raises(SystemExit), reported(), tempfile.TemporaryDirectory():
        pass
    assert capsys.readouterr().err == "error: no temporary folder can be written; free some space, or set TMPDIR\n"


def test_bugs_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), reported():
        1 / 0  # noqa: B018


def test_a_folder_that_could_not_be_copied_is_one_line(capsys):
    with pytest.raises(SystemExit), reported():
        raise shutil.Error([("a/b", "c/b", "[Errno 28] No space left on device")])
    assert capsys.readouterr().err == "error: c/b: the disk is full; free some space and run again\n"


def test_what_a_name_holds_never_reaches_the_terminal_raw(capsys):
    with pytest.raises(SystemExit), reported():
        raise UserError("a\x1b]0;owned\x07\r\x9b31m\u202e\ud800: no such ä 脑\nsecond")
    assert capsys.readouterr().err == "error: a\\x1b]0;owned\\x07\\r\\x9b31m\\u202e\\ud800: no such ä 脑\nerror: second\n"
