"""The encoder-decoder: its formulas against NumPy, its batches against the queries, and what it refuses."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from regen import families
from regen.data import arrays, loaders
from regen.data.loaders import Share
from regen.data.loaders.arithmetic import Handwriting, shifted
from regen.data.sets import arithmetic
from regen.errors import UserError
from regen.models.base import DataSpec
from regen.training.distributed import Devices
from regen.training.loop import train
from tests.conftest import OTHERS, block, build

SYMBOLS = "0123456789+- "
SMALL = {"read_channels": [4, 8], "draw_channels": [4, 4]}
TASKS = [
    {"source": "text", "target": "text"},
    {"source": "image", "target": "text"},
    {"source": "image", "target": "text", "naming": 0.5},
    {"source": "text", "target": "image"},
    {"source": "image", "target": "image", "naming": 0.5},
    {"source": "text", "target": "image", "latent_dim": 3, "naming": 0.5},
    {"source": "text", "target": "text", "encoder_layers": 2, "decoder_layers": 3, "bidirectional": True},
]


def reading(model, folder, **share):
    """The batches that a model's training takes of prepared queries."""
    config = model.config
    share = Share(config.batch_size, 0, config.steps_per_epoch, config.train_fraction, shift=config.shift, **share)
    return loaders.read(folder, share, model.reading())


def digits(folder):
    """30 training and 20 test images: a digit d has the levels 10 d to 10 d + 9, test images 100 more."""
    made = {}
    for split, n in (("train", 30), ("test", 20)):
        labels = np.arange(n) % 10
        level = 10 * labels + np.arange(n) // 10 + (100 if split == "test" else 0)
        made[split] = np.broadcast_to(level[:, None, None, None], (n, 28, 28, 1)).astype(np.uint8)
        made[f"{split}_labels"] = labels.astype(np.int64)
    arrays.write(folder, made, {"shape": [1, 28, 28], "labels": list("0123456789")})
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """All 20,000 queries, prepared on toy digits."""
    return prepare(tmp_path_factory.mktemp("data"))


def prepare(root, **changes):
    config = arithmetic.config({"digits": "toy", **changes}, "queries.toy")
    made, description = arithmetic.prepare(config, digits(root / "digits"), 0)
    arrays.write(root / "toy", made, description | {"kind": "queries", "loader": arithmetic.LOADER})
    return root / "toy"


def numbers(model):
    return {name: value.detach().double().numpy() for name, value in model.named_parameters()}


