"""Networks of others: loaded only where they are what a person means, and equal to their own programs' features and figures."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional as F
from torchvision import models

from regen import checks, families
from regen.catalogue import registry
from regen.data.loaders.arrays import as_images
from regen.errors import UserError
from regen.estimators import pretrained
from regen.evaluation.run import evaluate
from regen.evaluation.subject import Subject
from regen.metrics import distances
from regen.metrics.frechet import frechet_distance
from regen.models.base import DataSpec
from tests.conftest import IMAGES, block, build

SMALL = "shufflenet_v2_x0_5"


def model(path: Path, network: str = SMALL, data: DataSpec = IMAGES, **changes: Any) -> pretrained.Model:
    given = {"network": network, "path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **changes}
    built = families.build(families.config(block("pretrained", **given), "models.x"), data).eval()
    assert isinstance(built, pretrained.Model)
    return built


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    torch.manual_seed(1)
    return models.get_model(SMALL, weights=None).eval()


@pytest.fixture
def path(theirs: torch.nn.Module, tmp_path: Path) -> Path:
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def refused(given: pretrained.Model) -> str:
    with pytest.raises(UserError) as error:
        given.fit({})
    assert "\n" not in str(error.value)
    return str(error.value)


def test_its_features_are_what_the_network_s_last_layer_sees(theirs, path, toy) -> None:
    ours = model(path)
    ours.fit({})
    x = as_images(toy["x"][:6])
    resized = F.interpolate(x, (224, 224), mode="bilinear", antialias=True)
    mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(theirs.fc(ours.features(x)), theirs((resized - mean) / std))


def test_grey_images_are_seen_as_colour_ones_of_three_equal_channels(path) -> None:
    grey = model(path, data=DataSpec(dataset="toy", kind="toy", shape=(1, 16, 16)))
    grey.fit({})
    x = torch.rand(3, 1, 16, 16)
    assert torch.equal(grey.features(x), grey.features(x.repeat(1, 3, 1, 1)))


def test_it_is_evaluated_without_the_file_that_it_was_loaded_from(path, tmp_path, toy) -> None:
    given = model(path)
    given.fit({})
    (tmp_path / "model").mkdir()
    families.save(given, tmp_path / "model")
    path.unlink()
    x = as_images(toy["x"][:3])
    assert torch.equal(families.load(tmp_path / "model").features(x), given.features(x))


def test_weights_may_come_as_safetensors(theirs, path, tmp_path) -> None:
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    first, second = model(path), model(tmp_path / "weights.safetensors")
    first.fit({}), second.fit({})
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_old_names_of_torchvision_s_files_are_understood(tmp_path) -> None:
    old = {"features.denseblock1.denselayer2.norm.1.weight": torch.zeros(2), "features.norm0.weight": torch.ones(2)}
    torch.save(old, tmp_path / "old.pth")
    digest = hashlib.sha256((tmp_path / "old.pth").read_bytes()).hexdigest()
    found = pretrained.weights(tmp_path / "old.pth", digest)
    assert found.keys() == {"features.denseblock1.denselayer2.norm1.weight", "features.norm0.weight"}


def test_a_missing_file_is_one_clear_line(path) -> None:
    given = model(path)
    path.unlink()
    assert "weights.pth: no such file or directory; give the file with the weights" in refused(given)


def test_another_file_than_was_meant_is_one_clear_line(path) -> None:
    assert f"expected {64 * '0'}; get the file again" in refused(model(path, sha256=64 * "0"))


def test_weights_of_another_network_are_one_clear_line(path) -> None:
    assert "does not fit shufflenet_v2_x1_0: of its weights" in refused(model(path, network="shufflenet_v2_x1_0"))
    assert "does not fit resnet18: of its weights 100 are missing, as bn1.bias" in refused(model(path, network="resnet18"))


class Trap:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("sprung"),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"", b"PK cut", pickle.dumps(Trap()), b"\x80\x02]q\x00."])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_file_without_weights_is_one_clear_line_and_no_code_of_it_is_run(content, name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    assert f"{name} holds no weights: expected a state dict" in refused(model(Path(name)))
    assert not Path("sprung").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "resnet81"}, "inception or a classifier of torchvision (did you mean resnet18?), got 'resnet81'"),
        ({"network": "squeezenet1_1"}, "inception or a classifier of torchvision"),
        ({"sha256": "abc"}, "expected 64 hexadecimal digits, as `sha256sum FILE` prints them, got 'abc'"),
    ],
)
def test_a_wrong_block_is_one_clear_line(changes, message) -> None:
    with pytest.raises(UserError) as error:
        families.config(block("pretrained", **changes), "models.x")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_that_are_not_there_are_refused_before_any_work_until_they_have_been_read(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"params.yaml: models.x.path: weights.pth: no such file"):
        checks._ready("x", block("pretrained"), "params.yaml: models.x")
    Path("models/x").mkdir(parents=True)
    Path("models/x/model.json").touch()
    checks._ready("x", block("pretrained"), "params.yaml: models.x")


def test_data_that_are_no_images_are_refused(path) -> None:
    with pytest.raises(UserError, match="toy has images of 4 channels, and shufflenet_v2_x0_5 sees grey or colour"):
        model(path, data=DataSpec(dataset="toy", kind="toy", shape=(4, 16, 16)))


def test_its_own_evaluation_draws_what_it_sees_and_claims_nothing(path, tmp_path, toy) -> None:
    from regen.data import arrays

    arrays.write(tmp_path / "toy", {"train": toy["x"][:30], "test": toy["x"][30:]},
                 {"shape": [3, 16, 16], "kind": "toy", "loader": "arrays"})  # fmt: skip
    measures = evaluate(Subject(model(path), None, 0, tmp_path / "toy", tmp_path / "none", tmp_path / "figures"))
    assert measures == {}
    assert [picture.name for picture in (tmp_path / "figures").iterdir()] == ["examples.png"]


def test_a_generator_is_measured_in_its_features(path, tmp_path, toy) -> None:
    from regen.data import arrays

    arrays.write(tmp_path / "toy", {"train": toy["x"][:30], "test": toy["x"][30:]},
                 {"shape": [3, 16, 16], "kind": "toy", "loader": "arrays"})  # fmt: skip
    reader = model(path)
    reader.fit({})
    measures = evaluate(Subject(build("gan").eval(), reader, 0, tmp_path / "toy", tmp_path / "none", tmp_path / "figures"))
    assert {"frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"} <= measures.keys()


def test_only_inception_s_features_are_called_fid_and_kid() -> None:
    given = {"net": {"network": "inception"}, "resnet": {"network": "resnet50"}, "own": {}}
    titles = {key: registry.title_of("frechet_distance", {"classifier": key}, given) for key in given}
    assert titles == {
        "net": "FID (net features)", "resnet": "Frechet distance (resnet features)", "own": "Frechet distance (own features)",
    }  # fmt: skip
    assert registry.title_of("kernel_distance", {"classifier": "net"}, given) == "KID (net features)"
    assert registry.title_of("precision", {"classifier": "net"}, given) == "Precision (net features)"


@pytest.fixture(scope="module")
def inception(tmp_path_factory) -> Path:
    """Random weights for torch-fidelity's Inception, scaled so that its activations neither vanish nor grow."""
    pytest.importorskip("torch_fidelity", reason="torch-fidelity is missing; `make setup` installs it")
    torch.manual_seed(0)
    network, *_ = pretrained.inception()
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight)
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save({**network.state_dict(), "fc.weight": torch.randn(1008, 2048), "fc.bias": torch.zeros(1008)}, path)
    return path


