"""A function of a model as an ONNX graph: the weights inside the file, the same bytes for the same model."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

OPSET = 18  # of ONNX's operators; read by every runtime since the beginning of 2023


class _Function(nn.Module):
    """A function as a module, which is what can be exported."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


class _Whole(TorchFunctionMode):
    """A model takes a large batch in parts, which bounds Python's memory. In a graph it stays one, of any size."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (args[0],) if func is torch.split else func(*args, **(kwargs or {}))


def graph(model: nn.Module, function: Callable[..., Any], inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> bytes:
    """Return an ONNX file of a function of tensors.

    Args:
        model: whose weights the function uses, in evaluation mode.
        function: of as many tensors as there are `inputs`, the first axis of each being the batch; returns one or several.
        inputs: an example of each by its name, of two rows; a graph takes any number.
        outputs: their names.
    """
    rows = torch.export.Dim("n")
    with _quiet(), _Whole(), torch.no_grad():
        program = torch.onnx.export(
            _Function(model, function), tuple(inputs.values()), input_names=list(inputs), output_names=list(outputs),
            opset_version=OPSET, dynamo=True, verbose=False, dynamic_shapes={"inputs": tuple({0: rows} for _ in inputs)},
        )  # fmt: skip
    assert program is not None
    proto: Any = program.model_proto
    content = proto.graph
    described: Iterable[Any] = [proto, content, *content.node, *content.value_info, *content.initializer]
    for part in [*described, *content.input, *content.output]:  # says on which lines of which files it was found
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


@contextmanager
def _quiet() -> Iterator[None]:
    """What an exporter says of its own insides is nothing that a person could mend."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