def lstm(x, w_in, w_h, b_in, b_h):
    """Hochreiter and Schmidhuber's cell in NumPy: states (T, N, H) of inputs (T, N, I), gates in the order i, f, g, o."""
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    h = c = np.zeros((x.shape[1], w_h.shape[1]))
    states = []
    for step in x:
        i, f, g, o = np.split(step @ w_in.T + b_in + h @ w_h.T + b_h, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.stack(states)


def test_the_logits_are_those_of_the_formulas():
    model = build("seq2seq", bidirectional=True).eval()
    x = torch.randint(13, (4, 5), generator=torch.Generator().manual_seed(0))
    w = numbers(model)
    embedded = w["embed.weight"][x.numpy()].transpose(1, 0, 2)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    right = lstm(embedded, *(w[f"encoder.{name}"] for name in names))
    left = lstm(embedded[::-1], *(w[f"encoder.{name}_reverse"] for name in names))[::-1]
    context = np.concatenate([right[-1], left[0]], 1)
    h = lstm(np.stack([context] * 3), *(w[f"decoder.{name}"] for name in names))
    expected = (h @ w["name.weight"].T + w["name.bias"]).transpose(1, 0, 2)
    np.testing.assert_allclose(model.answer_logits(x).numpy(), expected, atol=1e-5)


def test_text_s_loss_is_the_mean_negative_log_probability_of_the_characters():
    model = build("seq2seq")
    x, y = (torch.randint(13, (6, n), generator=torch.Generator().manual_seed(n)) for n in (5, 3))
    loss, figures = model.loss({"x": x, "answers": y}, "network")
    p = torch.distributions.Categorical(logits=model.answer_logits(x))
    assert loss.item() == pytest.approx(-p.log_prob(y).mean().item(), abs=1e-5)
    right = p.logits.argmax(2) == y
    assert figures["accuracy"].item() == pytest.approx(right.float().mean().item())
    assert figures["exact"].item() == pytest.approx(right.all(1).float().mean().item())


def test_a_drawing_s_loss_is_the_squared_error_of_a_glyph():
    model = build("seq2seq", target="image", **SMALL).eval()
    x, y = torch.randint(13, (4, 5)), torch.randint(13, (4, 3))
    real, drawn = torch.rand(4, 28, 28), torch.tensor([0, 2, 1, 2])
    loss, _ = model.loss({"x": x, "answers": y, "drawings": real, "drawn": drawn}, "network")
    expected = np.mean([(model.drawings(x)[n, u] - real[n]).square().sum().item() for n, u in enumerate(drawn.tolist())])
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_a_sampled_drawing_s_loss_is_distortion_and_divergence():
    model = build("seq2seq", target="image", latent_dim=3, naming=1.0, output_std=0.5, **SMALL).eval()
    h, y = torch.randn(12, 8), torch.rand(12, 1, 28, 28)
    with torch.no_grad():
        mu, log_variance = model.posterior(torch.cat([model.style(y), h], 1)).chunk(2, 1)
        torch.manual_seed(0)
        loss, figures = model._drawing_loss(h, y)
        torch.manual_seed(0)
        q = torch.distributions.Normal(mu, torch.exp(log_variance / 2))
        z = mu + q.stddev * torch.randn_like(mu)
        drawn = model.draw(torch.cat([h, z], 1)).sigmoid()
    rate = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    nats = torch.distributions.Normal(drawn, 0.5).log_prob(y) - torch.distributions.Normal(y, 0.5).log_prob(y)
    assert figures["rate"].item() == pytest.approx(rate.item(), rel=1e-4)
    assert loss.item() == pytest.approx((rate - nats.sum((1, 2, 3)).mean()).item(), rel=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_trained_on_all_of_a_batch_s_glyphs_however_many_queries_pass_at_a_time(task, prepared, tmp_path):
    losses = {}
    for size in (0, 3):
        model = build("seq2seq", **SMALL, **task, microbatch=size, steps_per_epoch=2)
        (tmp_path / str(size)).mkdir()
        train(model, reading(model, prepared), Devices("fp32", 1), name="toy", seed=0, folder=tmp_path / str(size))
        (row,) = csv.DictReader((tmp_path / f"{size}/history.csv").open())
        losses[size] = float(row["loss"])
    assert losses[3] == pytest.approx(losses[0], rel=0.05)  # other draws of z; batch normalisation sees three at a time


@pytest.mark.parametrize("task", TASKS)
def test_every_parameter_of_every_task_is_moved_by_its_loss(task, prepared):
    model = build("seq2seq", **SMALL, **task)
    loss, figures = model.loss(reading(model, prepared)(0), "network")
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert all(bool(gradient.abs().sum() > 0) for gradient in gradients)
    assert all(not figure.requires_grad for figure in figures.values())


def test_an_answer_does_not_depend_on_the_other_queries_of_a_batch():
    model = build("seq2seq", source="image", target="image", **SMALL).eval()
    x = torch.rand(5, 5, 28, 28)
    torch.testing.assert_close(torch.cat([model.drawings(one[None]) for one in x]), model.drawings(x), atol=1e-5, rtol=1e-4)


def test_drawings_lie_in_the_unit_range_and_only_a_latent_varies_them():
    x = torch.tensor([[1, 10, 2, 12, 12]])
    for latent_dim in (0, 3):
        model = build("seq2seq", target="image", latent_dim=latent_dim, naming=1.0, **SMALL).eval()
        one, again, other = (model.drawings(x, seed) for seed in (1, 1, 2))
        assert one.shape == (1, 3, 28, 28)
        assert bool((one >= 0).all() and (one <= 1).all())
        assert torch.equal(one, again)
        assert torch.equal(one, other) == (latent_dim == 0)


def test_a_glyph_that_is_named_is_answered_like_the_typed_character():
    model = build("seq2seq", source="image", naming=1.0, **SMALL).eval()
    x = torch.rand(6, 5, 28, 28)
    typed = model.read(x.flatten(0, 1)[:, None]).argmax(1).view(6, 5)
    torch.testing.assert_close(model.answer_logits(x), model.answer_logits(typed))


def test_while_it_learns_to_name_a_glyph_is_the_mean_of_what_it_may_be():
    model = build("seq2seq", source="image", naming=1.0, **SMALL).train()
    logits = torch.randn(4, 13)
    expected = sum(torch.exp(logits[:, [c]]) * model.embed.weight[c] for c in range(13)) / torch.exp(logits).sum(1, keepdim=True)
    torch.testing.assert_close(model._meaning(logits), expected)


def test_where_no_glyph_is_named_the_encoder_sees_all_that_was_read_of_it():
    model = build("seq2seq", source="image", **SMALL)
    glyphs = torch.rand(5, 28, 28)
    read = model.read(glyphs[:, None])
    assert read.shape == (5, model.config.embedding)
    torch.testing.assert_close(model._embed(glyphs[None])[:, 0], read)


def test_tokens_are_read_as_texts_without_their_padding():
    assert build("seq2seq").texts(torch.tensor([[11, 4, 8], [6, 12, 12]])) == ["-48", "6"]


def test_every_query_is_asked_once_a_pass_with_its_own_answer(prepared):
    batches = reading(build("seq2seq", batch_size=180), prepared)
    assert batches.per_epoch == 100
    content = arrays.load(prepared, "train")
    expected = {bytes(q): bytes(a) for q, a in zip(content["x"], content["answers"], strict=True)}
    seen = {}
    for step in range(100):
        batch = batches(step)
        for q, a in zip(batch["x"].numpy().astype(np.uint8), batch["answers"].numpy().astype(np.uint8), strict=True):
            seen[bytes(q)] = bytes(a)
    assert seen == expected


def test_a_batch_follows_from_its_step_and_processes_share_it(prepared):
    model = build("seq2seq", target="image", **SMALL)
    batches = reading(model, prepared)
    whole, other = batches(5), batches(6)
    assert all(torch.equal(value, whole[name]) for name, value in reading(model, prepared)(5).items())
    assert not torch.equal(whole["x"], other["x"])
    parts = [reading(model, prepared, rank=rank, processes=2)(5)["x"] for rank in range(2)]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole["x"])


def test_queries_are_written_in_training_digits_that_show_their_characters(prepared):
    batch = reading(build("seq2seq", source="image", batch_size=64, **SMALL), prepared)(0)
    tokens = batch["glyph_tokens"][batch["x"]]
    shown = (batch["glyphs"] * 255).round()[batch["x"]]
    assert SYMBOLS[int(tokens[0, 0])].isdigit()
    digit = tokens < 10
    levels = shown[..., 0, 0][digit]
    assert torch.equal(levels // 10, tokens[digit].float())  # 10 d to 10 d + 2 are the training images of d
    assert len((levels % 10).unique()) == 3
    assert float(shown[tokens == 12].max()) == 0
    assert bool((shown[tokens == 10].amax((1, 2)) == 255).all())


def test_answers_are_drawn_in_new_handwriting_at_each_pass(prepared):
    model = build("seq2seq", target="image", batch_size=8, train_fraction=8 / 18000, **SMALL)
    batches = reading(model, prepared)
    images = set()
    for step in range(40):
        batch = batches(step)
        shown = batch["answers"][torch.arange(8), batch["drawn"]]
        levels = (batch["drawings"][:, 0, 0] * 255).round().long()
        assert torch.equal(levels[shown < 10] // 10, shown[shown < 10])  # the digit of that place
        images |= {(int(token), int(level)) for token, level in zip(shown, levels, strict=True) if token < 10}
    assert len({token for token, _ in images}) < len(images)


def test_test_queries_are_written_in_the_test_split_s_digits(prepared):
    writing = Handwriting(prepared, "test")
    levels = writing.draw(torch.arange(10), torch.Generator().manual_seed(0))[:, 0, 0] * 255
    assert torch.equal((levels.round() - 100) // 10, torch.arange(10.0))
    torch.testing.assert_close(writing.mean(3) * 255, torch.full((28, 28), 130.5))


def test_every_image_of_a_character_is_drawn_as_often(prepared):
    writing = Handwriting(prepared, "train")
    levels = writing.draw(torch.full((30_000,), 7), torch.Generator().manual_seed(0))[:, 0, 0] * 255
    counts = levels.round().long().bincount()[70:]
    assert len(counts) == 3
    assert bool((abs(counts - 10_000) < 400).all())  # five standard deviations


def test_a_shifted_glyph_is_moved_by_whole_pixels():
    images = torch.zeros(200, 28, 28)
    images[:, 14, 14] = 1
    moved = shifted(images, 2, torch.Generator().manual_seed(0))
    places = moved.flatten(1).argmax(1)
    assert bool((moved.sum((1, 2)) == 1).all())
    assert sorted({(int(p) // 28 - 14, int(p) % 28 - 14) for p in places}) == [(y, x) for y in range(-2, 3) for x in range(-2, 3)]


def test_handwriting_is_not_read_in_a_mirror(prepared):
    with pytest.raises(UserError, match=r"models.toy.flip: expected false, as handwriting is not read in a mirror; got true"):
        reading(build("seq2seq"), prepared, flip=True, name="toy")


def test_a_fraction_of_the_training_queries_is_used_and_steps_may_be_fixed(prepared):
    batches = reading(build("seq2seq", train_fraction=0.1, batch_size=90, steps_per_epoch=50), prepared)
    assert (batches.passes.examples, batches.passes.per_pass, batches.per_epoch) == (1800, 20, 50)
    first, second = (torch.cat([batches(step)["x"] for step in steps]) for steps in (range(20), range(20, 40)))
    assert torch.equal(first.unique(dim=0), second.unique(dim=0))
    assert len(first.unique(dim=0)) == 1800
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_fraction": 0.0}, "train_fraction: expected greater than 0, got 0.0"),
        ({"train_fraction": 1.5}, "train_fraction: expected less than or equal to 1, got 1.5"),
        ({"encoder_layers": 0}, "encoder_layers: expected greater than or equal to 1, got 0"),
        ({"decoder_layers": 0}, "decoder_layers: expected greater than or equal to 1, got 0"),
        ({"source": "speech"}, "source: expected 'text' or 'image', got 'speech'"),
        ({"dropout": 1.0}, "dropout: expected less than 1, got 1.0"),
        ({"draw_channels": [4, 4, 4]}, "draw_channels: "),
        ({"latent_dim": 2}, "latent_dim: expected 0 where naming is 0: a character is named before it is drawn, got 2"),
    ],
)
def test_a_wrong_param_is_refused_by_name(changes, message):
    with pytest.raises(UserError, match=f"seq2seq: {message}"):
        build("seq2seq", **changes)


def test_convolutions_that_leave_nothing_to_draw_from_are_refused():
    spec = DataSpec(dataset="toy", kind="queries", shape=(5, 3, 30, 30), labels=tuple(SYMBOLS))
    with pytest.raises(UserError, match="channels: 2 convolutions halve the image 2 times"):
        families.build(families.config(block("seq2seq", target="image"), "x"), spec)


def test_fewer_queries_than_a_batch_are_refused(prepared):
    with pytest.raises(UserError, match=r"batch_size: expected 1 to 18 \(training examples\), got 64"):
        reading(build("seq2seq", batch_size=64, train_fraction=0.001), prepared)


def test_queries_have_no_validation_split(prepared):
    assert list(reading(build("seq2seq"), prepared).validation()) == []


def test_damaged_handwriting_is_refused(tmp_path):
    folder = prepare(tmp_path, examples=50)
    (folder / "digits_train.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match=r"digits_train.npy: missing or damaged .*`dvc repro --force queries@toy`"):
        reading(build("seq2seq", source="image", **SMALL), folder)


@pytest.mark.parametrize("changes", [{"operand_digits": 3, "examples": 400}, {"operators": ["*"], "examples": 400}])
def test_longer_operands_and_multiplication_are_learned_from(changes, tmp_path):
    folder = prepare(tmp_path, **changes)
    spec = DataSpec.of("toy", arrays.statistics(folder))
    blocks = OTHERS["seq2seq"][0] | {"dataset": "toy", "family": "seq2seq", "epochs": 12, "batch_size": 36, "learning_rate": 0.01}
    model = families.build(families.config(blocks, "x"), spec)
    devices = Devices("fp32", threads=1)
    (tmp_path / "work").mkdir()
    train(model, reading(model, folder), devices, name="toy", seed=0, folder=tmp_path / "work")
    rows = (tmp_path / "work" / "history.csv").read_text().splitlines()
    losses = [float(row.split(",")[rows[0].split(",").index("loss")]) for row in rows[1:]]
    assert losses[-1] < losses[0] - 0.2
