"""What the page gets to hear: values, short messages, and nothing of the inside."""

import logging
import shutil
import subprocess
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[2] / "ui" / "static"


@pytest.fixture
def ask(client_for):
    client = client_for()
    parts = client.get("/config").json()["components"]
    stage = next(part["id"] for part in parts if part["props"].get("elem_id") == "vs-stage")

    def send(name: str, data) -> dict:
        body = {"component_id": stage, "session_hash": "x", "fn_name": name, "data": data}
        return client.post("/gradio_api/component_server", json=body).json()

    return send


def test_a_typed_error_becomes_a_message(ask):
    assert ask("open", {"episode": "gone"}) == {"error": "gone is not in the workspace"}


def test_an_unexpected_error_goes_to_the_log_and_not_to_the_page(ask, caplog):
    with caplog.at_level(logging.ERROR):
        answer = ask("open", {"episode": "broken"})
    assert "secret" not in str(answer)
    assert "the secret detail" in caplog.text


def test_a_save_that_came_too_late_says_what_is_newest(ask):
    assert ask("edit", {"episode": "e1", "base": 3, "edit": {"kind": "merge"}}) == {"conflict": {"head": 4}}


@pytest.mark.parametrize(
    "data", [None, [], "x", {}, {"episode": 3}, {"episode": "e1", "more": 1}, {"episode": "x" * 999}]
)
def test_nonsense_from_a_page_is_refused_before_the_library_sees_it(ask, frames_only, data):
    assert "does not understand" in ask("open", data)["error"]
    assert frames_only.asked == []


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed; the browser tests load the same files")
@pytest.mark.parametrize("script", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_scripts_have_no_syntax_errors(script):
    result = subprocess.run(
        ["node", "--check", "--experimental-default-type=module", script], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_scripts_never_write_markup_from_text():
    for script in STATIC.glob("*.js"):
        text = script.read_text()
        for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert unsafe not in text, f"{script.name} uses {unsafe}"
