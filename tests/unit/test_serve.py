"""`regen serve`, the real process: the answers of the model, and for anything else HTTP 400 and one line."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from regen import families
from regen.commands.serve import answer
from regen.serving import RefusedError, Served, pngs
from tests.conftest import build
from tests.team.parts import port
from tests.unit.test_registry import JSON, REQUESTS


@dataclass
class Service:
    model: Any
    port: int
    session: requests.Session

    def post(self, body: str | bytes) -> requests.Response:
        return self.session.post(f"http://127.0.0.1:{self.port}/invocations", data=body, timeout=60)

    def refusal(self, body: str | bytes) -> str:
        found = self.post(body)
        assert found.status_code == 400
        message = str(found.json()["message"])
        assert message.isprintable()  # so it is one line
        return message


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder, chosen = tmp_path_factory.mktemp("models") / "toy_vae", port()
    folder.mkdir()
    families.save(build("vae"), folder)
    command = [sys.executable, "-m", "regen.cli", "serve", str(folder), "--port", str(chosen)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"http://127.0.0.1:{chosen}/invocations answers for {folder}; Ctrl-C ends it\n"
        with requests.Session() as session:
            yield Service(families.load(folder), chosen, session)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_latents_and_seeds_are_answered_with_the_model_s_own_images(service: Service) -> None:
    latents = [[0.5, -1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]]
    found = service.post(json.dumps({"inputs": latents})).json()["predictions"]
    assert found == pngs(service.model.decode(torch.tensor(latents))).tolist()
    found = service.post(json.dumps({"inputs": [[]], "params": {"seed": 5, "n": 3}})).json()["predictions"]
    assert found == pngs(service.model.sample(3, seed=5)).tolist()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "expected JSON"),
        ('{"inputs": [[1.0,', "expected JSON"),
        (b"\xff\xfe", "expected JSON"),
        ("[" * 2000, "expected JSON"),
        ('{"inputs": ' + "[" * 2000 + "]" * 2000 + "}", "expected JSON"),
        ("[]", 'expected {"inputs"'),
        ('{"instances": [[1.0]]}', 'expected {"inputs"'),
        ('{"inputs": [[]], "seed": 1}', 'expected {"inputs"'),
        ('{"inputs": 3}', 'expected {"inputs"'),
        ('{"inputs": [[]], "params": 3}', "params: expected seed and n"),
        ('{"inputs": [[]], "params": {"number": 3}}', "params: expected seed and n"),
        ('{"inputs": [[]], "params": {"n": 257}}', "params: expected n from 1 to 256"),
        ('{"inputs": [[1, 2], [3]]}', "inputs: expected rows of one length"),
        ('{"inputs": [["a"]]}', "inputs: expected finite numbers"),
        ('{"inputs": [[1e39, 0, 0, 0]]}', "inputs: expected finite numbers"),
        ('{"inputs": [[NaN, 0, 0, 0]]}', "inputs: expected finite numbers"),
        ('{"inputs": [[1, 2]]}', "inputs: latents of shape (1, 2), expected (n, 4)"),
        (json.dumps({"inputs": [[1] * 4] * 257}), "inputs: 257 rows; at most 256 are answered at a time"),
    ],
)
def test_a_bad_request_is_http_400_and_one_line(service: Service, body: str | bytes, said: str) -> None:
    assert service.refusal(body).startswith(said)


@pytest.mark.parametrize("told", ["Content-Length: 1000000000000", "Transfer-Encoding: chunked"])
def test_a_body_that_is_too_large_is_refused_before_it_is_read(service: Service, told: str) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as line:
        line.sendall(f"POST /invocations HTTP/1.1\r\nHost: toy\r\n{told}\r\n\r\n".encode())
        if told.startswith("Transfer"):
            line.sendall(f"{50_000:x}\r\n{'[' * 50_000}\r\n".encode())  # and its end never comes
        answered = ""
        while not answered.endswith("}"):
            answered += line.recv(65536).decode()
    assert answered.startswith("HTTP/1.1 400 ")
    assert "a body of more than 36864 bytes; at most 256 rows are answered at a time" in answered


BODIES = st.one_of(JSON.map(json.dumps), JSON.map(lambda x: json.dumps({"inputs": x})), st.text(max_size=30))


@settings(max_examples=REQUESTS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BODIES.map(lambda text: text.encode(errors="replace")))
@example(json.dumps({"inputs": [[0.0] * 4]}).encode())
def test_no_request_breaks_the_server(service: Service, body: bytes) -> None:
    found = service.post(body)
    assert found.status_code in (200, 400)
    assert len(found.text.splitlines()) == 1


def test_a_classifier_answers_images_with_its_log_odds() -> None:
    served = Served()
    served.model = build("classifier").eval()
    images = np.random.default_rng(0).random((2, 3, 16, 16), np.float32)
    expected = served.model.logits(torch.from_numpy(images)).detach().numpy()
    assert np.array_equal(answer(served, json.dumps({"inputs": images.tolist()}).encode()), expected)
    with pytest.raises(RefusedError, match=r"inputs: images of \(3, 16, 15\), expected \(3, 16, 16\)"):
        answer(served, json.dumps({"inputs": images[..., 1:].tolist()}).encode())
    with pytest.raises(RefusedError, match="inputs: too far out: their log-odds are no numbers"):
        answer(served, json.dumps({"inputs": (images * 3e38).tolist()}).encode())


def test_a_model_that_answers_nothing_and_a_port_that_is_taken_are_said(
    tmp_path: Path, command: Callable[..., tuple[str, int]]
) -> None:
    for family in ("linear_regression", "vae"):
        (tmp_path / family).mkdir()
        families.save(build(family), tmp_path / family)
    said = f"error: {tmp_path}/linear_regression: a linear_regression draws no images and reads none; load it with regen.load\n"
    assert command("serve", str(tmp_path / "linear_regression")) == (said, 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        assert command("serve", str(tmp_path / "vae"), "--port", number) == (
            f"error: --port {number}: is taken; name another\n", 1,
        )  # fmt: skip
