"""The house holds: imports point one way, and what a touched file reruns is what the table says, no less and no more."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from regen import checks, families, imports, params, paths

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
MODULES = sorted((SRC / "regen").rglob("*.py"))

# From the ground up: a module imports from its own layer and those before it.
LAYERS = [
    {"regen", *(f"regen.{name}" for name in ("errors", "blocks", "paths", "seeding", "imports", "params", "documents"))}
    | {"regen.label_tree"},
    {"regen.host", "regen.process", "regen.processor"},
    {"regen.data", "regen.drawing"},
    {"regen.networks"},
    {"regen.models", "regen.metrics"},
    {"regen.estimators", "regen.catalogue"},
    {"regen.families", "regen.weights", "regen.serving"},
    {"regen.training"},
    {"regen.evaluation", "regen.export"},
    {"regen.studies", "regen.tracking", "regen.report"},
    {"regen.checks", "regen.interrupted", "regen.schedule", "regen.trained", "regen.answer"},
    {"regen.commands", "regen.cli"},
]


def layer(name: str) -> int:
    top = ".".join(name.split(".")[:2])
    return next(number for number, names in enumerate(LAYERS) if top in names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_point_one_way(path):
    own = imports.module(path)
    if own == "regen":  # offers `load` on demand
        return
    higher = [imports.module(found) for found in imports._imported(path) if layer(imports.module(found)) > layer(own)]
    assert higher == []


def test_the_first_layer_needs_no_other_package_of_regen():
    for name in LAYERS[0] - {"regen"}:
        assert {layer(imports.module(found)) for found in imports._imported(imports.file(name))} <= {0}


@pytest.mark.parametrize(
    ("package", "strangers"),
    [
        ("models", {"regen.data", "regen.training", "regen.tracking", "regen.evaluation"}),
        ("metrics", {"regen.data.loaders", "regen.families", "regen.catalogue"}),
        ("drawing", {"regen.data", "regen.models", "regen.catalogue"}),
        ("evaluation", {"regen.catalogue", "regen.report", "regen.tracking"}),
        ("export", {"regen.catalogue", "regen.training", "regen.evaluation"}),
        ("training", {"regen.catalogue", "regen.tracking"}),
    ],
)
def test_a_room_knows_nothing_of_some_others(package, strangers):
    for path in (SRC / "regen" / package).rglob("*.py"):
        names = {imports.module(found) for found in imports._imported(path)}
        known = {name for name in names for stranger in strangers if name == stranger or name.startswith(f"{stranger}.")}
        assert not known, path.name


@pytest.mark.parametrize("path", sorted((SRC / "regen/models").glob("*.py")), ids=lambda path: path.name)
def test_models_know_no_pipeline(path):
    modules = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not {module.split(".")[0] for module in modules} & {"yaml", "mlflow", "dvc"}


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "stages").glob("*.py"))], ids=lambda path: path.name)
def test_no_module_is_too_long_to_read(path):
    assert len(path.read_text().splitlines()) <= (80 if path.parent.name == "stages" else 300)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_all_imports_can_be_found_by_their_text(path):
    """Of the code of a stage, those that import by a name are told to it: `regen.checks`."""
    tree = ast.parse(path.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    by_name = {"regen.families", "regen.data", "regen.data.loaders", "regen.evaluation.run"}
    assert ("import_module" in named) <= (imports.module(path) in by_name)


@pytest.fixture(scope="module")
def code() -> dict[str, set[str]]:
    """Each stage of the default params.yaml, as `train@punks_vae`, with the files that it depends on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return {
            "@".join(path.relative_to(paths.CODE).parts): {line.split("  ")[1] for line in text.splitlines()}
            for path, text in checks.code(params.read())
        }


def of(given: params.Params, stages: tuple[str, ...], chosen) -> set[str]:
    return {f"{stage}@{key}" for key, block in given.models.items() if chosen(block) for stage in stages}


TRAIN, BOTH = ("train",), ("train", "evaluate", "export")
GIVEN = params.read(ROOT / "params.yaml")


def studies(*models: str) -> set[str]:
    return {f"study@{key}" for key, block in GIVEN.studies.items() if block["model"] in models}


def family(*names: str, stages: tuple[str, ...] = BOTH) -> set[str]:
    found = of(GIVEN, stages, lambda block: block["family"] in names)
    return found | studies(*(key for key, block in GIVEN.models.items() if block["family"] in names))


def encoded(*names: str) -> set[str]:
    """Stages that encode with a model of these families."""
    return {f"encode@{key}" for key, block in GIVEN.encodings.items() if GIVEN.models[block["model"]]["family"] in names}


def decoded(*names: str) -> set[str]:
    """Stages that look at models of latents through the decoder of a model of these families."""
    latents = {key for key, block in GIVEN.encodings.items() if GIVEN.models[block["model"]]["family"] in names}
    return of(GIVEN, ("evaluate", "export"), lambda block: block["dataset"] in latents)


