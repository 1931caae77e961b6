"""VQA sets of every kind, from files as they are found in the wild, rotten rows included."""

import base64
import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlm2vla.errors import EvaluationError, NotFoundError
from vlm2vla.evaluation import load_set
from vlm2vla.evaluation.asking import Asked, questions


@pytest.fixture
def table(tmp_path):
    def write(rows, name="MMBench_DEV_EN.tsv"):
        path = tmp_path / name
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, sorted({key for row in rows for key in row}), delimiter="\t")
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


def mmbench_row(jpeg, index, options=("dog", "cat", "fish"), answer="B", **more):
    cells = dict(zip("ABCD", options, strict=False))
    image = base64.b64encode(jpeg()).decode()
    return {
        "index": index,
        "question": "What is it?",
        "answer": answer,
        "category": "x",
        "image": image,
        **cells,
        **more,
    }


def test_the_real_mmbench_items_are_read_and_asked(shared_data):
    vqa = load_set(str(shared_data / "vqa-mmbench"))
    assert (len(vqa.items), vqa.problems) == (54, ())
    assert sum(len(item.options) == 4 for item in vqa.items) == 50
    assert {item.language for item in vqa.items} == {"en", "zh"}
    assert len({item.cluster for item in vqa.items}) == 34  # images, not questions
    letters = [Asked(item).truth.correct for item in vqa.items]
    assert [letters.count(index) for index in range(4)] == [15, 23, 7, 9]
    for item in vqa.items:
        (message,) = Asked(item).messages()
        assert message.images[0].size_px[0] > 10
        assert f"A. {item.options[0]}" in message.text


def test_rotations_move_the_right_letter_through_all_places(shared_data):
    item = load_set(str(shared_data / "vqa-mmbench")).items[0]
    truths = [Asked(item, rotation).truth for rotation in range(4)]
    assert sorted(truth.correct for truth in truths) == [0, 1, 2, 3]
    assert {truth.options[truth.correct] for truth in truths} == {item.answers[0]}


def test_a_table_of_vlmevalkit(table, jpeg):
    path = table(
        [
            mmbench_row(jpeg, 7, hint="Look closely."),
            mmbench_row(jpeg, 8, image="7"),
            mmbench_row(jpeg, 9, options=("yes", "no"), answer="A"),
            mmbench_row(jpeg, 10, options=("dog", "cat", "nan"), answer="C"),
            mmbench_row(jpeg, 11, image="999"),
            mmbench_row(jpeg, 12, answer=""),
        ]
    )
    vqa = load_set(str(path))
    assert [item.id for item in vqa.items] == ["7", "8", "9"]
    assert [len(item.options) for item in vqa.items] == [3, 3, 2]
    assert vqa.items[1].pictures[0].read() == vqa.items[0].pictures[0].read()
    assert vqa.items[0].cluster == vqa.items[1].cluster != vqa.items[2].cluster
    assert vqa.items[0].language == "en"
    assert "Look closely.\nWhat is it?\nA. dog\nB. cat\nC. fish" in Asked(vqa.items[0]).text()
    assert {where.split(":")[1]: message.split()[0] for where, message in vqa.problems} == {
        "10": "the",
        "11": "its",
        "12": "question",
    }


def test_rotated_copies_in_the_table_are_one_question(table, jpeg):
    rows = [
        mmbench_row(jpeg, 5, ("dog", "cat", "fish"), "B"),
        mmbench_row(jpeg, 1000005, ("cat", "fish", "dog"), "A"),
        mmbench_row(jpeg, 2000005, ("fish", "dog", "cat"), "C"),
    ]
    vqa = load_set(str(table(rows)))
    assert {item.unit for item in vqa.items} == {"5"}
    assert len(list(questions(vqa, circular=True))) == 3  # and not nine
    assert len(vqa.first(1).items) == 3


