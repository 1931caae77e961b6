"""The report: what a reader finds in it, that it needs nothing else, and that claims follow from intervals."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from tests.evaluation.conftest import Answering, write_colours
from tests.evaluation.fabricated import USUAL, copied, drive, knows, open_loop
from vlm2vla.errors import EvaluationError
from vlm2vla.evaluation import load_set
from vlm2vla.evaluation.config import ReportConfig, VqaConfig
from vlm2vla.evaluation.report import make_report
from vlm2vla.evaluation.report.claims import claims_of
from vlm2vla.evaluation.report.document import Document
from vlm2vla.evaluation.report.evidence import collect
from vlm2vla.evaluation.report.html import to_html
from vlm2vla.evaluation.report.markdown import to_markdown
from vlm2vla.evaluation.report.measured import regrade
from vlm2vla.evaluation.report.papers import paper
from vlm2vla.evaluation.report.sections import over_sets, vqa_section
from vlm2vla.evaluation.report.svg import Dot, dots
from vlm2vla.evaluation.report.weights import of_newest
from vlm2vla.evaluation.suite import SUITES
from vlm2vla.evaluation.vqa import Contestant, evaluate


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Stored results of a base, two fine-tuned models, a suite and an ablation."""
    folder = tmp_path_factory.mktemp("made")
    root, vqa = folder / "evaluations", load_set(str(write_colours(folder / "colours")))
    who = [knows(Answering, vqa, *each) for each in (("base", 1.0), ("lora", 0.98), ("full", 0.3))]
    evaluate(vqa, who, root / "vqa", VqaConfig())
    drive(root, "paper-1", USUAL, {"expert": 1.0, "lora": 0.7, "lora-tokens": 0.3})
    drive(root, "paper-2", USUAL | {"plans": "none"}, {"lora": 0.65}, trials=10)
    return folder


@pytest.fixture
def results(made, colours, tmp_path):
    return copied(made, tmp_path)


def test_the_page_says_what_was_found(results, tmp_path):
    files = make_report(results, tmp_path / "out")
    page, text = files.html.read_text(), files.markdown.read_text()
    assert files.rollouts == 3 * 5 * 40 + 5 * 10
    assert files.questions == 3 * 40
    for shown in (page, text):
        for words in ("pick-up-translated", "lora-tokens", "lora (no plans)", "Kept against gained", "OpenVLA"):
            assert words in shown
    cells = re.search(r"<tr><td>lora</td>(.*?)</tr>", page[page.index("Success with Wilson") :]).group(1)
    share = float(re.search(r"(\d+\.\d)% <span", cells).group(1))
    assert 50 < share < 90


def test_each_number_leads_to_its_run(results, tmp_path):
    out = tmp_path / "out"
    make_report(results, out)
    links = set(re.findall(r'href="([^"#][^"]*)"', (out / "index.html").read_text()))
    links |= set(re.findall(r"\]\(([^)]+)\)", (out / "README.md").read_text()))
    assert any(link.endswith("paper-1/rows.jsonl") for link in links)
    for link in links:
        assert (out / link).is_file(), link
    copied = [path.read_text() for path in (out / "results").rglob("*") if path.is_file()]
    assert not any(str(tmp_path) in text for text in copied)  # nothing of this computer
    again = make_report(tmp_path / "nowhere", tmp_path / "again", ReportConfig(evidence=(out,)))
    assert again.rollouts == 650


def test_every_row_leads_to_the_run_that_it_comes_from(results, tmp_path):
    drive(results, "paper-3", USUAL | {"robot": "simulated-long"}, {"lora": 0.4}, trials=3)
    text = make_report(results, tmp_path / "out", ReportConfig(examples=0)).markdown.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| lora (no plans) |")]
    assert len(rows) == 3
    assert all("results/rollouts/paper-2/rows.jsonl" in row for row in rows)
    pairs = [line for line in text.splitlines() if line.startswith("| lora \u2212 lora (no plans)")]
    claim = next(line for line in text.splitlines() if "needs them" in line)
    assert all("paper-1/rows" in line and "paper-2/rows" in line for line in (*pairs, claim))
    other = text[text.index("on another robot") :]
    row = next(line for line in other.splitlines() if line.startswith("| lora |"))
    assert row.index("paper-3/rows") < row.index("paper-1/rows")
    scores = text[text.index("*Scores.*") :]
    assert re.search(r"\| full \|.*results/vqa/colours-\w+/full-f/answers.jsonl", scores)


