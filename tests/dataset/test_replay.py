"""Questions about pictures become rows that training reads like any other."""

import json

import numpy as np
import pytest

from vlm2vla.dataset import write_replay
from vlm2vla.errors import ExportError


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    np.save(folder / "pixels.npy", np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), dtype=np.uint8))
    asked = [
        [{"skill": "colour", "question": f"Colour {n}?", "answer": str(number)} for n in range(5)]
        for number in range(6)
    ]
    asked[2] = []
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    return folder


def test_rows_have_the_picture_they_are_about(pictures, tmp_path):
    from PIL import Image

    out = tmp_path / "out"
    assert write_replay(pictures, out, 6, per_picture=3) == 15
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    pixels = np.load(pictures / "pixels.npy")
    for row in rows:
        number = int(row["completion"][0]["content"])
        assert np.array_equal(np.asarray(Image.open(out / row["file_names"][0])), pixels[number])
        assert row["kind"] == "vqa"
        assert [turn["role"] for turn in row["prompt"]] == ["user"]


def test_questions_without_a_picture_come_too_but_none_that_a_test_asks(pictures, tmp_path):
    asked = [{"skill": "facts", "question": f"Fact {n % 8}?", "answer": str(n % 8)} for n in range(12)]
    (pictures / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    out = tmp_path / "out"
    write_replay(pictures, out, 6, held_out=frozenset({"Fact 3?"}))
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    texts = [row for row in rows if not row["file_names"]]
    questions = [row["prompt"][0]["content"] for row in texts]
    assert sorted(questions) == [f"Fact {n}?" for n in range(8) if n != 3]
    assert {row["completion"][0]["content"] for row in texts} == set("0124567")
    (pictures / "texts.jsonl").write_text("no json\n")
    with pytest.raises(ExportError, match="texts.jsonl"):
        write_replay(pictures, tmp_path / "other", 6)


def test_no_pictures_or_too_few_questions_are_refused(pictures, tmp_path):
    with pytest.raises(ExportError):
        write_replay(tmp_path, tmp_path / "out", 3)
    (pictures / "questions.jsonl").write_text("[]\n")
    with pytest.raises(ExportError, match="6 pictures"):
        write_replay(pictures, tmp_path / "other", 3)
