"""A trained model over HTTP: asked as `mlflow models serve` is asked, and what it cannot answer is HTTP 400 and one line.

MLflow's own server tells of a body that is no JSON, or not of its form, in many lines, and fails at one that is nested deeply.
"""

from __future__ import annotations

import asyncio
import errno
import json
import math
import socket
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from regen import trained
from regen.errors import UserError, shown
from regen.serving import LARGEST, RefusedError, Served, classifies, draws, latent_dim

FORM = '{"inputs": [...], "params": {"seed": 0, "n": 16}}'
DIGITS = 32  # characters of a number in JSON


def serve(source: str, port: int) -> None:
    """Answer at http://127.0.0.1:<port>/invocations until Ctrl-C.

    Raises:
        UserError: there is no such model, it answers nothing, or the port is taken.
    """
    _, model = trained.load(source)
    if not classifies(model) and not draws(model):
        raise UserError(f"{source}: a {model.config.family} draws no images and reads none; load it with regen.load")
    try:
        place = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"can't be used ({error.strerror})"
        raise UserError(f"--port {port}: {why}; name another") from None
    print(f"http://127.0.0.1:{port}/invocations answers for {shown(source)}; Ctrl-C ends it", flush=True)
    uvicorn.Server(uvicorn.Config(app(model), log_level="warning")).run(sockets=[place])
    raise KeyboardInterrupt  # it ends where it is asked to alone, and does not always say so


def app(model: Any) -> Starlette:
    """Return what answers for a model, one request at a time: each uses all cores."""
    served, turn = Served(), asyncio.Lock()
    served.model = model
    numbers = math.prod(model.data.shape) if classifies(model) else latent_dim(model) or 1
    largest = 4096 + LARGEST * numbers * DIGITS

    async def invocations(request: Request) -> Response:
        try:
            body = await _body(request, largest)
            async with turn:
                return JSONResponse({"predictions": await run_in_threadpool(answer, served, body)})
        except RefusedError as error:
            return Response(error.serialize_as_json(), 400, media_type="application/json")

    return Starlette(routes=[Route("/invocations", invocations, methods=["POST"])])


def answer(served: Served, body: bytes) -> Any:
    """Return what a model answers to one request.

    Raises:
        RefusedError: it has no answer.
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(f"expected JSON: {FORM}") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("inputs"), list) or asked.keys() - {"inputs", "params"}:
        raise RefusedError(f"expected {FORM}")
    params = asked.get("params") or {}
    if not isinstance(params, dict) or params.keys() - {"seed", "n"}:
        raise RefusedError("params: expected seed and n")
    try:
        inputs = np.asarray(asked["inputs"])
    except ValueError:
        raise RefusedError("inputs: expected rows of one length") from None
    return served.predict(None, inputs, params).tolist()


async def _body(request: Request, largest: int) -> bytes:
    """Return the body, of which no more is read than the largest request has."""
    found, told = bytearray(), request.headers.get("content-length", "0")
    if told.isdecimal() and int(told) <= largest:
        async for part in request.stream():
            found += part
            if len(found) > largest:
                break
        else:
            return bytes(found)
    raise RefusedError(f"a body of more than {largest} bytes; at most {LARGEST} rows are answered at a time")
