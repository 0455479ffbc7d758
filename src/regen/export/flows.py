"""A flow as two ONNX files: the velocity of its paths, and what makes an image of their end. The solver is the caller's."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from regen import label_tree
from regen.errors import UserError
from regen.export.graphs import graph


def exported(model: Any, flow: Any) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the files of a flow of images (`model` itself), or of the latents that `model` decodes, and their description.

    `velocity.onnx` has the inputs state (n, *path_shape), time (n,) and, where labels were learned, asked (n, labels): 1 = with,
    -1 = without, 0 = either. `decoder.onnx` takes the state at time 1.
    """
    shape = tuple(flow.data.shape)
    inputs = {"state": torch.zeros(2, *shape), "time": torch.zeros(2)}
    if flow.labels:
        inputs["asked"] = torch.zeros(2, len(flow.labels))

    def decode(state: Tensor) -> Tensor:
        restored = flow._restored(state)
        image: Tensor = restored if flow is model else model.image(restored)
        return image

    files = {
        "velocity.onnx": graph(model, flow.velocity, inputs, ["velocity"]),
        "decoder.onnx": graph(model, decode, {"state": inputs["state"]}, ["image"]),
    }
    described = {"kind": "flow", "path_shape": list(shape), "solver": flow.config.solver, "steps": flow.config.steps}
    described |= {"guidance": flow.config.guidance, "labels": list(flow.labels), "exclusive": exclusive(flow)}
    return files, described | drawing(flow)


def drawing(flow: Any) -> dict[str, Any]:
    """Return how the labels of new examples are drawn: the variables of `label_tree`, and the pairs of labels that never met."""
    if not flow.labels or not flow.together[-1, -1]:
        return {"label_tree": [], "apart": []}
    variables = label_tree.tree(flow.together)
    met = flow.together[:-1, :-1] > 0
    for variable in variables:  # which has one value
        met[torch.tensor(variable.labels)[:, None], variable.labels] = True
    tree = [
        {
            "labels": one.labels,
            "parent": one.parent,
            "chances": [[round(chance, 9) for chance in row] for row in one.chances.tolist()],
        }
        for one in variables
    ]
    return {"label_tree": tree, "apart": (~met).triu(1).nonzero().tolist()}


def exclusive(flow: Any) -> list[list[int]]:
    """Return the pairs of labels that cannot be asked for together."""
    pairs = []
    for a, b in itertools.combinations(range(len(flow.labels)), 2):
        try:
            flow.asked([flow.labels[a], flow.labels[b]])
        except UserError:
            pairs.append([a, b])
    return pairs
