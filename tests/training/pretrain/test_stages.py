"""All stages one after the other, stopped and resumed, at a tiny size."""

import json
from dataclasses import replace

import pytest

from vlm2vla.errors import ConfigError, VLM2VLAError
from vlm2vla.training.pretrain.config import PRESETS, PretrainConfig, SoftConfig, Stage, preset
from vlm2vla.training.pretrain.pictures import open_pictures

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from vlm2vla.training.pretrain.stages import pretrain  # noqa: E402

from .painted import COLOURS, SMALL, paint  # noqa: E402

WORDS = {f"colour:{colour}": [colour] for colour in COLOURS}
SAYINGS = [{"skill": "words", "language": "es", "question": "In English: rojo", "answer": "red"}]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    stage = Stage(steps=40, batch=4, lr=0.01, every_s=3600.0)
    tiny = replace(
        preset("embedded"),
        shape=SMALL,
        soft=SoftConfig(grid=5),
        tower=replace(stage, batch=8),
        language=stage,
        tokens=stage,
        join=stage,
    )
    monkeypatch.setitem(PRESETS, "embedded", tiny)
    return open_pictures(paint(tmp_path / "set", count=60, px=80, grid=5))


def _run(pictures, run, steps, **options):
    return pretrain(PretrainConfig(max_steps=steps, **options), run, pictures, WORDS, sayings=SAYINGS)


def _losses(run):
    found = {}
    for name in ("tower", "language", "tokens", "join"):
        for line in (run / name / "metrics.jsonl").read_text().splitlines():
            row = json.loads(line)
            if "loss" in row:
                found[name, row["step"]] = row["loss"]
    return found


def test_all_stages_run_stop_and_resume_with_the_same_losses(pictures, tmp_path):
    whole = _run(pictures, tmp_path / "whole", 3)
    assert whole.steps == 3
    assert set(whole.stages) == {"tokenizer", "tower", "language", "tokens", "join", "gate"}
    assert not whole.gate["passed"]
    assert (tmp_path / "whole" / "model" / "README.md").read_text().count("Not passed") == 1
    _run(pictures, tmp_path / "parts", 2)
    with pytest.raises(VLM2VLAError, match="resume"):
        _run(pictures, tmp_path / "parts", 3)
    _run(pictures, tmp_path / "parts", 3, resume=True)
    for key, loss in _losses(tmp_path / "whole").items():
        assert _losses(tmp_path / "parts")[key] == pytest.approx(loss, abs=2e-3), key


def test_a_stage_without_the_one_before_says_so(pictures, tmp_path):
    with pytest.raises(ConfigError, match="tokenizer"):
        _run(pictures, tmp_path / "run", 2, stage="language")


def test_a_run_says_what_it_is_made_with_and_keeps_to_it(pictures, tmp_path):
    run = tmp_path / "run"
    _run(pictures, run, 2, stage="tokenizer", seed=3)
    told = json.loads((run / "config.json").read_text())
    assert (told["seed"], told["preset"]["tower"]["batch"], told["pictures"]["count"]) == (3, 8, 60)
    with pytest.raises(ConfigError, match="begun with seed 3, and now it is 0"):
        _run(pictures, run, 2, stage="tower")
    fewer = open_pictures(paint(tmp_path / "fewer", count=40, px=80, grid=5))
    with pytest.raises(ConfigError, match="pictures 60 from seed .* 40 from seed"):
        _run(fewer, run, 2, stage="tower", seed=3)
    assert not (run / "tower").exists()
