"""What the evaluation commands say on standard error."""

from types import SimpleNamespace

from vlm2vla import pipeline
from vlm2vla.cli import evaluate
from vlm2vla.cli.console import Common
from vlm2vla.evaluation.config import VqaConfig


def test_agreement_of_repeats_is_said(monkeypatch, capsys, tmp_path):
    row = {"score": 0.5, "low": 0.4, "high": 0.6, "questions": 10, "errors": 0}
    scores = {"base": row | {"agreement": 0.875}, "lora": row}
    report = {"problems": [], "scores": scores, "retention": {}}
    monkeypatch.setattr(pipeline, "evaluate_vqa", lambda *_, **__: SimpleNamespace(to_json=lambda: report))
    assert evaluate.vqa(VqaConfig(repeats=3), common=Common(workspace=tmp_path)).status == 0
    base, lora = [line for line in capsys.readouterr().err.splitlines() if "questions" in line]
    assert base.endswith("0 errors; agrees with itself in 87.5% of repeats")
    assert lora.endswith("0 errors")
