"""Which episodes a run may touch."""

from vlm2vla.annotation.shelf import choose
from vlm2vla.annotation.store import Newest

NEWEST = {
    "reviewed": Newest(3, "person", "gemini", "2026-01-01"),
    "paid": Newest(1, "gemini", "gemini", "2026-01-01"),
    "free": Newest(1, "kinematic", "kinematic", "2026-01-01"),
}
IDS = ("new", "free", "paid", "reviewed")


def test_nobody_writes_over_a_person_and_the_free_annotator_not_over_gemini():
    assert choose(IDS, NEWEST, "gemini").ids == ("new", "free", "paid")
    chosen = choose(IDS, NEWEST, "kinematic")
    assert chosen.ids == ("new", "free")
    assert [sentence.split(" ")[0] for sentence in chosen.left_out] == ["1", "1"]
    assert choose(IDS, NEWEST, "kinematic", redo=True).ids == ("new", "free", "paid")
