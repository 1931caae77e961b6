"""Results as the evaluation commands store them, made up: rollouts, open loop, training runs, models that answer."""

import json
import random
import shutil
from pathlib import Path

from vlm2vla.evaluation.suite import SUITES
from vlm2vla.evaluation.vqa import Contestant

USUAL = {
    "suite": "paper",
    "verifier": "kinematic",
    "max_cycles": 30,
    "parse": "retry",
    "subtasks": True,
    "plans": "written",
}
INTERVAL = {"value": 0.8, "low": 0.7, "high": 0.9}


def copied(made: Path, root: Path) -> Path:
    """Results that were made once, with their set, in folders of one test: beside a set of its own."""
    shutil.copytree(made / "evaluations", root / "evaluations")
    for path in (root / "evaluations").rglob("*.json"):
        path.write_text(path.read_text().replace(str(made), str(root)))
    return root / "evaluations"


def drive(root: Path, folder: str, settings: dict, shares: dict[str, float], trials: int = 40, weights: str = "f"):
    """Rollouts of one suite; of a folder that is there already, more of them."""
    place = root / "rollouts" / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / "run.json").write_text(json.dumps(settings))
    rows = []
    for model, share in shares.items():
        for family in SUITES[settings["suite"]]:
            for seed in range(trials):
                won = random.Random(f"{model}{family}{seed}").random() < share
                rows.append(
                    {
                        "model": model,
                        "fingerprint": "" if model == "expert" else weights,
                        "family": family,
                        "seed": seed,
                        "result": "success" if won else "failure",
                        "partial": 1.0 if won else 0.5,
                        "end": "finished: all done" if won else "out of cycles: 30",
                        "words": {"first_tries_chunks": 10, "first_tries_unparsable": int(seed % 2 == 0)},
                        "cycle_s": [0.5],
                        "verdicts": {} if model == "expert" else judged(won),
                    }
                )
    rows[-1]["result"] = "error"
    with (place / "rows.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def judged(won: bool) -> dict[str, int]:
    return {"true_done": 3, "false_done": int(not won), "true_not_done": 1, "false_not_done": 0, "unknown": 0}


def open_loop(
    root: Path, model: str, weights: str, *, plan: str = "own", cm: float = 2.0, data: str = "simulated-20"
) -> Path:
    """Scores of written chunks."""
    place = root / "actions" / data / f"{model}-{weights}-{plan}"
    place.mkdir(parents=True)
    about = {"data": data, "model": model, "fingerprint": weights, "form": "rows:0.5cm", "plan": plan}
    (place / "run.json").write_text(json.dumps(about))
    shares = ("parse_rate", "direction", "gripper")
    actions = {"moments": 50} | dict.fromkeys(shares, INTERVAL)
    actions |= {"row_cm": INTERVAL, "total_cm": {"value": cm, "low": cm - 0.5, "high": cm + 0.5}}
    verifier = {"accuracy": INTERVAL, "done": INTERVAL, "not_done": INTERVAL, "balanced": 0.8}
    scores = {
        "actions": actions,
        "still": 9.0,
        "plan": plan,
        "made_at": "2026-11-01T00:00:00+00:00",
        "verifier": verifier | {"questions": 20, "unclear": 0},
    }
    (place / "scores.json").write_text(json.dumps({"model": model, "data": data} | scores))
    return place


def train(root: Path, name: str, weights: str, *, held_out: float = 0.2, seed: int = 0, **recipe):
    """What `note_runs` writes about a training run."""
    place = root / "runs" / name
    place.mkdir(parents=True)
    variant = recipe.pop("variant", "lora")
    usual = {"form": "rows:0.5cm", "learning_rate": 5e-3, "lora_rank": 16, "lora_alpha": 32}
    settings = usual | {"mixture": {"replay": 0.3}} | recipe
    config = {"recipe": settings, "variant": variant, "seed": seed, "base_fingerprint": "b45e", "steps": 1200}
    summary = {"fingerprint": weights, "state": "done", "step": 1200, "loss": 0.25, "held_out_loss": held_out}
    (place / "config.json").write_text(json.dumps(config))
    (place / "summary.json").write_text(json.dumps(summary))
    (place / "README.md").write_text(f"# {name}\n")


def knows(answering, vqa, name: str, share: float, weights: str = "f") -> Contestant:
    """A model that knows a share of the answers; without a picture it is right less often."""
    right = {item.question: item.answers[0] for item in vqa.items}

    def answer(messages, sampling):
        question = messages[-1].text
        return right[question] if random.Random(name + question).random() < share else "nothing"

    return Contestant(name, weights, lambda: answering(name, answer))
