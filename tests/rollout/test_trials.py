"""Closed-loop trials of the scripted expert, judged by the simulator."""

import json

import numpy as np
import pytest

from vlm2vla.cli import main
from vlm2vla.config import ToldConfig, TrialsConfig
from vlm2vla.errors import EvaluationError, ExportError
from vlm2vla.evaluation.suite import VERDICTS
from vlm2vla.review import Review
from vlm2vla.rollout import keep
from vlm2vla.rollout.trial_report import Trial
from vlm2vla.rollout.trials import drive_seeds, run_trials
from vlm2vla.trajectories import EpisodeIndex


@pytest.mark.parametrize(
    ("trials", "workers", "pieces"), [(10, 10, [1] * 10), (10, 4, [1] * 10), (10, 2, [2] * 5), (23, 2, [5] * 4 + [3])]
)
def test_every_process_gets_its_share(trials, workers, pieces, workspace, monkeypatch):
    handed_out = []
    monkeypatch.setattr("vlm2vla.rollout.trials.in_processes", lambda work, those, _: handed_out.extend(those) or [])
    list(drive_seeds(TrialsConfig(workers=workers), range(trials), workspace))
    assert [len(piece) for piece in handed_out] == pieces
    assert [seed for piece in handed_out for seed in piece] == list(range(trials))


@pytest.mark.slow
def test_the_expert_picks_things_up_through_words(workspace):
    seen = []
    config = TrialsConfig(task="pick-up", trials=3, workers=1, keep=True)
    report = run_trials(config, workspace, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert (report.trials, report.errors) == (3, ())
    assert report.success_rate >= 2 / 3
    assert Review(workspace).queue({"source": ["policy"]})["total"] == 3
    for episode in EpisodeIndex(workspace).episodes():
        assert episode.rate_hz == pytest.approx(5.0)
        assert len(episode) == pytest.approx(5 * report.rows[0].simulated_s, rel=0.8)
        assert np.abs(np.diff(episode.states[:, :3], axis=0)).max() < 0.05
    assert all(trial.actions > 3 and trial.end.startswith("finished") for trial in report.rows)


@pytest.mark.slow
def test_verdicts_are_kept_of_whoever_is_not_the_expert(workspace):
    told = ToldConfig(say="move up 2 cm; move up 2 cm")
    (trial,) = run_trials(TrialsConfig(policy="typed", trials=1, workers=1), workspace, told=told).rows
    assert trial.verdicts == dict.fromkeys(VERDICTS, 0) | {"unknown": 2}  # nobody knows when such words are done
    (trial,) = run_trials(TrialsConfig(trials=1, workers=1), workspace).rows
    assert trial.verdicts == {}


@pytest.mark.slow
def test_processes_share_the_seeds_and_change_nothing(workspace):
    alone = run_trials(TrialsConfig(trials=2, seed=10, workers=1), workspace)
    shared = run_trials(TrialsConfig(trials=2, seed=10, workers=2), workspace)
    assert [(row.seed, row.result, row.actions) for row in alone.rows] == [
        (row.seed, row.result, row.actions) for row in shared.rows
    ]


def a_trial(seed: int, **changes) -> Trial:
    return Trial(
        **{"seed": seed, "instruction": "lift", "result": "success", "partial": 1.0, "end": "finished: "}
        | {"actions": 3, "simulated_s": 9.0, "wall_s": 1.0}
        | changes
    )


def ended_by(error: BaseException, trials: int):
    """In place of `drive_seeds`: some trials, and then that."""

    def drive_seeds(*_, **__):
        yield from (a_trial(seed) for seed in reversed(range(trials)))
        raise error

    return drive_seeds


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [(KeyboardInterrupt(), 130, "stopped by Ctrl-C"), (EvaluationError("a worker was killed"), 1, "worker was killed")],
)
def test_what_was_done_before_the_end_is_reported(error, status, said, workspace, monkeypatch, capsys):
    monkeypatch.setattr("vlm2vla.rollout.trials.drive_seeds", ended_by(error, 3))
    with pytest.raises(SystemExit) as ended:
        main(["rollout", "--trials", "50", "--workspace", str(workspace.root), "--json"])
    out, told = capsys.readouterr()
    report = json.loads(out)
    assert (ended.value.code, [row["seed"] for row in report["rows"]]) == (status, [0, 1, 2])
    assert (report["success_rate"], report["interval"], said in report["stopped"]) == (1.0, [0.4385, 1.0], True)
    assert "3 of 50 trials are done" in told
    assert "nothing that was finished is lost" not in told


def test_nothing_done_is_no_report(workspace, monkeypatch):
    for error in (KeyboardInterrupt, EvaluationError):
        monkeypatch.setattr("vlm2vla.rollout.trials.drive_seeds", ended_by(error("x"), 0))
        with pytest.raises(error):
            run_trials(TrialsConfig(), workspace)


@pytest.mark.slow
def test_rollouts_are_kept_as_soon_as_they_are_over(workspace):
    def end(done: int, total: int | None) -> None:
        if done == 2:
            raise EvaluationError("a worker was killed")

    config = TrialsConfig(policy="typed", trials=3, workers=1, keep=True)
    report = run_trials(config, workspace, end, told=ToldConfig(say="move up 2 cm"))
    assert (len(report.rows), report.stopped) == (1, "a worker was killed")
    assert Review(workspace).queue({"source": ["policy"]})["total"] == 1


@pytest.mark.slow
def test_a_row_that_moves_nothing_is_nothing_to_keep(workspace):
    config = TrialsConfig(policy="typed", trials=1, workers=1, keep=True)
    (trial,) = run_trials(config, workspace, told=ToldConfig(say="open the gripper")).rows
    assert (trial.result, trial.actions, trial.kept) == ("failure", 1, "")
    assert EpisodeIndex(workspace).ids() == []


@pytest.mark.slow
def test_a_trial_that_breaks_is_an_error_and_the_others_go_on(workspace, monkeypatch):
    def write_trace(folder, trace, form):
        written.append(trace)
        if len(written) == 1:
            raise ExportError("the disk is full")
        return keep.write_trace(folder, trace, form)

    written = []
    monkeypatch.setattr("vlm2vla.rollout.trials.write_trace", write_trace)
    config = TrialsConfig(policy="typed", trials=3, workers=1, keep=True)
    report = run_trials(config, workspace, told=ToldConfig(say="move up 2 cm"))
    assert [row.result for row in report.rows] == ["error", "failure", "failure"]
    assert report.errors == ({"seed": 0, "message": "error: ExportError: the disk is full"},)
    assert len(EpisodeIndex(workspace).ids()) == 2
