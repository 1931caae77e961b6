"""What a trace is made of: the page's own module, given records as the studio sends them."""

import pytest

DRIVING = {
    "instruction": "pick up",
    "subtasks": ["reach", "grasp"],
    "index": 0,
    "subtask": "reach",
    "plan": "",
    "cycle": 0,
}
PASS, CLAMPED = {"verdict": "pass"}, {"verdict": "clamped", "rule": "step", "message": "shortened"}
REFUSED = {"verdict": "refused", "rule": "reach", "message": "too far"}
ASKED = [[0.04, 0, 0, 0, 0, 0, 1], [0.08, 0, 0, 0, 0, 0, 1], [0, 0, -0.9, 0, 0, 0, 1]]
TEXT = "[[4, 0, 0, 1], [8, 0, 0, 1], [0, 0, -90, 1]]"
CHUNK = {"rows": ASKED, "text": TEXT, "judged": [PASS, CLAMPED, REFUSED]}

READ = """async (records) => {
  const { replayed, counts, missed } = await import('/ui/drive_run.js');
  const run = replayed({ id: 'r-1', instruction: 'pick up' }, records), cycle = run.groups.at(-1).cycles.at(-1);
  return { ...run, counts: counts(run), cycle, apart: missed(cycle) };
}"""


def observed(at: float, step: int, x: float) -> dict:
    return {"kind": "observed", "at": at, "step": step, "ee": [x, 0, 0.9, 0, 0, 0, 1], "joints": {}}


def row(at: float, number: int, judged: dict, reached: float | None = None) -> list[dict]:
    """Asked for, and where something moved, done a second later."""
    asked = {"kind": "action_asked", "at": at, "row": number, "asked": ASKED[number], "judged": judged}
    if reached is None:
        return [asked]
    measured = [reached, 0, 0, 0, 0, 0, 1]
    done = {"kind": "action_done", "at": at + 1, "row": number, "outcome": "reached", "measured": measured}
    return [asked, done | {"message": "", "seconds": 1}]


@pytest.fixture
def page_of(start, workspace, page):
    page.goto(start(workspace).url + "/drive")
    return page


RECORDS = [
    observed(0, 0, 0.4),
    {"kind": "subtasks", "at": 0.1, "texts": ["reach", "grasp"], "raw": "", "seconds": 0.1},
    {"kind": "cycle", "at": 0.2, "driving": DRIVING},
    {"kind": "plan", "at": 0.5, "text": "move forward", "raw": "", "seconds": 0.3},
    {"kind": "parse_failed", "at": 0.8, "attempt": 1, "raw": "[[1, ", "problem": "it ends too early"},
    {"kind": "chunk", "at": 1.0, "raw": "", "attempts": 2, "seconds": 0.5} | CHUNK,
    {"kind": "question", "at": 1.0, "question": {"key": "k", "flags": []} | CHUNK},
    {"kind": "answered", "at": 2.0, "key": "k", "go": True, "by": "anna", "reason": ""},
    {"kind": "decided", "at": 2.0, "approved": True, "reason": ""},
    *row(2.0, 0, PASS, 0.04),
    *row(3.0, 1, CLAMPED, 0.05),
    observed(4.0, 1, 0.49),
    *row(4.0, 2, REFUSED),
    {"kind": "verdict", "at": 4.4, "done": True, "reason": "there", "before_step": 0, "after_step": 1},
    {"kind": "something new", "at": 4.5},
]


def test_a_cycle_tells_what_was_written_judged_and_done(page_of):
    seen = page_of.evaluate(READ, RECORDS)
    assert seen["counts"] == {"cycles": 1, "moved": 2, "retries": 1, "clamped": 1, "refused": 1}
    cycle = seen["cycle"]
    assert cycle["tries"][0]["problem"] == "it ends too early"
    assert [each["state"] for each in cycle["rows"]] == ["done", "done", "refused"]
    assert [each["text"] for each in cycle["rows"]] == ["[4, 0, 0, 1]", "[8, 0, 0, 1]", "[0, 0, -90, 1]"]
    assert seen["apart"] == pytest.approx(3.0)  # 12 cm asked of the rows that moved, 9 cm done
    assert cycle["verdict"] == {"done": True, "reason": "there", "before": 0, "after": 1}
    assert cycle["took"] == pytest.approx({"plan": 0.3, "chunk": 0.5, "asked": 1.0, "moved": 2.0, "judged": 0.4})


