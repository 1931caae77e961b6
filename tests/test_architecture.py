"""The shape of the code: who may import whom, which package stays behind which door, the tree in the README."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the top of the building down; a unit imports only from lower floors, never from its own.
FLOORS = [
    {"app"},
    {"ui"},
    {"cli"},
    {"review", "chat", "driving", "serving"},
    {"pipeline", "rollout"},
    {"trajectories", "annotation", "dataset", "training", "policy", "evaluation", "simulation"},
    {"language", "vlm", "robot"},
    {"config", "workspace", "native"},
    {"motion"},
    {"types"},
    {"embodiment"},
    {"errors"},
]
FLOOR_OF = {unit: floor for floor, units in enumerate(FLOORS) for unit in units}

FENCES = {
    "gradio": ("app.py", "ui/"),
    "plotly": ("app.py", "ui/"),
    "fastapi": ("app.py", "ui/", "vlm2vla/serving/"),
    "google": ("vlm2vla/vlm/gemini",),
    "torch": ("vlm2vla/vlm/", "vlm2vla/training/"),
    "transformers": ("vlm2vla/vlm/", "vlm2vla/training/"),
    "peft": ("vlm2vla/vlm/", "vlm2vla/training/"),
    "openai": ("vlm2vla/vlm/openai",),
    "xgrammar": ("vlm2vla/vlm/local/",),
    "trl": ("vlm2vla/vlm/", "vlm2vla/training/"),
    "mujoco": ("vlm2vla/simulation/",),
    "stretch_body": ("vlm2vla/robot/stretch.py",),
    "sqlmodel": ("vlm2vla/annotation/store",),
    "sqlalchemy": ("vlm2vla/annotation/store",),
    "alembic": ("vlm2vla/annotation/store",),
}
FILES = [ROOT / "app.py", *sorted((ROOT / "vlm2vla").rglob("*.py")), *sorted((ROOT / "ui").rglob("*.py"))]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def unit_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "vlm2vla" and len(parts) > 1 else parts[0]


def imports(path: Path) -> set[str]:
    package = relative(path).removesuffix(".py").replace("/", ".").split(".")
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: -node.level]) + "." if node.level else ""
            module = (base + (node.module or "")).rstrip(".")
            # `from vlm2vla import errors` names the unit after the word import.
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "vlm2vla" else {module}
    return found


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_go_down_and_stay_behind_their_fences(path):
    own = unit_of(relative(path).removesuffix(".py").replace("/", "."))
    for module in imports(path):
        top = module.split(".")[0]
        if top in FENCES:
            assert relative(path).startswith(FENCES[top]), f"{top} is allowed only in {', '.join(FENCES[top])}"
        if top not in ("vlm2vla", "ui", "app") or own in ("__init__", "__main__"):
            continue
        other = unit_of(module)
        if other not in (own, "vlm2vla", "__version__"):
            assert FLOOR_OF[own] < FLOOR_OF[other], f"{own} may not import {other} ({module})"


def test_every_unit_of_the_library_has_a_floor():
    units = {
        path.stem for path in (ROOT / "vlm2vla").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert units - {"__init__", "__main__"} <= set(FLOOR_OF)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_files_stay_small(path):
    assert path.read_text().count("\n") < 500, "one subject per file: split it"


def test_importing_the_library_is_quick_and_loads_nothing_heavy():
    code = (
        # Processor time, in that of numpy, which it needs: neither a busy nor a slow machine makes anything heavier.
        "import sys, time; start = time.process_time(); import numpy; unit = time.process_time() - start;"
        "start = time.process_time(); import vlm2vla, vlm2vla.types, vlm2vla.config;"
        "took = (time.process_time() - start) / unit;"
        "heavy = {'torch', 'transformers', 'gradio', 'pandas', 'sqlmodel', 'google.genai', 'av'} & set(sys.modules);"
        "print(took, *heavy)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert {tuple(run.stdout.split()[1:]) for run in runs} == {()}
    assert min(float(run.stdout.split()[0]) for run in runs) < 1


def test_the_tree_in_the_readme_is_the_tree_on_disk():
    readme = (ROOT / "README.md").read_text()
    tree = re.search(r"```text\n(app\.py.*?)```", readme, re.S).group(1)
    folders, named = [], set()
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0] if line.strip() else ""
        if not name:
            continue
        folders = folders[:depth]
        path = "/".join([*(folder.rstrip("/") for folder in folders), name.rstrip("/")])
        assert (ROOT / path).exists(), f"README names {path}, which is not there"
        named.add(path)
        folders.append(name)
    library = {relative(path) for path in (ROOT / "vlm2vla").iterdir() if not path.name.startswith("__")}
    top = {
        name.split("/")[0]
        for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    }
    missing = {name for name in library | top if not name.startswith(".")} - named
    assert not missing, f"README's tree does not name {sorted(missing)}"