def read_by_a_classifier() -> set[str]:
    """Evaluations of models whose images a classifier looks at, those of studies, too."""
    keys = [key for key, block in GIVEN.models.items() if block["classifier"] != "none"]
    return {f"evaluate@{key}" for key in keys} | studies(*keys)


TRAINED = {key for key, block in GIVEN.models.items() if "epochs" in block}
TABLE = {  # what is touched -> what runs again, besides what DVC finds changed after it
    "src/regen/models/autoencoder.py": lambda: family("autoencoder") | encoded("autoencoder") | decoded("autoencoder"),
    "src/regen/models/classifier.py": lambda: family("classifier") | read_by_a_classifier(),
    "src/regen/models/flow.py": lambda: family("flow"),
    "src/regen/models/gan.py": lambda: family("gan"),
    "src/regen/models/layers.py": lambda: (
        family("autoencoder", "gan", "seq2seq", "vade", "vae") | encoded("autoencoder", "vae") | decoded("autoencoder", "vae")
    ),
    "src/regen/models/vade.py": lambda: family("vade"),
    "src/regen/models/vae.py": lambda: family("vae", "vade") | encoded("vae") | decoded("vae"),
    "src/regen/models/pixel_lstm.py": lambda: family("pixel_lstm"),
    "src/regen/models/seq2seq.py": lambda: family("seq2seq"),
    "src/regen/estimators/ppca.py": lambda: family("ppca"),
    "src/regen/estimators/gaussian_mixture.py": lambda: family("gaussian_mixture"),
    "src/regen/estimators/random_graph.py": lambda: family("random_graph"),
    "src/regen/estimators/linear_regression.py": lambda: family("linear_regression"),
    "src/regen/data/tiles/synthetic.py": lambda: {"download@brains", "prepare@brains"},
    "src/regen/data/sets/punks.py": lambda: {"download@punks", "prepare@punks"},
    "src/regen/data/sets/mnist.py": lambda: {f"{s}@{d}" for s in ("download", "prepare") for d in ("mnist", "digits148")},
    "src/regen/data/loaders/tiles.py": lambda: of(GIVEN, ("train", "export"), lambda block: block["dataset"] == "brains"),
    "src/regen/metrics/coverage.py": lambda: of(GIVEN, ("evaluate",), lambda block: block["dataset"] == "brains"),
    "src/regen/metrics/frechet.py": lambda: family(
        "autoencoder", "classifier", "flow", "gan", "gaussian_mixture", "seq2seq", "vade", "vae", stages=("evaluate",)
    ),
    "src/regen/evaluation/graphs/plots.py": lambda: {"evaluate@classrooms_graph"},
    "src/regen/evaluation/letters.py": lambda: {"evaluate@letters_lstm", "evaluate@letters_tables"},
    "src/regen/catalogue/images.py": lambda: {"report"},
    "src/regen/catalogue/published.py": lambda: {"report"},
    "src/regen/catalogue/registry.py": lambda: {"report"},
    "src/regen/export/graphs.py": lambda: of(GIVEN, ("export",), lambda block: True),
    **{
        f"src/regen/report/{name}.py": lambda: {"report"}
        for name in ("page", "chapters", "charts", "library", "pictures", "playground")
    },
    "src/regen/tracking/mirror.py": set,
    "src/regen/data/download/web.py": set,
    "src/regen/errors.py": set,
    "src/regen/commands/compare.py": set,
}


@pytest.mark.parametrize("touched", TABLE)
def test_a_touched_file_reruns_what_the_table_says(code, touched):
    assert (ROOT / touched).exists()
    assert {stage for stage, files in code.items() if touched in files} == TABLE[touched]()


def test_the_catalogue_concerns_the_report_alone(code):
    for stage, files in code.items():
        assert stage == "report" or not [file for file in files if file.startswith("src/regen/catalogue/")], stage


def test_no_stage_depends_on_the_code_of_all_families(code):
    every = {f"src/{module.replace('.', '/')}.py" for module in families.modules().values()}
    for stage, files in code.items():
        assert len(files & every) <= 4, stage  # a family, those that it extends or is encoded by, and a classifier


def test_the_samplers_of_tiles_concern_brains_alone(code):
    concerned = {stage for stage, files in code.items() if "src/regen/data/tiles/samplers.py" in files}
    brains = {key for key, block in GIVEN.models.items() if block["dataset"] == "brains"}
    assert {stage.partition("@")[2] for stage in concerned} <= brains | {"brains"}
    assert {f"train@{key}" for key in brains} <= concerned


def test_the_loop_concerns_every_training_and_nothing_before_it(code):
    concerned = {stage for stage, files in code.items() if "src/regen/training/loop.py" in files}
    assert {f"train@{key}" for key in TRAINED} <= concerned
    assert {stage.partition("@")[0] for stage in concerned} == {"train", "study"}


def test_the_encoder_of_an_encoding_is_its_model_s_family(code):
    concerned = {stage for stage, files in code.items() if "src/regen/models/vae.py" in files}
    assert encoded("vae") <= concerned
