"""The computers inside robots are older than the studio's: what runs there keeps to Python 3.10."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[3] / "vlm2vla"


def imported():
    code = (
        "import sys, vlm2vla.robot.link, vlm2vla.robot.scripted; print(*(m for m in sys.modules if m[:7] == 'vlm2vla'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in done.stdout.split():
        path = LIBRARY.parent / name.replace(".", "/")
        yield path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"


NEW_NAMES = {"StrEnum", "ExceptionGroup", "TaskGroup", "UTC", "Self", "tomllib", "assert_never", "LiteralString"}


def test_what_the_robot_server_imports_is_python_3_10():
    files = list(imported())
    assert LIBRARY / "robot" / "link" / "server.py" in files
    for path in files:
        tree = ast.parse(path.read_text(), path.name, feature_version=(3, 10))
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not names & NEW_NAMES, f"{path.name}: {names & NEW_NAMES} came after Python 3.10"


def test_the_robot_server_imports_nothing_of_the_studio():
    names = {path.relative_to(LIBRARY).parts[0] for path in imported()}
    assert names <= {"__init__.py", "robot", "embodiment.py", "errors.py", "config.py", "types.py"}


@pytest.mark.parametrize("name", ["PIL", "torch", "mujoco", "pydantic"])
def test_the_robot_server_needs_little(name):
    code = f"import sys, vlm2vla.robot.link, vlm2vla.robot.scripted; sys.exit({name!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
