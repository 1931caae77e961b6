"""vlm2vla export-merged: one checkpoint that says what base and adapter say."""

import json

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.vlm.local.reference import Reference
from tests.vlm.tiny_model import make_adapter, picture
from vlm2vla.cli import main
from vlm2vla.vlm.chat import Message, Sampling
from vlm2vla.vlm.local import LocalModels
from vlm2vla.vlm.origin import Origin, fingerprint, read_origin, write_origin
from vlm2vla.vlm.protocol import ImagePart
from vlm2vla.vlm.registry import ModelRegistry

LOOK = (Message("user", (ImagePart(picture(3), "image/png"), "what colour is the cube?")),)


@pytest.fixture
def run(workspace, capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), "--workspace", str(workspace.root), "--json"])
        return ended.value.code, json.loads(capsys.readouterr().out.splitlines()[-1])

    return call


@pytest.fixture
def adapter(run, tiny_folder, tmp_path):
    folder = make_adapter(tiny_folder / "base", tmp_path / "adapter", seed=9)
    write_origin(folder, Origin("base", fingerprint(tiny_folder / "base"), "tokens", "tokens:0.5cm"))
    run("models", "add", "plain", tiny_folder / "base")
    run("models", "add", "mine", folder, "--base", "plain")
    return folder


def test_a_merged_checkpoint_says_what_base_and_adapter_say(run, adapter, tiny_folder, tmp_path, workspace):
    out = tmp_path / "exports" / "merged"
    status, report = run("export-merged", "--model", "mine", "--out", out)
    assert (status, report["merged"]["name"]) == (0, "mine")
    tuned, merged, base = Reference(tiny_folder / "base", adapter), Reference(out), Reference(tiny_folder / "base")
    with torch.no_grad():
        logits = [each.model(**each.inputs(LOOK)).logits for each in (tuned, merged, base)]
    assert torch.allclose(logits[0], logits[1], atol=1e-4)
    assert not torch.allclose(logits[0], logits[2], atol=1e-2)
    assert not list(out.glob("adapter*"))
    assert list(out.glob("*.safetensors"))
    assert [path.name for path in out.parent.iterdir()] == ["merged"], "nothing is left beside it"


def test_it_loads_by_itself_and_is_a_model_like_any_other(run, adapter, tmp_path, workspace, tiny_folder):
    run("export-merged", "--model", "mine", "--out", tmp_path / "merged")
    _, told = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged", output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert AutoProcessor.from_pretrained(tmp_path / "merged").chat_template
    assert read_origin(tmp_path / "merged") == read_origin(adapter)
    _, added = run("models", "add", "merged", tmp_path / "merged")
    assert (added["model"]["kind"], added["model"]["actions"]) == ("checkpoint", "tokens")
    models = LocalModels(ModelRegistry(workspace))
    said = [
        "".join(token.text for token in models.model(name).stream(LOOK, Sampling(max_new_tokens=16)))
        for name in ("mine", "merged", "plain")
    ]
    assert said[0] == said[1] != said[2]


def test_an_adapter_without_an_origin_gets_one(run, adapter, tmp_path, tiny_folder):
    (adapter / "vlm2vla.json").unlink()
    run("models", "add", "bare", adapter, "--base", "plain", "--actions", "language")
    run("export-merged", "--model", "bare", "--out", tmp_path / "merged")
    base = tiny_folder / "base"
    assert read_origin(tmp_path / "merged") == Origin(str(base), fingerprint(base), "language")


def test_what_cannot_be_merged_says_so_and_leaves_nothing(run, adapter, tmp_path, tiny_folder):
    head = make_adapter(tiny_folder / "base", tmp_path / "head", modules_to_save=["lm_head"])
    run("models", "add", "head", head, "--base", "plain")
    full = tmp_path / "full"
    full.mkdir()
    (full / "keep.txt").write_text("mine")
    for name, out, says in (
        ("plain", tmp_path / "merged", "no adapter"),
        ("mine", full, "not empty"),
        ("head", tmp_path / "merged", "changes the embeddings"),
        ("nobody", tmp_path / "merged", "no model"),
    ):
        status, report = run("export-merged", "--model", name, "--out", out)
        assert status == 1
        assert says in report["error"]["message"]
    assert [path.name for path in full.iterdir()] == ["keep.txt"]
    assert not (tmp_path / "merged").exists()
    assert not list(tmp_path.glob(".*part"))
