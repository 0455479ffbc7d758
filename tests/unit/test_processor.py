"""Which kinds of processor multiply bf16 faster than fp32."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from regen import processor

XEON, EPYC = "Intel(R) Xeon(R) Processor", "AMD EPYC 9R14"


@pytest.mark.parametrize(
    ("named", "tiles", "avx512", "faster"),
    [
        (XEON, True, True, True),  # AMX
        (XEON, False, True, False),  # AVX512-BF16 alone: half the rate of fp32
        (EPYC, False, True, True),
        (EPYC, False, False, False),  # AVX2
    ],
)
def test_bf16_is_taken_where_it_is_faster(
    named: str, tiles: bool, avx512: bool, faster: bool, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(processor, "INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: {named}\n")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    assert processor.name() == named
    assert processor.faster_in_bf16() is faster


def test_a_machine_without_the_file_has_a_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(processor, "INFO", tmp_path / "none")
    assert processor.name()
