"""Runs lmms-eval in its own environment against our served models, and takes its logs over."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vlm2vla.errors import EvaluationError, ModelUnavailableError
from vlm2vla.evaluation import load_set
from vlm2vla.evaluation.config import HarnessConfig, VqaConfig, names_of
from vlm2vla.evaluation.harness import import_logs, write_task
from vlm2vla.vlm.identity import identity
from vlm2vla.vlm.registry import ModelRegistry
from vlm2vla.workspace import Workspace, write_atomic

VERSION = "lmms-eval 0.7.3"
PYTHON = Path(__file__).resolve().parents[2] / ".venv-vqa" / "bin" / "python"
_STARTS_S, _RUN_S = 180.0, 24 * 3600.0


def evaluate_with_harness(config: VqaConfig, harness: HarnessConfig, workspace: Workspace) -> dict[str, Any]:
    """Let lmms-eval ask every model, and import its per-sample logs.

    Returns:
        What `import_logs` gives, with "run": its folder.

    Raises:
        NotFoundError: No such model or set.
        EvaluationError: Its environment is not there, a task's data is missing, or it failed.
        ModelUnavailableError: The server does not come up.
    """
    python = harness.python or PYTHON
    if not python.exists():
        raise EvaluationError(f"{python} is not there: make bench-vqa makes the environment of {VERSION}")
    names, registry = names_of(config.models), ModelRegistry(workspace)
    for name in names:
        registry.get(name)
    root = workspace.evaluations / "harness"
    tasks = [_local(config, root) if task == "local" else task for task in names_of(harness.tasks)]
    run = root / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    run.mkdir(parents=True)
    with _serving(names, harness, workspace, run) as url:
        for name in names:
            _ask(python, name, url, tasks, root / "tasks", run / name, config.limit)
    scores = import_logs({name: run / name for name in names}, names[0], VERSION)
    scores |= {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprints": {name: identity(registry.get(name)) for name in names},
    }
    write_atomic(run / "scores.json", json.dumps(scores, ensure_ascii=False, indent=1))
    return scores | {"run": str(run)}


def _local(config: VqaConfig, root: Path) -> str:
    vqa = load_set(config.set, places=(root.parent.parent / "vqa",))
    return write_task(vqa.first(config.limit), root / "tasks", tokens=config.max_new_tokens)


def _ask(python: Path, name: str, url: str, tasks: Sequence[str], include: Path, out: Path, limit: int) -> None:
    options = f"model_version={name},base_url={url},api_key=none,timeout=120,num_concurrent=1"
    command = [str(python), "-m", "lmms_eval", "--model", "openai", "--model_args", options, "--tasks", ",".join(tasks)]
    command += ["--include_path", str(include), "--batch_size", "1", "--log_samples", "--output_path", str(out)]
    command += ["--limit", str(limit)] if limit else []
    environment = os.environ | {
        "OPENAI_API_KEY": "none",
        "OPENAI_API_BASE": url,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
    }
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_RUN_S, check=False)
    if done.returncode or not list(out.rglob("*samples_*.jsonl")):
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        why = next((line for line in reversed(said) if "error" in line.lower()), said[-1]).strip()[:300]
        raise EvaluationError(
            f"{VERSION} failed on {', '.join(tasks)} with {name}: {why}. If the data of a task is missing, download it "
            "once with a network (its YAML names the data set: huggingface-cli download --repo-type dataset ...), or "
            "take --tasks local, which needs none"
        )


@contextlib.contextmanager
def _serving(names: Sequence[str], harness: HarnessConfig, workspace: Workspace, run: Path) -> Iterator[str]:
    """Address of a server that has the models; our own for as long as this lasts, unless one is named."""
    if harness.server:
        yield harness.server.rstrip("/")
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vlm2vla", "serve", "--models", *names, "--port", str(port)]
    with (run / "serve.log").open("w") as log:
        server = subprocess.Popen([*command, "--workspace", str(workspace.root)], stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(f"http://127.0.0.1:{port}/v1", server, run / "serve.log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(20)
            server.kill()


def _wait(url: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + _STARTS_S
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(f"{url}/models", timeout=2):
            return
        time.sleep(0.3)
    said = log.read_text(errors="replace").strip().splitlines()
    raise ModelUnavailableError(f"our server did not come up: {said[-1] if said else 'it said nothing'} ({log})")