def test_the_page_needs_nothing_else(results, tmp_path):
    page = make_report(results, tmp_path / "out").html.read_text()
    outside = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            for name, value in attributes:
                if name in ("src", "href") and not value.startswith(("data:", "#", "results/")):
                    outside.append(value)
            assert tag not in ("script", "link", "iframe")

    Reader().feed(page)
    assert outside == []
    pictures = re.findall(r"data:image/jpeg;base64,[^\"]+", page)  # the gallery shows what was lost
    assert len(pictures) == len(set(pictures)) > 5  # each picture is held once
    for drawing in re.findall(r"<svg.*?</svg>", page, re.S):
        ElementTree.fromstring(drawing)


def test_what_a_model_wrote_cannot_break_the_page(results, tmp_path, colours, answering):
    vqa = load_set(str(colours))
    good = Contestant("base", "g", lambda: answering("base", lambda messages, sampling: "yes"))
    bad = Contestant("evil<script>", "g", lambda: answering("evil", lambda m, s: "<script>alert(1)</script>|x"))
    evaluate(vqa, [good, bad], results / "vqa", VqaConfig())
    page = make_report(results, tmp_path / "out").html.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_claims_follow_from_the_intervals(results):
    evidence = collect([results])
    claims = claims_of(evidence, regrade(evidence.retention, evidence, ()))
    found = {claim.text.split(" (")[0]: claim for claim in claims}
    assert found["Words generalise better than tokens"].verdict == "came out"
    assert found["LoRA forgets less than full fine-tuning on the same data"].verdict == "came out"
    assert found["A policy that was trained with motion plans needs them"].verdict == "not shown"
    unmeasured = found["Before any training, actions in words are more probable for the base than the same in tokens"]
    assert (unmeasured.verdict, unmeasured.here) == ("not shown", "not measured")
    assert found["At most about 10 % of action cycles do not parse before any help"].verdict == "came out"


def test_other_robots_and_suites_have_sections_of_their_own_and_decide_no_claim(results, tmp_path):
    before = claims_of(collect([results]))
    drive(results, "paper-3", USUAL | {"robot": "simulated-long"}, {"expert": 1.0, "lora": 0.4}, trials=60)
    drive(results, "turned-1", USUAL | {"suite": "turned"}, {"expert": 1.0, "expert-4dof": 0.0, "lora-7": 0.5})
    assert claims_of(collect([results])) == before
    page = make_report(results, tmp_path / "out").markdown.read_text()
    titles = re.findall(r"^## (.*)$", page, re.M)
    closed = [title for title in titles if title.startswith("Closed loop")]
    assert closed == ["Closed loop", "Closed loop: turned", "Closed loop, on another robot (simulated-long)"]
    other = page[page.index("## Closed loop, on another robot") :]
    row = next(line for line in other.splitlines() if line.startswith("| lora |"))
    on_long, usual = (float(share) for share in re.findall(r"(\d+\.\d)%", row)[:2])
    assert 30 < on_long < 50 < usual < 90
    assert "expert-4dof" in page[page.index("## Closed loop: turned") : page.index("## Closed loop, on another")]
    for name in ("success", "success-turned", "success-paper-simulated-long"):
        assert (tmp_path / "out" / "figures" / f"{name}.svg").is_file()


def test_results_of_older_weights_are_left_out_and_named(results, tmp_path):
    drive(results, "paper-1", USUAL, {"lora": 0.0}, trials=2, weights="newer")
    drive(results, "paper-2", USUAL | {"plans": "none"}, {"lora": 0.0}, trials=1, weights="newer")
    open_loop(results, "lora", "f", cm=9.0)
    open_loop(results, "lora", "newer", cm=1.0)
    files = make_report(results, tmp_path / "out", ReportConfig(examples=0))
    assert files.rollouts == 2 * 5 * 40 + 5 * 2 + 5 * 1  # expert, lora-tokens, and lora's newer weights
    text = files.markdown.read_text()
    loop, runs = text[text.index("## Open loop") : text.index("## The paper")], text[text.index("## Runs") :]
    assert "1.0 (0.5" in loop
    assert "9.0 (8.5" not in loop
    assert "| lora | f | 200 rollouts | rollouts/paper-1/run.json |" in runs
    assert "| lora | f | 50 rollouts | rollouts/paper-2/run.json |" in runs
    assert "| lora | f | 50 chunks | actions/simulated-20/lora-f-own/scores.json |" in runs
    assert re.search(r"\| lora \| f \| 40 answers \| vqa/colours", runs)
    assert "| lora |" not in text[text.index("## VQA") : text.index("## Open loop")]


def test_where_nobody_drove_the_weights_count_that_were_measured_last(results):
    place = open_loop(results, "lonely", "old")
    later = open_loop(results, "lonely", "new")
    scores = json.loads((later / "scores.json").read_text()) | {"made_at": "2026-12-01T00:00:00+00:00"}
    (later / "scores.json").write_text(json.dumps(scores))
    kept = of_newest(collect([results]))
    assert [stored.path.parent for stored in kept.actions] == [later]
    assert [each.place for each in kept.left_out] == [f"actions/simulated-20/{place.name}/scores.json"]


