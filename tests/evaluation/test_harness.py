"""The other harness: our sets as its tasks, its logs as our results. It itself runs with `make bench-vqa` only."""

import json

import pytest
import yaml

from vlm2vla.errors import EvaluationError
from vlm2vla.evaluation import load_set
from vlm2vla.evaluation.config import HarnessConfig, VqaConfig
from vlm2vla.evaluation.harness import import_logs, write_task
from vlm2vla.pipeline import evaluate_with_harness


def log(folder, rows, task="vlm2vla_colours"):
    place = folder / "model"
    place.mkdir(parents=True)
    lines = (json.dumps({"doc_id": number, "target": "red", "doc_hash": "x"} | row) for number, row in enumerate(rows))
    (place / f"20261122_samples_{task}.jsonl").write_text("\n".join(lines))
    return folder


def test_a_set_becomes_a_local_task(colours, shared_data, tmp_path):
    name = write_task(load_set(str(colours)), tmp_path)
    assert name == "vlm2vla_colours"
    about = yaml.load((tmp_path / name / f"{name}.yaml").read_text().replace("!function ", ""), yaml.SafeLoader)
    from datasets import load_from_disk

    rows = load_from_disk(about["dataset_path"])["test"]
    assert len(rows) == 40
    assert rows[0]["image"].size == (24, 16)
    assert rows[0]["text"] == "colour number 0?"
    lettered = write_task(load_set(str(shared_data / "vqa-mmbench")).first(3), tmp_path)
    about = yaml.load((tmp_path / lettered / f"{lettered}.yaml").read_text().replace("!function ", ""), yaml.SafeLoader)
    row = load_from_disk(about["dataset_path"])["test"][0]
    assert row["target"] in "ABCD"
    assert f"{row['target']}. " in row["text"]


def test_logs_become_scores_and_retention(tmp_path):
    base = log(tmp_path / "base", [{"exact_match": 1.0}] * 8 + [{"exact_match": 0.0}] * 2)
    lora = log(tmp_path / "lora", [{"exact_match": 1.0}] * 6 + [{"exact_match": 0.0}] * 4)
    found = import_logs({"base": base, "lora": lora}, "base", "lmms-eval")
    scores = found["tasks"]["vlm2vla_colours"]
    assert scores["base"]["exact_match"]["value"] == 0.8
    assert scores["lora"]["exact_match"]["questions"] == 10
    kept = found["retention"]["vlm2vla_colours"]["lora"]["exact_match"]
    assert kept["raw"]["value"] == 0.75
    assert (kept["lost"], kept["won"], kept["p"]) == (2, 0, 0.5)


def mmbench(index, answer, prediction, **more):
    about = {"index": index, "question": "What?", "answer": answer, "prediction": prediction}
    options = {"A": "a red cube", "B": "a carrot", "C": "nan", "D": "nan", "E": "nan"}
    return {"gpt_eval_score": about | options, "submission": about | options, "filtered_resps": prediction} | more


def test_mmbench_is_graded_from_answer_and_prediction_all_rotations_together(tmp_path):
    rows = [mmbench(1, "A", "A"), mmbench(2, "B", "It is a carrot."), mmbench(3, "A", "B"), mmbench(4, "A", "no idea")]
    copies = [mmbench(1_000_001, "B", "B"), mmbench(1_000_002, "A", "B")]
    gone = mmbench(1_000_004, "B", "", filtered_resps="[LMMS_EVAL_REQUEST_FAILED after 5 retries] no memory")
    found = import_logs({"base": log(tmp_path, [*rows, *copies, gone], "mmbench_en_dev_static")}, "base", "lmms-eval")
    scores = found["tasks"]["mmbench_en_dev_static"]["base"]
    assert set(scores) == {"gpt_eval_score"}
    assert scores["gpt_eval_score"]["questions"] == 3, "a question of which one rotation failed is left out"
    assert scores["gpt_eval_score"]["value"] == pytest.approx(1 / 3, abs=1e-4)


def test_mmstar_has_its_score_inside_an_object(tmp_path):
    def row(score, category="math"):
        told = {"question_id": 7, "l2_category": "geometry", "score": score}
        return {category: told, "average": told}

    base = log(tmp_path / "base", [row(1.0), row(1.0, "logical reasoning")], "mmstar")
    lora = log(tmp_path / "lora", [row(0.0), row(1.0, "logical reasoning")], "mmstar")
    found = import_logs({"base": base, "lora": lora}, "base", "lmms-eval")
    assert {name: row["value"] for name, row in found["tasks"]["mmstar"]["lora"].items()} == {
        "math": 0.0,
        "average": 0.5,
        "logical reasoning": 1.0,
    }
    assert found["retention"]["mmstar"]["lora"]["average"]["lost"] == 1


def test_a_log_without_scores_is_said(tmp_path):
    (tmp_path / "base").mkdir()
    with pytest.raises(EvaluationError, match="no scores of base"):
        import_logs({"base": tmp_path / "base"}, "base", "lmms-eval")


def test_requests_that_failed_are_no_wrong_answers(tmp_path):
    failure = "[LMMS_EVAL_REQUEST_FAILED after 5 retries] Error code: 500 - trained on other weights"
    lost = {"exact_match": 0.0, "filtered_resps": failure}
    base = log(tmp_path / "base", [{"exact_match": 1.0, "filtered_resps": "red"}] * 4)
    lora = log(tmp_path / "lora", [{"exact_match": 1.0, "filtered_resps": "red"}] * 3 + [lost])
    found = import_logs({"base": base, "lora": lora}, "base", "lmms-eval")
    score = found["tasks"]["vlm2vla_colours"]["lora"]["exact_match"]
    assert (score["value"], score["questions"]) == (1.0, 3)
    assert found["failed"] == {"vlm2vla_colours": {"lora": 1}}
    none = log(tmp_path / "none", [lost] * 4)
    with pytest.raises(EvaluationError, match="none answered none of the questions: .*trained on other weights"):
        import_logs({"base": base, "none": none}, "base", "lmms-eval")


def test_without_its_environment_it_says_how_to_make_it(workspace, tmp_path):
    harness = HarnessConfig(harness="lmms-eval", python=tmp_path / "none" / "python")
    with pytest.raises(EvaluationError, match="make bench-vqa"):
        evaluate_with_harness(VqaConfig(), harness, workspace)
