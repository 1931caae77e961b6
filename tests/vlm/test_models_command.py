"""vlm2vla models list | add | remove | check."""

import json

import pytest

from tests.vlm.tiny_model import make_adapter
from vlm2vla.cli import main


def run(capsys, workspace, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["models", *arguments, "--workspace", str(workspace.root), "--json"])
    out = capsys.readouterr()
    return ended.value.code, json.loads(out.out.splitlines()[-1]), out.err


def test_models_are_added_listed_checked_and_removed(capsys, workspace, tiny_folder, tmp_path):
    status, added, _ = run(capsys, workspace, "add", "tiny", str(tiny_folder / "base"), "--note", "random weights")
    assert (status, added["model"]["kind"]) == (0, "base")
    run(capsys, workspace, "add", "tuned", str(tiny_folder / "lora"), "--base", "tiny", "--actions", "tokens")
    run(capsys, workspace, "add", "idle", str(make_adapter(tiny_folder / "base", tmp_path / "idle", scale=0)))
    status, listed, said = run(capsys, workspace, "list")
    ours = [row for row in listed["models"] if not row["shipped"]]
    assert [(row["name"], row["actions"]) for row in ours] == [("tiny", ""), ("tuned", "tokens"), ("idle", "")]
    assert "random weights" in said
    status, checked, said = run(capsys, workspace, "check", "tiny", "tuned", "idle")
    assert status == 1
    assert [row["ok"] for row in checked["models"]] == [True, True, False]
    assert "changes nothing" in said
    assert run(capsys, workspace, "check", "tuned")[0] == 0
    assert run(capsys, workspace, "remove", "idle")[0] == 0
    assert run(capsys, workspace, "remove", "idle")[1]["error"]["kind"] == "NotFoundError"