def test_a_comparison_of_fewer_models_is_told_within_the_larger_one(results, colours, answering):
    vqa = load_set(str(colours))
    few = [knows(answering, vqa, "base", 1.0), knows(answering, vqa, "full", 0.3)]
    evaluate(vqa, few, results / "vqa", VqaConfig(models="base,full"))
    assert len(collect([results]).vqa) == 2
    (kept,) = of_newest(collect([results])).vqa
    assert set(kept.value["scores"]) == {"base", "lora", "full"}


def test_plans_that_were_given_are_marked_and_decide_nothing(results, tmp_path):
    open_loop(results, "lora", "f", plan="given-measured", cm=0.5)
    open_loop(results, "lora", "f", cm=3.0)
    evidence = collect([results])
    assert evidence.actions_of("lora").value["plan"] == "own"
    text = make_report(results, tmp_path / "out", ReportConfig(examples=0)).markdown.read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| lora | simulated-20 | rows")]
    assert {(row[3], row[7]) for row in rows} == {
        ("recorded, with cm", "0.5 (0.0\u20131.0)"),
        ("own", "3.0 (2.5\u20133.5)"),
    }
    assert text.count("| lora | simulated-20 | 20 |") == 1  # the verifier knows no plan: told once


def test_the_usual_settings_are_the_command_s_however_much_was_driven_with_others(results):
    drive(results, "paper-2", USUAL | {"plans": "none"}, {"lora": 0.2}, trials=200)
    suite = collect([results]).paper
    assert {"lora", "lora (no plans)"} <= set(suite.models)
    assert suite.settings["plans"] == "written"


def test_p_values_know_how_many_sets_were_asked(results):
    (stored,) = collect([results]).vqa
    value = json.loads(json.dumps(stored.value))
    value["retention"]["full"]["p"] = 0.02
    unknown = json.loads(json.dumps(value)) | {"digest": "one of which the base knows nothing"}
    unknown["retention"]["full"]["raw"] = None
    values = [value | {"digest": f"{n}"} for n in (0, 1, 2, 2)] + [unknown]  # the last set twice
    others = [
        replace(stored, path=stored.path.with_name(f"report{n}.json"), value=each) for n, each in enumerate(values)
    ]
    found = over_sets(others)
    assert {round(p, 6) for (_, name), p in found.items() if name == "full"} == {0.06}
    assert "| 0.06 |" in to_markdown(Document("", (), (vqa_section(others[0], str, found),)))


def test_skills_have_p_values_and_languages_their_scores(results):
    (stored,) = collect([results]).vqa
    value = json.loads(json.dumps(stored.value))
    for row in value["scores"].values():
        row["by_language"]["hi"] = row["by_language"]["en"]
    section = vqa_section(replace(stored, value=value), str, {}, brief={"lora"})
    page = to_html(Document("", (), (section,)))
    tests = page[page.index("<details>") : page.index("</details>")]
    row = re.search(r"<tr><td>colour</td><td>full</td>(.*?)</tr>", tests).group(1)
    known = value["retention_by_skill"]["full"]["colour"]
    assert f"<td>{known['p']:.3g}</td><td>{known['p_holm']:.3g}</td>" in row
    assert "<td>lora</td>" not in tests  # a further seed has no part of its own
    assert re.search(r"<tr><td>hi</td><td>\d", page[page.index("Score by language") :])


def test_the_trade_is_drawn_on_our_own_set(results):
    (stored,) = collect([results]).vqa
    ours = {**stored.value, "set": "tabletop", "questions": 10}
    first = replace(stored, path=stored.path.parent.with_name("aaa") / "report.json")
    evidence = replace(collect([results]), vqa=(first, replace(stored, value=ours)))
    assert evidence.retention.value["set"] == "tabletop"
    assert replace(evidence, vqa=(first,)).retention is first


def test_what_was_won_is_shown_as_well(results, colours, answering, tmp_path):
    vqa = load_set(str(colours))
    who = [knows(answering, vqa, *each) for each in (("base", 0.5, "w"), ("lora", 0.5, "w"))]
    evaluate(vqa, who, tmp_path / "won" / "vqa", VqaConfig())
    text = make_report(tmp_path / "won", tmp_path / "out").markdown.read_text()
    assert re.search(r"base right and lora wrong: \d+ questions", text)
    won = text[text.index("base wrong and lora right") :]
    rows = [line for line in won.splitlines() if line.startswith("| colour")]
    assert rows
    assert all(row.endswith("| nothing | " + row.split(" | ")[2] + " |") for row in rows)


