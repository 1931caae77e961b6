"""Import: what is good is indexed once, what is bad is reported, nothing already imported is touched."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from vlm2vla.config import ImportConfig
from vlm2vla.errors import CorruptRecordError, FormatError, NotFoundError, WorkspaceError
from vlm2vla.trajectories import EpisodeIndex, import_episodes, read


def index_files(workspace):
    return {path.name: path.stat().st_mtime_ns for path in workspace.episodes.iterdir()}


def test_import_then_read_back_everything(tmp_path, workspace, rlds):
    rlds.write(tmp_path / "data", rlds.episodes(5))
    seen = []
    report = import_episodes(ImportConfig(tmp_path / "data"), workspace, lambda done, total: seen.append((done, total)))
    assert (report.episodes, report.steps, report.added, report.errors) == (5, 60, 5, ())
    assert (report.format, report.datasets) == ("bridge-rlds", ("bridge_dataset",))
    assert seen == [(i, 5) for i in range(1, 6)]
    index = EpisodeIndex(workspace)
    originals = list(read(tmp_path / "data"))
    assert index.ids() == [episode.id for episode in originals]
    for original, stored in zip(originals, index.episodes(), strict=True):
        again = index.get(original.id)
        for episode in (stored, again):
            np.testing.assert_array_equal(episode.states, original.states)
            np.testing.assert_array_equal(episode.commands, original.commands)
            assert episode.frame(5) == original.frame(5)
            for name in ("id", "dataset", "source", "instruction", "embodiment", "rate_hz", "paraphrases", "notes"):
                assert getattr(episode, name) == getattr(original, name)
    (file,) = workspace.reports.glob("*.json")
    assert json.loads(file.read_text())["episodes"] == 5


def test_importing_twice_changes_nothing(tmp_path, workspace, rlds):
    rlds.write(tmp_path / "data", rlds.episodes(3))
    import_episodes(ImportConfig(tmp_path / "data"), workspace)
    before = index_files(workspace)
    report = import_episodes(ImportConfig(tmp_path / "data"), workspace)
    assert (report.episodes, report.steps, report.added, report.updated) == (3, 36, 0, 0)
    assert index_files(workspace) == before


def test_the_same_episodes_in_another_split_count_once(tmp_path, workspace, rlds):
    rlds.write(tmp_path / "data", rlds.episodes(3))
    rlds.write(tmp_path / "data", rlds.episodes(3)[::-1], split="val")
    report = import_episodes(ImportConfig(tmp_path / "data"), workspace)
    assert (report.episodes, report.added, report.duplicates) == (3, 3, 3)


def test_flipped_byte_reports_exactly_that_record(tmp_path, workspace, rlds):
    shard = rlds.write(tmp_path / "data", rlds.episodes(6))
    rlds.flip(shard, rlds.offsets(shard)[4] + 3000)
    report = import_episodes(ImportConfig(tmp_path / "data"), workspace)
    assert report.episodes == 5
    (error,) = report.errors
    assert (error["kind"], error["path"], error["record"]) == ("CorruptRecordError", str(shard), 4)
    assert json.dumps(report.to_json())


def test_moved_data_are_found_again_by_importing_again(tmp_path, workspace, rlds):
    rlds.write(tmp_path / "old", rlds.episodes(2))
    import_episodes(ImportConfig(tmp_path / "old"), workspace)
    (tmp_path / "old").rename(tmp_path / "new")
    index = EpisodeIndex(workspace)
    with pytest.raises(CorruptRecordError, match="import it from its new place"):
        index.get(index.ids()[0]).frame(0)
    report = import_episodes(ImportConfig(tmp_path / "new"), workspace)
    assert (report.added, report.updated) == (0, 2)
    assert len(index) == 2
    assert index.get(index.ids()[0]).frame(0)
    assert [episode.source.path for episode in index.episodes()] == [
        str(next((tmp_path / "new").glob("*.tfrecord*")))
    ] * 2


def test_options(tmp_path, workspace, rlds):
    rlds.write(tmp_path / "data", rlds.episodes(4))
    config = ImportConfig(tmp_path / "data", dataset="My set/é", rate_hz=10, limit=2)
    report = import_episodes(config, workspace)
    index = EpisodeIndex(workspace)
    assert (report.episodes, len(index), index.datasets()) == (2, 2, {"My set/é": 2})
    episode = index.get(index.ids("My set/é")[0])
    assert episode.rate_hz == 10
    assert "/" not in episode.id
    assert episode.id.isascii()


@pytest.mark.parametrize("make", [lambda path: path / "absent", lambda path: path])
def test_nothing_to_import(tmp_path, workspace, make):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(FormatError):
        import_episodes(ImportConfig(make(tmp_path)), workspace)
    assert index_files(workspace) == {}


def test_index_is_untouched_when_reading_breaks_down(tmp_path, workspace, rlds):
    rlds.write(tmp_path / "data", rlds.episodes(3))
    index = EpisodeIndex(workspace)

    def broken():
        yield from read(tmp_path / "data")
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        index.add(broken())
    assert len(index) == 0
    assert index_files(workspace) == {}


def test_stopping_keeps_what_was_read_and_importing_again_continues(tmp_path, workspace, rlds):
    rlds.write(tmp_path / "data", rlds.episodes(5))

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_episodes(ImportConfig(tmp_path / "data"), workspace, stop)
    assert len(EpisodeIndex(workspace)) == 2
    assert import_episodes(ImportConfig(tmp_path / "data"), workspace).added == 3


def test_another_process_is_noticed(tmp_path, workspace, rlds):
    rlds.write(tmp_path / "data", rlds.episodes(3))
    early = EpisodeIndex(workspace)
    assert len(early) == 0
    import_episodes(ImportConfig(tmp_path / "data"), workspace)
    assert len(early) == 3
    assert early.ids()[0] in early


def test_unknown_episode_and_damaged_index(tmp_path, workspace):
    with pytest.raises(NotFoundError, match="no episode 'x'"):
        EpisodeIndex(workspace).get("x")
    (workspace.episodes / "broken.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(WorkspaceError, match=r"broken\.parquet"):
        EpisodeIndex(workspace)


def test_two_thousand_rows(tmp_path, workspace, rlds, episodes_like):
    rlds.write(tmp_path / "data", rlds.episodes(1))
    (episode,) = read(tmp_path / "data")
    index = EpisodeIndex(workspace)
    assert index.add(episodes_like(episode, 2000)).added == 2000
    assert index.add(episodes_like(replace(episode, dataset=episode.dataset), 2001)).added == 1
    again = EpisodeIndex(workspace)
    assert len(again) == 2001
    assert again.get(f"{episode.dataset}-{1999:012x}").instruction == "put item 1999 on plate"
    summaries = again.summaries()
    assert [summary.instruction for summary in summaries[1998:]] == [
        f"put item {i} on plate" for i in (1998, 1999, 2000)
    ]
    assert summaries[0].cameras == ("image_0",)


def test_real_sample(shared_data, workspace):
    report = import_episodes(ImportConfig(shared_data / "octo-bridge-rlds"), workspace)
    assert (report.episodes, report.steps, report.added, report.errors) == (25, 250, 25, ())


def test_a_damaged_byte_in_the_index_is_never_taken_for_a_number(tmp_path, workspace, rlds):
    rlds.write(tmp_path / "data", rlds.episodes(3))
    import_episodes(ImportConfig(tmp_path / "data"), workspace)
    (file,) = workspace.episodes.iterdir()
    whole = file.read_bytes()
    correct = {episode.id: episode.states for episode in EpisodeIndex(workspace).episodes()}
    refused = 0
    for position in range(4, len(whole) - 8, 97):
        file.write_bytes(whole)
        rlds.flip(file, position)
        try:
            for id, states in correct.items():
                np.testing.assert_array_equal(EpisodeIndex(workspace).get(id).states, states)
        except (WorkspaceError, NotFoundError):
            refused += 1
    assert refused > 20


def test_frames_can_be_sent_to_another_process(tmp_path, rlds, lerobot):
    rlds.write(tmp_path / "rlds", rlds.episodes(1))
    lerobot.v21(tmp_path / "lerobot", episodes=1)
    for folder in ("rlds", "lerobot"):
        (episode,) = read(tmp_path / folder)
        assert pickle.loads(pickle.dumps(episode)).frame(4) == episode.frame(4)


def test_several_formats_below_one_folder_must_be_named(tmp_path, workspace, rlds, lerobot):
    rlds.write(tmp_path / "data" / "a", rlds.episodes(1))
    lerobot.v21(tmp_path / "data" / "b", episodes=2)
    with pytest.raises(FormatError, match=r"several formats \(bridge-rlds in .*a; lerobot-v2 in .*b\)"):
        import_episodes(ImportConfig(tmp_path / "data"), workspace)
    assert import_episodes(ImportConfig(tmp_path / "data", format="lerobot-v2"), workspace).episodes == 2


def test_truncated_shard_keeps_what_is_before(tmp_path, workspace, rlds):
    shard = rlds.write(tmp_path / "data", rlds.episodes(5))
    shard.write_bytes(shard.read_bytes()[: rlds.offsets(shard)[3] + 500])
    report = import_episodes(ImportConfig(tmp_path / "data"), workspace)
    assert (report.episodes, len(report.errors), report.errors[0]["record"]) == (3, 1, 3)
    assert "2 of 5 records are lost" in report.errors[0]["message"]


def told(rlds, instruction: str) -> dict:
    """Features of an episode with this instruction."""
    (features,) = rlds.episodes(1)
    key = "steps/language_instruction"
    return features | {key: [instruction.encode()] * len(features[key])}


def test_characters_that_nobody_sees_leave_an_instruction(tmp_path, workspace, rlds):
    rlds.write(tmp_path / "data", [told(rlds, "put\x00 the \u202ecarrot\u200b on  plate")])
    import_episodes(ImportConfig(tmp_path / "data"), workspace)
    (summary,) = EpisodeIndex(workspace).summaries()
    assert summary.instruction == "put the carrot on plate"


def test_an_endless_instruction_is_refused(tmp_path, workspace, rlds):
    rlds.write(tmp_path / "data", [told(rlds, "put " * 5000)])
    report = import_episodes(ImportConfig(tmp_path / "data"), workspace)
    assert (report.episodes, report.errors[0]["kind"]) == (0, "InvalidEpisodeError")
    assert "19999 characters" in report.errors[0]["message"]