def test_parquet_as_lmms_eval_keeps_it(tmp_path, jpeg):
    image = {"bytes": jpeg(kind="PNG"), "path": None}
    textvqa = pa.Table.from_pylist(
        [{"question_id": 1, "image": image, "question": "what?", "answers": ["12"] * 6 + ["13"] * 4}]
    )
    pq.write_table(textvqa, tmp_path / "textvqa_val.parquet")
    (item,) = load_set(str(tmp_path / "textvqa_val.parquet")).items
    assert (item.scorer, len(item.answers), item.pictures[0].read().mime_type) == ("vqa_accuracy", 10, "image/png")

    rows = [
        {"image": image, "question": "which?", "options": "['a', 'b']", "answer": "B", "id": "v1"},
        {"image": image, "question": "which?", "options": "['a', 'b']", "answer": "E", "id": "v2"},
    ]
    (tmp_path / "mmmu").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mmmu" / "validation-0.parquet")
    vqa = load_set(str(tmp_path / "mmmu"))
    assert [(item.scorer, item.options, item.answers) for item in vqa.items] == [("choice_last", ("a", "b"), ("b",))]
    assert len(vqa.problems) == 1

    ai2d = [{"image": image, "question": "which?", "options": ["x", "y", "z"], "answer": "2"}]
    pq.write_table(pa.Table.from_pylist(ai2d), tmp_path / "ai2d.parquet")
    assert load_set(str(tmp_path / "ai2d.parquet")).items[0].answers == ("z",)


def test_our_own_folder(colours):
    vqa = load_set(str(colours))
    assert (len(vqa.items), vqa.problems) == (40, ())
    assert vqa.items[0].chance == pytest.approx(1 / 3)
    assert vqa.items[1].chance == 0.5
    assert vqa.items[0].cluster == vqa.items[1].cluster  # one image
    assert Asked(vqa.items[0]).text() == "colour number 0?"  # asked as it stands


def test_rotten_rows_cost_only_themselves(colours):
    file = colours / "items.jsonl"
    rotten = [
        "not json",
        json.dumps({"question": "no answer?"}),
        json.dumps({"question": " ", "answer": "x"}),
        json.dumps({"question": "q", "answer": "x", "image": "images/none.jpg"}),
        json.dumps({"question": "q", "answer": "x", "image": "../../etc/passwd"}),
        json.dumps({"question": "q", "answer": "x", "scorer": "guess"}),
        json.dumps({"question": "q", "answer": "C", "options": {"A": "x", "B": "y"}}),
        json.dumps({"id": "colour1", "question": "q", "answer": "x"}),
    ]
    file.write_text(file.read_text() + "\n" + "\n".join(rotten))
    vqa = load_set(str(colours))
    assert len(vqa.items) == 40
    assert len(vqa.problems) == len(rotten)
    assert "outside" in vqa.problems[4][1]


def test_pictures_are_checked_before_they_are_decoded(colours, jpeg):
    (colours / "images" / "0.jpg").write_bytes(b"GIF89a nonsense")
    (colours / "images" / "1.jpg").write_bytes(jpeg(size=(30, 20), kind="BMP"))
    vqa = load_set(str(colours))
    with pytest.raises(EvaluationError, match=r"images/0\.jpg"):
        Asked(vqa.items[0]).messages()
    (message,) = Asked(vqa.items[2]).messages()
    assert (message.images[0].mime_type, message.images[0].size_px) == ("image/png", (30, 20))
    (blank,) = Asked(vqa.items[2]).messages(blank=True)
    assert blank.images[0].size_px == (30, 20)
    assert blank.images[0] != message.images[0]


def test_a_bomb_is_refused(colours):
    # A PNG header that promises 100,000 x 100,000 pixels.
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (100_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    import zlib

    (colours / "images" / "0.jpg").write_bytes(header + zlib.crc32(header[12:]).to_bytes(4, "big") + b"\x00" * 64)
    with pytest.raises(EvaluationError, match="pixels|image"):
        Asked(load_set(str(colours)).items[0]).messages()


def test_what_is_no_set_is_said(tmp_path):
    with pytest.raises(NotFoundError, match="no VQA set"):
        load_set("tablettop-of-nobody")
    with pytest.raises(EvaluationError, match="no VQA set"):
        load_set(str(tmp_path))
    (tmp_path / "x.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(EvaluationError, match="no column"):
        load_set(str(tmp_path / "x.tsv"))
    (tmp_path / "y.parquet").write_bytes(b"nothing")
    with pytest.raises(EvaluationError, match="Parquet"):
        load_set(str(tmp_path / "y.parquet"))


def test_a_limit_is_spread_over_the_set(colours):
    vqa = load_set(str(colours))
    assert [item.id for item in vqa.first(4).items] == ["colour0", "colour5", "colour10", "colour15"]
    assert vqa.first(0) is vqa
