"""Trained models in MLflow's registry: registered once, loaded without pickles or code, promoted by their figures, served."""

from __future__ import annotations

import base64
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pytest
import requests
import torch
import uvicorn
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.pyfunc.scoring_server import init
from PIL import Image

import regen
from regen import families, paths, serving
from regen.errors import UserError
from regen.tracking import launch, lineage, registry, secrets, state
from regen.tracking.sync import sync
from tests.conftest import build


@pytest.fixture
def root(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository without a mirror: all is left to `sync`."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME", "REGEN_TRACKING_PRIVATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    shutil.copyfile(database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "spawn", lambda folder, mode, after: None)
    for name in ("params.yaml", "dvc.yaml"):
        Path(name).touch()
    return tmp_path


def train(signature: str = "s1", key: str = "toy_vae", family: str = "vae", shift: float = 0.0, **figures: float) -> None:
    """Leave what a training and its evaluation leave, with dvc.lock, and tell the server."""
    model = build(family)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(shift)
    with launch.mirrored(key, signature, {"dataset": "toy"}, "toy", "cpu"):
        folder = paths.model(key)
        folder.mkdir(parents=True, exist_ok=True)
        families.save(model, folder, signature)
    paths.context(paths.metrics(key)).parent.mkdir(parents=True, exist_ok=True)
    paths.metrics(key).write_text(json.dumps(figures))
    paths.context(paths.metrics(key)).write_text(json.dumps({name: {"error": 0.1} for name in figures}))
    md5 = lineage.directory_md5(folder)
    stages = {
        "train": {"outs": [{"path": str(folder), "md5": md5}]},
        "evaluate": {
            "deps": [{"path": str(folder), "md5": md5}],
            "outs": [{"path": str(paths.metrics(key)), "md5": lineage.file_md5(paths.metrics(key))}],
        },
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    sync()


def client() -> MlflowClient:
    return MlflowClient(tracking_uri=state.store(state.server()))


def versions(key: str = "toy_vae") -> list[Any]:
    found = [client().get_model_version(key, one.version) for one in client().search_model_versions(f"name = '{key}'")]
    return sorted(found, key=lambda version: int(version.version))


def picture(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_a_model_is_registered_once_with_what_it_is_and_how_good(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(mse=2.0)
    assert "registered as version 1" in capsys.readouterr().out
    sync()
    assert "up to date" in capsys.readouterr().out
    (version,) = versions()
    described = json.loads((root / "models/toy_vae/model.json").read_text())
    assert version.tags[registry.WEIGHTS] == described["sha256"]
    assert version.tags["dvc.model.md5"] == lineage.directory_md5(root / "models/toy_vae")
    assert json.loads(version.tags["regen.figures"]) == {"mse": {"error": 0.1, "value": 2.0}}
    assert client().get_run(version.run_id).data.tags["regen.model"] == "toy_vae"


def test_other_figures_of_the_same_weights_are_the_same_version(root: Path) -> None:
    train(mse=2.0)
    train(mse=3.0)
    (version,) = versions()
    assert registry.figures(version) == {"mse": {"error": 0.1, "value": 3.0}}


def test_a_clone_that_pulled_the_weights_registers_none(root: Path) -> None:
    train()
    shutil.rmtree(root / ".work")  # another clone has none of these notes
    sync()
    assert len(versions()) == 1


def test_a_version_that_another_clone_made_at_the_same_moment_stands_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train()
    first = registry.versions
    asked: list[str] = []

    def late(client: MlflowClient, key: str, weights: str) -> list[Any]:  # nobody had registered them when this clone asked
        asked.append(key)
        return [] if len(asked) == 1 else first(client, key, weights)

    monkeypatch.setattr(registry, "versions", late)
    sync()
    assert len(asked) == 2
    assert [int(version.version) for version in versions()] == [1]


def test_a_registration_that_was_cut_off_is_ended_by_the_next_sync(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*arguments: Any) -> None:
        raise OSError("the disk of the server is full")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_model_artifacts", cut)
        with pytest.raises(UserError, match="not sent, for the reasons above: toy_vae"):
            train()
    assert versions() == []
    sync()
    (version,) = versions()
    (logged,) = client().search_logged_models(["1"])
    assert logged.artifact_location == version.source
    assert regen.load("models:/toy_vae/1")


def test_other_weights_are_the_next_version(root: Path) -> None:
    train()
    train("s2", shift=0.01)
    assert len(versions()) == 2
    assert len({version.tags[registry.WEIGHTS] for version in versions()}) == 2


def test_what_is_on_the_server_holds_no_pickle_and_no_path_of_this_machine(root: Path) -> None:
    train()
    files = [path for path in (root / "mlartifacts").rglob("*") if path.is_file() and "models" in path.parts]
    assert "model.safetensors" in {path.name for path in files}
    assert {path.suffix for path in files} <= {".py", ".json", ".safetensors", ".yaml", ".txt", ""}
    (told,) = [path for path in files if path.name == "MLmodel"]
    assert str(root) not in told.read_text()
    assert str(Path(regen.__file__).parents[2]) not in told.read_text()
    assert "/tmp" not in told.read_text()
    pinned = next(path for path in files if path.name == "requirements.txt").read_text().split()
    assert {"torch", "numpy", "safetensors", "pydantic", "pillow", "mlflow"} <= {line.split("==")[0] for line in pinned}


def test_a_registered_model_is_loaded_by_its_alias_and_by_its_version(
    root: Path, command: Callable[..., tuple[str, int]]
) -> None:
    train(mse=2.0)
    assert command("promote", "toy_vae", "champion") == ("toy_vae: version 1 is champion\n", 0)
    here = regen.load("models/toy_vae").sample(2, seed=3)
    for address in ("models:/toy_vae@champion", "models:/toy_vae/1"):
        assert torch.equal(regen.load(address).sample(2, seed=3), here)
    assert command("sample", "models:/toy_vae@champion", "--n", "4") == ("samples.png: 4 of models:/toy_vae@champion\n", 0)


def test_a_model_of_two_stages_is_registered_with_its_decoder(root: Path) -> None:
    config = families.config({**build("flow").config.model_dump(), "dataset": "toy"}, "toy")
    images = build("autoencoder", latent_dim=2)
    flow = families.build(config, build("flow").data)
    with launch.mirrored("toy_flow", "s1", {"dataset": "toy"}, "toy", "cpu"):
        Path("models/toy_flow/decoder").mkdir(parents=True)
        families.save(flow, Path("models/toy_flow"), "s1")
        families.save(images, Path("models/toy_flow/decoder"))
    sync()
    (version,) = versions("toy_flow")
    assert "+" in version.tags[registry.WEIGHTS]
    here = regen.load("models/toy_flow").sample(2, seed=3)
    assert torch.equal(regen.load("models:/toy_flow/1").sample(2, seed=3), here)
    answered = mlflow.pyfunc.load_model(version.source).predict(np.zeros((1, 0), np.float32), params={"seed": 3, "n": 2})
    assert [picture(text).shape for text in answered] == [(16, 16, 3)] * 2


def test_an_alias_moves_to_a_model_that_is_not_worse(root: Path, command: Callable[..., tuple[str, int]]) -> None:
    train(mse=2.0, ssim=0.5)
    command("promote", "toy_vae", "champion")
    assert command("promote", "toy_vae", "champion") == ("toy_vae: version 1 is champion already\n", 0)
    train("s2", shift=0.01, mse=2.1, ssim=0.9)  # 0.1 +- 0.14 is no difference
    assert command("promote", "toy_vae", "champion") == ("toy_vae: version 2 is champion, in place of version 1\n", 0)


def test_an_alias_stays_where_a_figure_is_worse_unless_forced_which_is_noted(
    root: Path, command: Callable[..., tuple[str, int]]
) -> None:
    train(mse=2.0, ssim=0.5)
    command("promote", "toy_vae", "champion")
    train("s2", shift=0.01, mse=3.0)
    said = "ssim is not measured any more; mse is worse: 2 ± 0.1 -> 3 ± 0.1"
    assert command("promote", "toy_vae", "champion") == (
        f"error: toy_vae: not promoted, {said} (--force does it all the same)\n",
        1,
    )
    assert command("promote", "toy_vae", "champion", "--force")[0].endswith("in place of version 1 (forced)\n")
    (noted,) = json.loads(versions()[1].tags["regen.forced"])
    assert noted == {"alias": "champion", "by": secrets.sent_user(), "in_place_of": "1", "worse": said.split("; ")}
    families.save(families.load(paths.model("toy_vae")), paths.model("toy_vae"), "s2")
    client().set_registered_model_alias("toy_vae", "champion", "1")
    assert command("promote", "toy_vae", "champion", "--force")[1] == 0
    assert len(json.loads(versions()[1].tags["regen.forced"])) == 2  # each time stands there
    client().set_registered_model_alias("toy_vae", "champion", "1")
    client().set_model_version_tag("toy_vae", "2", "regen.forced", "{damaged")
    assert command("promote", "toy_vae", "champion", "--force")[1] == 0
    assert regen.load("models:/toy_vae@champion")


def test_a_mistake_is_one_line(root: Path, command: Callable[..., tuple[str, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(address: str) -> str:
        with pytest.raises(UserError) as error:
            regen.load(address)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert refused("models:/toy_vae@champion") == "models:/toy_vae@champion: no registered model 'toy_vae'"
    train(mse=2.0)
    assert refused("models:/toi_vae@champion").endswith("no registered model 'toi_vae' (did you mean toy_vae?)")
    assert "`regen promote toy_vae champion` sets it" in refused("models:/toy_vae@champion")
    command("promote", "toy_vae", "champion")
    assert refused("models:/toy_vae@campion").endswith("no alias 'campion' (did you mean champion?)")
    assert refused("models:/toy_vae/7").endswith("no version 7 (there is: 1)")
    assert refused("models:/toy_vae").endswith("expected models:/NAME@ALIAS or models:/NAME/VERSION")
    assert command("promote", "toi_vae", "champion") == ("error: models/toi_vae: no such model (did you mean toy_vae?)\n", 1)
    for alias in ("a b", "latest", "v1"):
        assert command("promote", "toy_vae", alias)[0].startswith("error: alias: expected a name")
    families.save(build("vae", beta=3.0), Path("models/toy_vae"), "s1")
    weights = json.loads(Path("models/toy_vae/model.json").read_text())["sha256"]
    assert weights == versions()[0].tags[registry.WEIGHTS]  # beta is no weight
    with torch.no_grad():
        other = build("vae")
        next(other.parameters()).add_(1)
    families.save(other, Path("models/toy_vae"), "s9")
    assert "`make mlflow-sync` registers them" in command("promote", "toy_vae", "champion")[0]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert refused("models:/toy_vae/1").startswith("tracking is off")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert refused("models:/toy_vae/1").startswith("http://127.0.0.1:9: the tracking server can't be used (connection refused)")


@pytest.mark.parametrize("body", [b"Permission denied", b'{"error_code": "PERMISSION_DENIED", "message": "READ\\nis needed"}'])
def test_a_user_without_rights_is_told_so_in_one_line(
    root: Path, body: bytes, command: Callable[..., tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    paths.model("toy_vae").mkdir(parents=True)
    families.save(build("vae"), paths.model("toy_vae"), "s1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        said = f"error: {address}: the tracking server can't be used (not allowed (HTTP 403))\n"
        assert command("promote", "toy_vae", "champion") == (said, 1)
        assert command("sample", "models:/toy_vae@champion") == (said, 1)
        server.shutdown()


def test_a_model_of_another_version_of_regen_is_said_to_be_one(root: Path) -> None:
    train()
    client().set_model_version_tag("toy_vae", "1", "regen.version", "0.0.1")
    (path,) = (root / "mlartifacts").rglob("model.json")
    described = json.loads(path.read_text())
    described["config"]["of_old"] = 1
    path.write_text(json.dumps(described))
    with pytest.raises(UserError, match=r"^models:/toy_vae/1: it was made by regen 0.0.1, this is 0.1.0: .*of_old"):
        regen.load("models:/toy_vae/1")


class Served:
    """What `mlflow models serve` runs of a model, in a thread of this process."""

    def __init__(self, folder: Path, path: Path) -> None:
        self.model: Any = families.load(folder)
        app = init(mlflow.pyfunc.load_model(str(path)))
        self.server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.05)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.session, self.address = requests.Session(), f"http://127.0.0.1:{port}/invocations"

    def post(self, **content: Any) -> requests.Response:
        return self.session.post(self.address, timeout=60, **content)

    def stop(self) -> None:
        self.session.close()
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, path = tmp_path_factory.mktemp("model") / "toy_vae", tmp_path_factory.mktemp("mlflow_model") / "model"
    folder.mkdir()
    families.save(build("vae"), folder)
    registry.save(families.load(folder), folder, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        server = Served(folder, path)
        yield server
        server.stop()


def test_latents_and_seeds_are_answered_with_png(served: Served) -> None:
    latents = [[0.5, -1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]]
    found = served.post(json={"inputs": latents}).json()["predictions"]
    expected = (served.model.decode(torch.tensor(latents)).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(np.stack([picture(text) for text in found]), expected)
    asked = {"inputs": [[]], "params": {"seed": 5, "n": 3}}
    found = served.post(json=asked).json()["predictions"]
    expected = (served.model.sample(3, seed=5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(np.stack([picture(text) for text in found]), expected)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"inputs": [[1.0, 2.0]]}, "inputs: latents of shape (1, 2), expected (n, 4)"),
        ({"inputs": [[1.0] * 4] * 257}, "inputs: 257 rows; at most 256 are answered at a time"),
        ({"inputs": [[]]}, "params: expected n from 1 to 256"),
        ({"inputs": [[]], "params": {"seed": 0, "n": 1000000000}}, "params: expected n from 1 to 256"),
        ({"inputs": [[]], "params": {"seed": -1, "n": 2}}, "params: expected n from 1 to 256 and seed from 0"),
        ({"inputs": [[0.0] * 4], "params": {"n": 2}}, "params: n goes with no latents"),
        ({"inputs": [[1e39] * 4]}, "inputs: expected finite numbers"),
    ],
)
def test_a_bad_request_is_http_400_and_one_line(served: Served, request_: dict[str, Any], said: str) -> None:
    answer = served.post(json=request_)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(said)
    assert "\n" not in answer.json()["message"]


@pytest.mark.parametrize("family", families.families())
def test_the_example_of_a_request_is_answered(family: str) -> None:
    server = serving.Served()
    server.model = build(family).eval()
    example, signature = registry._signature(server.model)
    if example is None:
        assert signature is None
        with pytest.raises(serving.RefusedError, match=rf"a {family} draws no images; load it with regen\.load"):
            server.predict(None, np.zeros((1, 4), np.float32))
        return
    rows, asked = example if isinstance(example, tuple) else (example, {})
    answer = server.predict(None, rows, asked)
    assert len(answer) == 1
    assert (answer.dtype.kind == "U") == (signature.outputs.inputs[0].type.kind == "U")


@pytest.mark.parametrize("params", [{"seed": None}, {"n": 1.5}, {"n": "3"}])
def test_a_number_that_is_none_is_refused(params: dict[str, Any]) -> None:
    server = serving.Served()
    server.model = build("vae").eval()
    with pytest.raises(serving.RefusedError, match="expected a whole number"):
        server.predict(None, np.zeros((1, 0)), params)


READING = """
import sys
opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
import mlflow.pyfunc
import numpy as np
from pathlib import Path
model = mlflow.pyfunc.load_model(sys.argv[1])
assert len(model.predict(np.zeros((1, 0), np.float32), params={"seed": 1, "n": 2})) == 2
import regen
assert Path(regen.__file__).is_relative_to(Path(sys.argv[1]).resolve()), regen.__file__  # its own modules, not ours
system = ("/usr", "/etc", "/proc", "/sys", "/dev")
own = [Path(place).resolve() for place in (*sys.argv[1:], sys.prefix, sys.base_prefix, *system)]
read = {Path(name).resolve() for name in opened if name.startswith("/")}
print(sorted(str(path) for path in read if not any(path.is_relative_to(place) for place in own)))
"""


def test_serving_reads_no_file_outside_its_model(tmp_path: Path) -> None:
    folder, path, own = tmp_path / "toy_vae", tmp_path / "served" / "model", tmp_path / "temporary"
    for place in (folder, own):
        place.mkdir()
    families.save(build("vae"), folder)
    registry.save(families.load(folder), folder, path)
    shutil.rmtree(folder)  # it needs nothing of where it was trained
    environment = {**os.environ, "TMPDIR": str(own), "HOME": str(own), "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    command = [sys.executable, "-c", READING, str(path), str(own)]
    done = subprocess.run(command, cwd=own, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["inputs", "params", "seed", "n", "instances", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


REQUESTS = int(os.environ.get("REGEN_REQUESTS", "300"))  # 10,000 is the whole of it


@settings(max_examples=REQUESTS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(JSON.map(json.dumps), JSON.map(lambda x: json.dumps({"inputs": x})), st.text(max_size=30)))
def test_no_request_breaks_the_server(served: Served, body: str) -> None:
    answer = served.post(data=body.encode(errors="replace"), headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400)
