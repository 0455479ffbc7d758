"""Checkpoints: atomic, held by one trainer, never of another training."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from regen.data import folders
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


def test_the_one_before_is_kept_and_taken_where_the_last_one_is_damaged(tmp_path, capsys):
    for step in (3, 4, 5):
        checkpoint.save(tmp_path, TENSORS, {"step": step})
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint.FILE, checkpoint.BEFORE]
    (tmp_path / checkpoint.FILE).write_bytes(b"<html>")
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded[1] == {"step": 4}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path / checkpoint.FILE}: damaged checkpoint (")
    assert line.endswith("; the one before is taken")


def test_only_where_both_are_damaged_training_begins_anew(tmp_path, capsys):
    for step in (3, 4):
        checkpoint.save(tmp_path, TENSORS, {"step": step})
    for name in (checkpoint.FILE, checkpoint.BEFORE):
        (tmp_path / name).write_bytes(b"")
    assert checkpoint.load(tmp_path) is None
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("; the one before is taken")
    assert second.endswith("; training starts from the beginning")


def test_a_kill_between_the_two_renames_leaves_the_one_before(tmp_path, capsys):
    for step in (3, 4):
        checkpoint.save(tmp_path, TENSORS, {"step": step})
    (tmp_path / checkpoint.FILE).unlink()
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded[1] == {"step": 3}
    assert capsys.readouterr().err == ""


def test_every_flipped_bit_of_what_is_stored_is_noticed(tmp_path):
    checkpoint.save(tmp_path, TENSORS, {"step": 3, "history": []})
    path = tmp_path / checkpoint.FILE
    content = path.read_bytes()
    (expected, state) = checkpoint.load(tmp_path)
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        if (loaded := checkpoint.load(tmp_path)) is not None:  # a blank of the header's padding
            assert loaded[1] == state
            assert all(torch.equal(tensor, loaded[0][name]) for name, tensor in expected.items())


WANTED = {"model/weight": torch.zeros(2, 3), "network/weight/step": torch.zeros(())}
ROW = {"epoch": 1, "step": 2, "loss": 0.5}
SAVED = {"model/weight": torch.ones(2, 3), "network/weight/step": torch.tensor(3.0), "sums/loss": torch.tensor(0.1)}


def fits(tensors, state, patience=False):
    checkpoint.fits(tensors, state, WANTED, steps=4, per_epoch=2, patience=patience)


def test_a_checkpoint_of_this_training_fits():
    fits(SAVED, {"step": 3, "history": [ROW]})
    fits({name: SAVED[name] for name in WANTED}, {"step": 2, "history": [ROW]})
    best = {"best/weight": torch.ones(2, 3)}
    fits(SAVED | best, {"step": 3, "history": [ROW | {"validation_loss": float("nan")}]}, patience=True)


@pytest.mark.parametrize(
    ("changed", "state", "said"),
    [
        ({}, {"step": 5, "history": [ROW, ROW]}, "step 5, expected 0 to 4"),
        ({}, {"step": -1, "history": []}, "step -1"),
        ({}, {"step": True, "history": []}, "step True"),
        ({}, {"step": 3}, "history"),
        ({}, {"step": 3, "history": []}, "history"),
        ({}, {"step": 3, "history": [{"loss": "low"}]}, "history"),
        ({}, [3], "step None"),
        ({}, {"step": 3, "history": [{"epoch": 1}]}, "figures"),
        ({"sums/loss": None}, {"step": 3, "history": [ROW]}, "figures"),
        ({"model/weight": None}, {"step": 3, "history": [ROW]}, "model/weight is missing"),
        ({"model/weight": torch.ones(3, 2)}, {"step": 3, "history": [ROW]}, "expected torch.float32 of (2, 3)"),
        ({"model/weight": torch.ones(2, 3).double()}, {"step": 3, "history": [ROW]}, "float64"),
        ({"model/bias": torch.ones(1)}, {"step": 3, "history": [ROW]}, "model/bias is unknown"),
        ({"best/weight": torch.ones(2, 3)}, {"step": 3, "history": [ROW]}, "best/weight is unknown"),
    ],
)
def test_a_state_that_is_not_of_this_training_is_refused(changed, state, said):
    tensors = {name: tensor for name, tensor in {**SAVED, **changed}.items() if tensor is not None}
    with pytest.raises(ValueError, match="^.*" + re.escape(said)):
        fits(tensors, state)


def test_patience_needs_the_best_weights_so_far():
    with pytest.raises(ValueError, match="best/weight is missing"):
        fits(SAVED, {"step": 3, "history": [ROW | {"validation_loss": 1.0}]}, patience=True)


def test_what_the_caller_cannot_go_on_from_counts_as_damage(tmp_path, capsys):
    checkpoint.save(tmp_path, SAVED, {"step": 3, "history": [ROW]})
    checkpoint.save(tmp_path, SAVED, {"step": 9, "history": [ROW]})
    loaded = checkpoint.load(tmp_path, fits)
    assert loaded is not None
    assert loaded[1]["step"] == 3
    assert "step 9, expected 0 to 4" in capsys.readouterr().err


def test_a_state_nested_beyond_all_bounds_is_damage(tmp_path):
    text = "[" * 100_000
    content = safetensors.torch.save({}, metadata={"state": text, "sha256": checkpoint._digest({}, text)})
    (tmp_path / checkpoint.FILE).write_bytes(content)
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
from regen.data import folders
with reported(), folders.held(Path({str(folder)!r}), "training of vae"):
    print("trained")
"""
    with folders.held(folder, "training of vae"):
        done = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True, env={"PYTHONPATH": "src"})
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "another training of vae is at work here (process " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_work_folder_is_removed_at_success_and_kept_at_failure(tmp_path):
    with folders.held(tmp_path / "a", "training of vae"):
        (tmp_path / "a" / "checkpoint").touch()
    assert not (tmp_path / "a").exists()
    held = folders.held(tmp_path / "b", "training of vae")
    held.__enter__()
    (tmp_path / "b" / "checkpoint").touch()
    held.__exit__(RuntimeError, RuntimeError(), None)
    assert (tmp_path / "b" / "checkpoint").exists()
    with folders.held(tmp_path / "b", "training of vae"):  # and can be held again
        pass
    assert [path.name for path in tmp_path.iterdir()] == []  # not even a lock


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