def test_figures_in_inception_s_features_equal_torch_fidelity_s(inception) -> None:
    """Its tolerances (docs, Numerical precision), relative: features 1e-4, FID and KID 1e-6 of the same features.

    Its KID is computed in float32, ours in float64: 1.1e-6 apart on some processors.

    KID is ours of all pairs and theirs a mean over random subsets: of one subset of all images it is the same. Their FID takes
    half a minute for the eigenvalues of a 2,048 x 2,048 matrix, so its formula is held by the next test, of equal features.
    """
    import torch_fidelity

    rng, n = np.random.default_rng(0), 8
    first = torch.from_numpy(rng.integers(0, 256, (n, 3, 20, 20), dtype=np.uint8))
    second = first.flip(2) // 2 + 60
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(first), input2=Images(second), kid=True, prc=True, kid_subsets=1, kid_subset_size=n, cuda=False,
        feature_extractor="inception-v3-compat", feature_extractor_weights_path=str(inception), save_cpu_ram=True, cache=False,
        verbose=False, batch_size=n,
    )  # fmt: skip
    ours = model(inception, "inception")
    ours.fit({})
    x, y = (ours.features(images.float() / 255) for images in (first, second))
    assert x.shape == (n, 2048)
    torch.testing.assert_close(x, ours.network(first)[0])
    got = {name: entry["value"] for name, entry in distances.compare([x], y, torch.cat([x, y])).items()}
    assert got["kernel_distance"] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)
    assert got["precision"] == pytest.approx(theirs["precision"])
    assert got["recall"] == pytest.approx(theirs["recall"])


class Images(torch.utils.data.Dataset[torch.Tensor]):
    """uint8 images, as torch-fidelity takes them."""

    def __init__(self, given: torch.Tensor) -> None:
        self.given = given

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.given[index]


def test_the_fid_of_given_features_equals_torch_fidelity_s() -> None:
    fid = pytest.importorskip("torch_fidelity.metric_fid", reason="torch-fidelity is missing; `make setup` installs it")
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.gamma(2, size=(900, 64)).astype(np.float32))
    y = torch.from_numpy((rng.gamma(2, size=(800, 64)) * 1.3 + 0.2).astype(np.float32))
    statistics = [fid.fid_features_to_statistics(features) for features in (x, y)]
    theirs = fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(x, y) == pytest.approx(theirs, rel=1e-6)


def test_without_torch_fidelity_inception_is_refused_with_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(UserError, match=r"inception needs torch-fidelity, .* pip install torch-fidelity"):
        pretrained.extractor()