def test_verdicts_stand_against_the_truth_beside_who_drove(results, tmp_path):
    drive(results, "paper-4", USUAL | {"verifier": "self"}, {"lora": 0.0}, trials=2)
    text = make_report(results, tmp_path / "out", ReportConfig(examples=0)).markdown.read_text()
    rows = {line.split(" | ")[1]: line for line in text.splitlines() if line.startswith(("| kinematic |", "| self |"))}
    assert set(rows) == {"lora", "lora-tokens", "lora (no plans)", "lora (verifier self)"}
    assert rows["lora (verifier self)"].startswith("| self | lora (verifier self) | 50 | 80.0%")
    assert "paper-4/rows.jsonl" in rows["lora (verifier self)"]


def test_a_claim_that_is_wrong_did_not_come_out(tmp_path):
    drive(tmp_path, "paper-1", USUAL, {"lora": 0.2, "lora-tokens": 0.8})
    found = {claim.text: claim for claim in claims_of(collect([tmp_path]))}
    words = next(claim for text, claim in found.items() if text.startswith("Words generalise"))
    assert words.verdict == "did not"
    assert words.places == ("rollouts/paper-1/run.json",)


def test_variants_are_compared_over_their_seeds_without_a_plain_one_that_was_trained_otherwise(tmp_path):
    shares = {"lora": 1.0} | {f"lora-s{n}": 0.2 for n in (1, 2, 3)} | {f"lora-tokens-s{n}": 0.8 for n in (1, 2, 3)}
    drive(tmp_path, "paper-1", USUAL, shares, trials=20)
    found = {claim.text: claim for claim in claims_of(collect([tmp_path]))}
    words = next(claim for text, claim in found.items() if text.startswith("Words generalise"))
    assert words.verdict == "did not"
    assert "means over 3 and 3 trainings" in words.here
    translated = next(claim for text, claim in found.items() if text.startswith("It follows instructions"))
    assert translated.here.startswith("100%")


def test_another_harness_has_a_section_of_its_own(results, tmp_path):
    share = {"value": 0.75, "low": 0.4, "high": 0.9, "questions": 8}
    kept = {"raw": {"value": 0.9, "low": 0.7, "high": 1.1}, "questions": 8, "lost": 2, "won": 1, "p": 1.0}
    scores = {
        "harness": "lmms-eval 0.7.3",
        "base": "base",
        "tasks": {"mmbench": {"base": {"gpt_score": share}, "lora": {"gpt_score": share}}},
        "retention": {"mmbench": {"lora": {"gpt_score": kept}}},
        "failed": {"mmbench": {"lora": 3}},
    }
    place = results / "harness" / "1"
    place.mkdir(parents=True)
    (place / "scores.json").write_text(json.dumps(scores))
    text = make_report(results, tmp_path / "out").markdown.read_text()
    section = text[text.index("## Public benchmarks") :]
    assert "lmms-eval 0.7.3" in section
    assert "90.0% (70%" in section
    assert "| lora | gpt_score | 75.0% (40%\u201390%) | 8 | 3 |" in section


def test_with_nothing_measured_it_says_what_to_do(tmp_path):
    with pytest.raises(EvaluationError, match="vlm2vla evaluate"):
        make_report(tmp_path, tmp_path / "out")


def test_damaged_results_are_named(results, tmp_path):
    report = next((results / "vqa").glob("*/report.json"))
    report.write_text(report.read_text()[:100])
    with pytest.raises(EvaluationError, match=r"report\.json is damaged"):
        make_report(results, tmp_path / "out")


def test_the_papers_tables_are_whole():
    vqa, robot = paper("vqa"), paper("robot")
    assert all(len(row) == len(vqa["benchmarks"]) == 12 for row in vqa["models"].values())
    base, ours = vqa["models"]["Gemma-3-12B-IT"], vqa["models"]["VLM2VLA 12B"]
    kept = [100 * new / old for new, old in zip(ours, base, strict=True)]
    # As derived in the notes on the paper: minimum OCRBench 85.2, mean 95.6, maximum MME 117.7.
    assert (round(min(kept), 1), round(sum(kept) / 12, 1), round(max(kept), 1)) == (85.2, 95.6, 117.7)
    assert tuple(robot["tasks"]) == SUITES["paper"]
    assert sum(robot["models"]["VLM2VLA"]) / 5 == pytest.approx(57.6)


def test_plots_put_values_where_they_belong():
    drawn = dots([Dot("a", "x", 0.0, None, None), Dot("b", "x", 1.0, 0.8, 1.4)], title="t")
    places = [
        float(value) for value in re.findall(r'<circle cx="([\d.]+)" cy="[\d.]+" r="4.5" fill="#0072b2"/>', drawn)
    ]
    assert places[-2] < places[-1]
    ends = re.findall(r'x2="([\d.]+)" y2="[\d.]+" stroke="#0072b2"', drawn)
    assert float(ends[0]) == places[-1]  # beyond the scale is cut at its end