def test_subtasks_the_path_and_the_question_follow(page_of):
    seen = page_of.evaluate(READ, RECORDS)
    assert [(group["text"], group["done"]) for group in seen["groups"]] == [("reach", True)]
    assert seen["upcoming"] == ["grasp"]
    assert seen["question"] is None
    assert len(seen["path"]["did"]) == 2
    assert [point[0] for point in seen["path"]["said"][0]] == pytest.approx([40, 44, 52, 52])  # cm, from where it was
    waiting = page_of.evaluate(READ, RECORDS[:7])
    assert waiting["question"]["key"] == "k"
    assert waiting["path"]["preview"] is not None


def test_a_question_that_is_told_again_was_asked_the_first_time(page_of):
    question = next(record for record in RECORDS if record["kind"] == "question")
    seen = page_of.evaluate(READ, [*RECORDS[:7], question | {"at": 1.8}, *RECORDS[7:]])
    assert seen["cycle"]["took"]["asked"] == pytest.approx(1.0)


def test_an_edit_that_came_too_late_is_told_as_one(page_of):
    edit = {"what": "plan", "text": "move down", "by": "anna"}
    refused = {"kind": "edit_refused", "at": 1.5, "reason": "by now the robot is at subtask 2"} | edit
    seen = page_of.evaluate(READ, [*RECORDS[:7], refused])
    assert seen["cycle"]["edits"] == [edit | {"what": "plan too late, so nothing was changed"}]
    assert seen["question"]["key"] == "k"


def test_a_new_cycle_of_the_same_subtask_joins_it_and_another_subtask_begins_a_group(page_of):
    again = {"kind": "cycle", "at": 5, "driving": DRIVING | {"cycle": 1}}
    grasp = {"kind": "cycle", "at": 6, "driving": DRIVING | {"cycle": 2, "index": 1, "subtask": "grasp"}}
    open_end = [*RECORDS[:-2], {"kind": "verdict", "at": 4.4, "done": False, "reason": "not yet"}, again, grasp]
    groups = page_of.evaluate(READ, open_end)["groups"]
    assert [(group["text"], len(group["cycles"]), group["done"]) for group in groups] == [
        ("reach", 2, False),
        ("grasp", 1, False),
    ]


def test_a_stop_in_mid_row_leaves_no_row_that_moves(page_of):
    ended = {"kind": "run_ended", "at": 3, "end": "stopped", "reason": "by anna", "truth": None, "kept": True}
    seen = page_of.evaluate(READ, [*RECORDS[:10], ended])
    assert [each["state"] for each in seen["cycle"]["rows"]] == ["stopped", "todo", "todo"]
    assert seen["ended"]["reason"] == "by anna"


def test_a_subtask_that_is_taken_up_again_says_so(page_of):
    def cycle(at, index):
        return {"kind": "cycle", "at": at, "driving": DRIVING | {"index": index, "subtask": DRIVING["subtasks"][index]}}

    def verdict(at, done):
        return {"kind": "verdict", "at": at, "done": done, "reason": "", "before_step": 0, "after_step": 0}

    judged = [cycle(1, 0), verdict(2, True), cycle(3, 1), verdict(4, False), cycle(5, 1), verdict(6, False)]
    run = page_of.evaluate(READ, [*RECORDS[:2], *judged, cycle(7, 0)])
    assert [(group["text"], group["again"]) for group in run["groups"]] == [
        ("reach", False),
        ("grasp", False),
        ("reach", True),
    ]
