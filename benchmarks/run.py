"""Speed, side by side: `make bench`. One process run after another, in pairs, medians of ratios.

* This VAE's training against pythae's (Chadebec et al. 2022) with the same networks, batch size and data, in images/s.
  pythae is installed into an environment of its own, `.work/bench-venv`.
* The share of the machine's measured matrix product rate, fp32's or bf16's as it trains, that our training reaches.
* Start-up of a stage to its first training step, less the import of torch.
* The cost of tracking: training with a server that hangs, against none; and while its machine is watched, against not.
* Closed forms against scikit-learn, from the same start to the same log-likelihood: EM of Gaussian mixtures, PPCA; the memory
  of EM beside an N x K and an N x K x D array.
* Text-to-text arithmetic to 99 % exact answers against a Keras encoder-decoder LSTM of the same sizes on its torch backend, in
  `.work/keras-venv`: ours by a short one-cycle training, and with Keras' own settings.
* A VAE's training on images that are read ahead of it, as where data are larger than memory, against the same images kept in
  memory, and the share of its time that it waits for them.
* Tiles read from an HDF5 file by one core, a sampler each, against those that the training of the tile VAE uses.

The table goes to the terminal and to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from regen import processor

HERE = Path(__file__).parent
ROOT = HERE.parent
VENV = ROOT / ".work/bench-venv"
KERAS_VENV = ROOT / ".work/keras-venv"
PAIRS = 5


def main() -> None:
    """Run all comparisons and write the table."""
    peer = peer_python()
    rows = [*training(peer), *start_up(), *tracking(), *closed_forms(), *arithmetic(), *tiles(), *larger_than_memory()]
    table = ["| what | ours | peer | ratio |", "|---|---|---|---|", *rows]
    machine = f"{processor.name()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    title = f"Last printed on {machine}. Medians of {PAIRS} pairs; closed forms and Keras once."
    text = "\n".join(["# Speed", "", title, "", *table, ""])
    print(text)
    (HERE / "RESULTS.md").write_text(text, encoding="utf-8")


def peer_python(venv: Path = VENV, *packages: str) -> str:
    """Return the Python of a peer's environment (pythae's by default), made where it is missing."""
    python = venv / "bin/python"
    if not (venv / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        uv = Path(sys.executable).with_name("uv")
        wanted = packages or ("pythae==0.1.2", "setuptools", *installed("torchvision"))
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *wanted, *installed("torch")], check=True)
        (venv / ".ready").touch()
    return str(python)


def installed(*names: str) -> list[str]:
    """Pins of our own versions, so that both sides run on the same torch."""
    from importlib.metadata import version

    return [f"{name}=={version(name).split('+')[0]}" for name in names]


def measure(python: str, script: str, *arguments: str) -> dict[str, Any]:
    """Run one process and return the JSON on its last line."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{HERE}", "MLFLOW_TRACKING_URI": "", "GOMP_SPINCOUNT": "10000"}
    done = subprocess.run([python, HERE / script, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def training(peer: str) -> list[str]:
    """VAE training, ours and pythae's in turn."""
    ours, theirs, shares, roofs = [], [], [], list[Any]()
    for pair in range(PAIRS):
        mine = measure(sys.executable, "vae_ours.py")
        other = measure(peer, "vae_pythae.py")
        ours.append(mine["images_per_second"])
        theirs.append(other["images_per_second"])
        roofs.append(mine["roofs"])
        shares.append(mine["share"])
        print(f"pair {pair + 1}: {ours[-1]:.0f} and {theirs[-1]:.0f} images/s", file=sys.stderr)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    taken = "bf16" if mine["bf16"] else "fp32"
    roof = {kind: f"{statistics.median(one[kind] for one in roofs) / 1e12:.2f}" for kind in ("fp32", "bf16")}
    return [
        f"| VAE training, images/s | {statistics.median(ours):.0f} | {statistics.median(theirs):.0f} (pythae) | "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |",
        f"| share of the {taken} matrix product rate (fp32 {roof['fp32']}, bf16 {roof['bf16']} Tflop/s) | "
        f"{statistics.median(shares):.0%} | | |",
    ]


def start_up() -> list[str]:
    """Seconds from the start of a train stage to its first step, and of `import torch` alone."""
    ours, torch_alone = [], []
    with tempfile.TemporaryDirectory() as folder:
        measure(sys.executable, "start_up.py", "prepare", folder)
        for _ in range(PAIRS):
            ours.append(measure(sys.executable, "start_up.py", "stage", folder)["seconds"])
            torch_alone.append(measure(sys.executable, "start_up.py", "torch", folder)["seconds"])
    extra = statistics.median(a - b for a, b in zip(ours, torch_alone, strict=True))
    mine, theirs = statistics.median(ours), statistics.median(torch_alone)
    return [f"| start-up of a stage to its first step, s | {mine:.2f} | {theirs:.2f} (import torch) | +{extra:.2f} s |"]


def tracking() -> list[str]:
    """Seconds of a short training that mirrors to a server that never answers, and of one without tracking; and what it costs
    to watch the machine."""
    cases = [
        ("training while the tracking server hangs, s", "hanging", "none", "no tracking"),
        ("training whose machine is watched, s", "watched", "unwatched", "it is not watched"),
    ]
    rows = []
    for title, ours, peer, name in cases:
        pairs = [[measure(sys.executable, "tracking_cost.py", way)["seconds"] for way in (ours, peer)] for _ in range(PAIRS)]
        ratio = statistics.median(a / b for a, b in pairs)
        mine, theirs = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
        rows.append(f"| {title} | {mine:.1f} | {theirs:.1f} ({name}) | {ratio:.3f} |")
    return rows


def closed_forms() -> list[str]:
    """Seconds of a fit, ours and scikit-learn's, and the difference of the log-likelihoods that they reach."""
    cases = [
        ("Gaussian mixture, 300,000 x 2, K = 3, 100 iterations, s", ["mixture", "300000", "2", "3", "100"]),
        ("Gaussian mixture, 100,000 x 64, K = 16, 20 iterations, s", ["mixture", "100000", "64", "16", "20"]),
        ("PPCA, 10,000 x 4,096, d = 64, s", ["pca", "10000", "4096", "64"]),
        ("PPCA, 400 x 10,000, d = 64, s", ["pca", "400", "10000", "64"]),
    ]
    rows = []
    for title, arguments in cases:
        got = measure(sys.executable, "closed_form.py", *arguments)
        difference = abs(got["log_likelihood"] / got["their_log_likelihood"] - 1)
        rows.append(
            f"| {title}; log-likelihoods equal to {difference:.0e} | {got['ours']:.2f} | {got['theirs']:.2f} (scikit-learn) | "
            f"{got['theirs'] / got['ours']:.2f} |"
        )
        print(rows[-1], file=sys.stderr)
    held = measure(sys.executable, "closed_form.py", "memory", "100000", "64", "16")
    megabytes = {name: value / 2**20 for name, value in held.items()}
    rows.append(
        f"| memory of EM beyond the data, 100,000 x 64, K = 16, MiB | {megabytes['held']:.0f} | {megabytes['n_k']:.0f} (N x K), "
        f"{megabytes['n_k_d']:.0f} (N x K x D) | |"
    )
    return rows


def arithmetic() -> list[str]:
    """Seconds to 99 % exact answers: ours, ours with Keras' settings, Keras'. Once each: Keras takes minutes."""
    peer = peer_python(KERAS_VENV, "keras==3.15.1")
    theirs = measure(peer, "arithmetic_keras.py")
    rows = []
    for name, arguments in (("one cycle", ()), ("with Keras' settings", ("keras",))):
        mine = measure(sys.executable, "arithmetic_ours.py", *arguments)
        rows.append(
            f"| text to text, {name}, to 99 % exact ({mine['exact']:.1%} and {theirs['exact']:.1%}), s | {mine['seconds']:.0f} "
            f"in {mine['epochs']:.0f} epochs | {theirs['seconds']:.0f} in {theirs['epochs']:.0f} epochs (Keras) | "
            f"{theirs['seconds'] / mine['seconds']:.2f} |"
        )
        print(rows[-1], file=sys.stderr)
    return rows


def tiles() -> list[str]:
    """Tiles/s of each sampler on one core, and those that a training with two threads uses."""
    runs = [measure(sys.executable, "tile_speed.py") for _ in range(PAIRS)]
    used = statistics.median(run["used"] for run in runs)
    rows = []
    for sampler in ("equal", "by_pixel", "by_density"):
        ratios = [run[sampler] / run["used"] for run in runs]
        mine = statistics.median(run[sampler] for run in runs)
        rows.append(
            f"| sampler {sampler}, tiles/s on one core | {mine:,.0f} | {used:,.0f} (used by training) | "
            f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) |"
        )
    return rows


def larger_than_memory() -> list[str]:
    """Images/s of a training whose images are read ahead, and of one whose images are kept in memory."""
    with tempfile.TemporaryDirectory() as folder:
        measure(sys.executable, "larger_than_memory.py", "pack", f"{folder}/made", "20000")
        measure(sys.executable, "larger_than_memory.py", "prepare", f"{folder}/made")
        runs = [measure(sys.executable, "larger_than_memory.py", "both", f"{folder}/made") for _ in range(PAIRS)]
    ratios = [run["ahead"] / run["kept"] for run in runs]
    ahead, kept, waiting = (statistics.median(run[name] for run in runs) for name in ("ahead", "kept", "waiting"))
    return [
        f"| small VAE on images read ahead, images/s; {waiting:.1%} of its time it waits for them | {ahead:.0f} | "
        f"{kept:.0f} (kept in memory) | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
    ]


if __name__ == "__main__":
    main()
