"""A team's server for a try: it starts, says how it is used, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tests import smoke
from tests.team import parts

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(parts.missing()), reason=f"there is no {' and no '.join(parts.missing())}"),
]


def test_a_server_for_a_try_is_used_as_it_says_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {**smoke.environment(smoke.ROOT), "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "tests.team"]
    with subprocess.Popen(command, cwd=smoke.ROOT, env=environment, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        address = re.findall(r"export MLFLOW_TRACKING_URI=(\S+)", said)
        assert len(address) == 2
        assert re.search(r"endpointurl http://127\.0\.0\.1:\d+\n", said)
        assert MlflowClient(address[0]).create_experiment("tried")
        with pytest.raises(MlflowException, match="401"):
            MlflowClient(re.sub("//anna:[0-9a-f]+", "//anna:wrong-password", address[0])).search_experiments()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert not list(tmp_path.iterdir())
