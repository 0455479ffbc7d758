"""params.yaml: a person's mistakes are named, all at once, before any work."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from regen import checks, families, params
from regen.errors import UserError
from tests import smoke

ROOT = Path(__file__).parents[2]
TOP = {"seed": 0, "precision": "auto", "threads": 2, "checkpoint_seconds": 20, "launcher": "python", "datasets": {}, "models": {}}
VAE = {
    "dataset": "punks", "family": "vae", "epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "latent_dim": 4, "channels": [8],
}  # fmt: skip


def refused(block, where="params.yaml: models.punks_vae"):
    with pytest.raises(UserError) as error:
        families.config(block, where)
    return str(error.value).splitlines()


def test_the_repository_s_own_params_are_right():
    given = params.read(ROOT / "params.yaml")
    for key, block in given.models.items():
        assert families.config(block, key).dataset in given.prepared


def test_an_unknown_key_is_named_with_the_nearest_one():
    assert refused({**VAE, "latnt_dim": 3}) == ["params.yaml: models.punks_vae.latnt_dim: unknown key (did you mean latent_dim?)"]


def test_a_missing_key_is_named():
    block = {key: value for key, value in VAE.items() if key != "latent_dim"}
    assert refused(block) == ["params.yaml: models.punks_vae.latent_dim: missing"]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("latent_dim", "many", "expected a valid integer, got 'many'"),
        ("latent_dim", 0, "expected greater than 0, got 0"),
        ("latent_dim", 2.5, "expected a valid integer, got 2.5"),
        ("latent_dim", True, "expected a valid integer, got True"),
        ("beta", -1, "expected greater than or equal to 0, got -1"),
        ("beta", float("nan"), "expected a finite number, got nan"),
        ("learning_rate", 0, "expected greater than 0, got 0"),
        ("schedule", "cosin", "expected 'constant', 'cosine', 'one_cycle' or 'linear_tail', got 'cosin'"),
        ("ema", 1.0, "expected less than 1, got 1.0"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(key, value, expected):
    assert refused({**VAE, key: value}) == [f"params.yaml: models.punks_vae.{key}: {expected}"]


def test_an_unknown_family_is_named_with_the_nearest_one():
    assert refused({**VAE, "family": "gam"}) == ["params.yaml: models.punks_vae.family: unknown family 'gam' (did you mean gan?)"]


def test_all_mistakes_are_told_at_once():
    lines = refused({**VAE, "beta": -1, "chanels": [1], "batch_size": "big"})
    assert {line.split(":")[1].strip().rsplit(".", 1)[1] for line in lines} == {"beta", "chanels", "batch_size"}


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("1.0e-4", 1e-4), ("3", 3), ("-2.5", -2.5), ("0", 0)])
def test_numbers_are_read_as_in_yaml_1_2(tmp_path, text, value):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(TOP).replace("models: {}", f"models: {{a: {{b: {text}}}}}"))
    read = params.read(path).models["a"]["b"]
    assert read == value
    assert type(read) is type(value)


def test_unknown_top_level_keys_are_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({**TOP, "sed": 1}))
    with pytest.raises(UserError, match=r"sed: unknown key \(did you mean seed\?\)"):
        params.read(path)


def test_a_file_that_is_no_yaml_is_one_line(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("models: [1, 2\nseed: {")
    with pytest.raises(UserError, match="not valid YAML") as error:
        params.read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("launcher", "right"),
    [
        ("python", True),
        ("torchrun --nproc_per_node 4", True),
        ("torchrun --standalone --nproc-per-node=2", True),
        ("accelerate launch", False),
        ("torchrun --nproc_per_node 4; true", False),
        ("", False),
    ],
)
def test_the_launcher_is_python_or_torchrun_with_its_options(launcher, right, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({**TOP, "launcher": launcher}))
    if right:
        assert params.read(path).launcher == launcher
    else:
        with pytest.raises(UserError, match="launcher: expected python, or torchrun with its options"):
            params.read(path)


def check(folder):
    command, environment = [sys.executable, ROOT / "stages/check.py"], {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("preset", sorted(path.name for path in (ROOT / "presets").iterdir()))
def test_every_preset_makes_right_params(preset, tmp_path):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    for _ in range(1 if preset == "smoke" else 2):  # `make full` and `make studies` change params.yaml, and may run again
        smoke.apply(tmp_path, *smoke.overrides(preset))
    assert check(tmp_path).stderr == ""


def test_the_check_stage_tells_every_mistake_of_the_whole_file_and_leaves_no_traceback(tmp_path):
    given = yaml.safe_load((ROOT / "params.yaml").read_text())
    given["models"]["punks_vae"]["beta"] = -1
    given["models"]["punks_vae"]["dataset"] = "punk"
    given["models"]["punks_autoencoder"]["classifier"] = "punks_classifer"
    given["models"]["punks_gan"]["classifier"] = "punks_vae"
    given["models"]["arithmetic_text_to_image"]["classifier"] = "punks_classifier"
    given["datasets"]["mnist"]["source"] = "floppy"
    given["models"]["punks_gan"]["betas"] = [2, 3]
    given["sede"] = 1
    given["launcher"] = "acelerate launch"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(given))
    done = check(tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert all(line.startswith("error: params.yaml: ") for line in done.stderr.splitlines())
    for part in (
        "punks_vae.beta",
        "'punk' (did you mean punks?)",
        "(did you mean punks_classifier?)",
        "punks_gan.classifier: punks_vae is a vae, which has no features",
        "arithmetic_text_to_image.classifier: punks_classifier reads no digits",
        "datasets.mnist.source",
        "punks_gan.betas",
        "sede: unknown key (did you mean seed?)",
        "launcher: expected python, or torchrun with its options",
    ):
        assert part in done.stderr
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(("key", "value"), [("seed", 2**32), ("seed", -1), ("threads", 2**40), ("threads", 0)])
def test_numbers_that_a_library_would_stumble_over_are_refused(tmp_path, key, value):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({**TOP, key: value}))
    with pytest.raises(UserError, match=rf"{key}: expected (less|greater) than .*, got {value}"):
        params.read(path)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"dataset": ["leters"]}, ": dataset: a study keeps its model's dataset, family, classifier; add a block under models:"),
        ({"classifier": ["../../x"]}, ": classifier: a study keeps its model's dataset"),
        ({"seed": [2**32]}, ".seed: expected less than 4294967296, got 4294967296"),
        ({"seed": [0.5]}, ".seed: expected a valid integer, got 0.5"),
        ({"latnt_dim": [1]}, ".latnt_dim: unknown key (did you mean latent_dim?)"),
        ({"channels": [[0]]}, ".channels.0: expected greater than 0, got 0"),
    ],
)
@pytest.mark.parametrize("part", ["vary", "fixed"])
@pytest.mark.filterwarnings("error")
def test_a_cell_of_a_study_is_checked_as_a_model_is(tmp_path, changes, line, part):
    fixed = {name: value for name, (value,) in changes.items()}
    varied = {"vary": changes} if part == "vary" else {"vary": {"beta": [1.0]}, "fixed": fixed}
    models = {"toy": {**VAE, "dataset": "punks", "classifier": "none"}}
    given = {**TOP, "datasets": {"punks": {"kind": "letters", "source": "drawn"}}, "models": models}
    given["studies"] = {"s": {"model": "toy", "show": ["mse"], **varied}}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(given))
    with pytest.raises(UserError) as error:
        checks.check(path)
    (said,) = str(error.value).splitlines()
    assert "params.yaml: studies.s: " in said
    assert line in said


@pytest.mark.parametrize("name", ["../../x", "..", "", "x; touch pwned", None, 1, ["a"], "leters"])
@pytest.mark.parametrize(
    ("group", "key", "block"),
    [
        ("models", "dataset", {**VAE, "classifier": "none"}),
        ("models", "classifier", {**VAE, "dataset": "letters"}),
        ("models", "family", {**VAE, "dataset": "letters"}),
        ("encodings", "dataset", {"model": "vae"}),
        ("encodings", "model", {"dataset": "letters"}),
        ("queries", "digits", {}),
        ("studies", "model", {"vary": {"seed": [1]}, "show": ["mse"]}),
        ("datasets", "kind", {"source": "drawn"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_reference_to_what_is_not_there_is_refused_whatever_it_says(tmp_path, group, key, block, name):
    given = {
        **TOP, "datasets": {"letters": {"kind": "letters", "source": "drawn"}}, "queries": {}, "encodings": {}, "studies": {},
        "models": {"vae": {**VAE, "dataset": "letters", "classifier": "none"}},
    }  # fmt: skip
    given[group] = {**given[group], "x": {**block, key: name}}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(given))
    with pytest.raises(UserError) as error:
        checks.check(path)
    said = str(error.value).splitlines()
    assert all(line.startswith(f"{path}: {group}.x.{key}: ") and line.isprintable() for line in said)


def changed(group, key, name, value):
    given = params.content(ROOT / "params.yaml")
    given[group][key][name] = value
    return given


@pytest.mark.parametrize(
    ("group", "key", "dataset", "said"),
    [
        ("models", "letters_lstm", "diabetes", "diabetes holds tables, and a pixel_lstm learns on letters; there is: letters"),
        ("models", "letters_tables", "mnist", "mnist holds images, and a prefix_tables learns on letters"),
        ("models", "brains_vae", "arithmetic", "arithmetic holds queries, and a vae learns on images or letters or tiles"),
        ("models", "faces64_gan", "brains", "brains holds tiles, and a gan learns on images or letters"),
        ("models", "diabetes_regression", "punks", "punks holds images, and a linear_regression learns on tables"),
        ("models", "arithmetic_text_to_text", "mnist", "mnist holds images, and a seq2seq learns on queries"),
        ("models", "punks_autoencoder_flow", "classrooms", "holds graphs, and a flow learns on images or letters or latents"),
        ("models", "faces_ppca", "digits148_latents", "digits148_latents holds latents, and a ppca learns on images or letters"),
        ("models", "classrooms_graph", "mnist", "mnist holds images, and a random_graph learns on graphs; there is: classrooms"),
        ("encodings", "digits148_latents", "brains", "brains holds tiles, and latents are made of images"),
    ],
)
def test_data_of_another_kind_are_refused_before_a_training(tmp_path, group, key, dataset, said):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed(group, key, "dataset", dataset)))
    with pytest.raises(UserError, match=re.escape(f"{group}.{key}.dataset: {said}" if said.startswith(dataset) else said)):
        checks.check(tmp_path / "params.yaml")


def test_tiles_and_images_are_read_by_one_family(tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed("models", "brains_vae", "dataset", "punks")))
    checks.check(tmp_path / "params.yaml")


def test_two_cells_of_one_folder_are_refused(tmp_path):
    given = {
        **TOP,
        "datasets": {"punks": {"kind": "letters", "source": "drawn"}},
        "models": {"toy": {**VAE, "classifier": "none"}},
    }
    given["studies"] = {"s": {"model": "toy", "vary": {"schedule": ["cosine", "Cosine"]}, "show": ["mse"]}}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(given))
    with pytest.raises(UserError, match=r"studies\.s\.vary: two cells differ in capitals alone"):
        checks.check(path)


@pytest.mark.parametrize("family", [["a"], {"a": 1}, None, 7])
def test_a_family_that_is_no_text_is_refused_beside_a_classifier(tmp_path, family):
    models = {"vae": {**VAE, "dataset": "letters"}, "x": {**VAE, "dataset": "letters", "family": family, "classifier": "vae"}}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({**TOP, "datasets": {"letters": {"kind": "letters", "source": "drawn"}}, "models": models}))
    with pytest.raises(UserError, match=r"models\.x\.family: unknown family"):
        checks.check(path)
