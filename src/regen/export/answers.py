"""A model that answers typed questions of arithmetic as an ONNX file: from the question's characters to the answer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from regen.export.graphs import graph


def exported(model: Any) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the file of a model that reads text, and its description.

    Inputs: question (n, T), the places of its characters among `symbols`, filled up with spaces; and, where each drawing is
    another handwriting, handwriting (n, U, latents) ~ N(0, I). Outputs: logits (n, U, symbols), where the model names characters,
    and drawings (n, U, H, W) in [0, 1], where it draws them.
    """
    config = model.config
    latent_dim = config.latent_dim if config.target == "image" else 0
    inputs = {"question": torch.zeros(2, model.query_length, dtype=torch.int64)}
    if latent_dim:
        inputs["handwriting"] = torch.zeros(2, model.answer_length, latent_dim)
    outputs = ["logits"] * hasattr(model, "name") + ["drawings"] * (config.target == "image")

    def answer(question: Tensor, handwriting: Tensor | None = None) -> tuple[Tensor, ...]:
        h = model._decode(model._embed(question))  # (U, n, hidden)
        found = {"logits": model.name(h).transpose(0, 1)} if hasattr(model, "name") else {}
        if config.target == "image":
            h = h.transpose(0, 1)  # (n, U, hidden)
            if handwriting is not None:
                h = torch.cat([model.symbol(found["logits"].argmax(2)), handwriting], 2)
            found["drawings"] = model.draw(h.flatten(0, 1)).sigmoid().reshape(-1, model.answer_length, *model.glyph)
        return tuple(found[name] for name in outputs)

    return {"decoder.onnx": graph(model, answer, inputs, outputs)}, {
        "kind": "answers", "symbols": list(model.data.labels), "question_length": model.query_length,
        "answer_length": model.answer_length, "glyph": list(model.glyph), "latent_dim": latent_dim, "outputs": outputs,
    }  # fmt: skip
