"""Checkpoints: atomic, held by one trainer, never of another training."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from regen.training import checkpoint

TENSORS = {"model/weight": torch.arange(6.0), "network/weight/step": torch.tensor(3.0)}


def test_what_is_saved_is_loaded(tmp_path):
    checkpoint.save(tmp_path, TENSORS, {"step": 3, "history": [{"epoch": 1, "loss": 0.1}]})
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    tensors, state = loaded
    assert state == {"step": 3, "history": [{"epoch": 1, "loss": 0.1}]}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert checkpoint.parts(tensors)["network"]["weight/step"] == 3


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoint.load(tmp_path) is None


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, b"<html>"])
def test_a_damaged_checkpoint_is_told_and_begins_anew(tmp_path, damage, capsys):
    checkpoint.save(tmp_path, TENSORS, {"step": 3})
    (tmp_path / checkpoint.FILE).write_bytes(damage)
    assert checkpoint.load(tmp_path) is None
    assert "damaged checkpoint" in capsys.readouterr().err


def test_a_checkpoint_cut_short_is_not_loaded(tmp_path):
    checkpoint.save(tmp_path, TENSORS, {"step": 3})
    path = tmp_path / checkpoint.FILE
    path.write_bytes(path.read_bytes()[:-4])
    assert checkpoint.load(tmp_path) is None


def test_a_full_disk_while_writing_keeps_the_one_before(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, TENSORS, {"step": 3})

    def full(path, content):
        with Path(path).open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path, TENSORS, {"step": 4})
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded[1]["step"] == 3
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.FILE]


def test_a_second_trainer_on_one_work_folder_says_so_and_stops(tmp_path):
    folder = tmp_path / "vae" / "abc"
    second = f"""
import sys
from pathlib import Path
from regen.errors import reported
from regen.training import checkpoint
with reported(), checkpoint.held(Path({str(folder)!r}), "vae"):
    print("trained")
"""
    with checkpoint.held(folder, "vae"):
        done = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True, env={"PYTHONPATH": "src"})
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "another training of vae is at work here (process " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_work_folder_is_removed_at_success_and_kept_at_failure(tmp_path):
    with checkpoint.held(tmp_path / "a", "vae"):
        (tmp_path / "a" / "checkpoint").touch()
    assert not (tmp_path / "a").exists()
    held = checkpoint.held(tmp_path / "b", "vae")
    held.__enter__()
    (tmp_path / "b" / "checkpoint").touch()
    held.__exit__(RuntimeError, RuntimeError(), None)
    assert (tmp_path / "b" / "checkpoint").exists()
    with checkpoint.held(tmp_path / "b", "vae"):  # and can be held again
        pass


def test_the_signature_changes_with_anything_that_decides_the_result():
    same = checkpoint.signature(params={"beta": 1}, seed=0, data={"train.npy": "a"})
    assert same == checkpoint.signature(seed=0, data={"train.npy": "a"}, params={"beta": 1})
    others = [
        checkpoint.signature(params={"beta": 2}, seed=0, data={"train.npy": "a"}),
        checkpoint.signature(params={"beta": 1}, seed=1, data={"train.npy": "a"}),
        checkpoint.signature(params={"beta": 1}, seed=0, data={"train.npy": "b"}),
    ]
    assert len({same, *others}) == 4


def test_the_signature_changes_with_the_code_and_with_torch(monkeypatch):
    before = checkpoint.signature(seed=0, code={"src/regen/models/vae.py": "a"})
    assert checkpoint.signature(seed=0, code={"src/regen/models/vae.py": "b"}) != before
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert checkpoint.signature(seed=0, code={"src/regen/models/vae.py": "a"}) != before
