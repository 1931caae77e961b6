"""Opening, migrations, concurrent savers, and faults in words."""

import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, inspect, text

from vlm2vla.annotation.store import AnnotationStore, ItemRow
from vlm2vla.annotation.store.tables import TABLES
from vlm2vla.errors import ConfigError, StaleRevisionError, WorkspaceError


@pytest.fixture
def engine(url):
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    yield engine
    engine.dispose()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "studio.db"


def in_threads(work, count: int) -> None:
    threads = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def save_in_process(url, annotated, ready, results, name):
    with AnnotationStore.open(url) as store:
        ready.wait()
        try:
            results.put((name, store.save(annotated, author=name, source="person", base=1).number))
        except StaleRevisionError as error:
            results.put((name, error.head - 100))


def test_migrations_make_the_tables_of_the_code(store, engine):
    found = inspect(engine)
    for table in TABLES:
        columns = {column["name"]: column for column in found.get_columns(table.name)}
        assert list(columns) == [column.name for column in table.columns]
        for column in table.columns:
            assert columns[column.name]["nullable"] == column.nullable, column
            made = columns[column.name]["type"].compile(engine.dialect).split("(")[0]
            assert made.replace("DOUBLE PRECISION", "FLOAT") == column.type.compile(engine.dialect), column
        assert found.get_pk_constraint(table.name)["constrained_columns"] == [key.name for key in table.primary_key]
        assert len(found.get_foreign_keys(table.name)) == len(table.foreign_keys)
    wanted = {index.name for table in TABLES for index in table.indexes if _for(index, engine.dialect.name)}
    made = {index["name"] for table in TABLES for index in found.get_indexes(table.name)}
    assert {name for name in made if name.startswith("ix_")} == wanted


def _for(index, dialect: str) -> bool:
    condition = index._ddl_if
    return condition is None or condition.dialect == dialect


def test_opening_again_keeps_everything(url, annotated):
    with AnnotationStore.open(url) as store:
        store.register([ItemRow("ep1", "bridge", "push", 5)])
        saved = store.save(annotated("ep1"), author="kinematic 1", source="kinematic", base=0)
    with AnnotationStore.open(url) as store:
        assert store.head("ep1") == saved


def test_many_open_a_new_store_at_the_same_time(url):
    failures = []

    def work(index):
        try:
            with AnnotationStore.open(url) as store:
                store.register([ItemRow(f"ep{index}", "bridge", "push", 5)])
        except Exception as error:
            failures.append(error)

    in_threads(work, 8)
    assert failures == []
    with AnnotationStore.open(url) as store:
        assert store.counts().total == 8


def test_a_store_of_a_newer_version_is_refused_and_left_alone(store, url, engine):
    store.close()
    with engine.begin() as connection:
        connection.execute(text("UPDATE annotation_schema SET version_num = '9999'"))
    with pytest.raises(WorkspaceError, match=r"newer version .*9999.*update the studio"):
        AnnotationStore.open(url)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM annotation_schema")).scalar() == "9999"


def test_of_savers_on_threads_exactly_one_wins(filled, annotated):
    outcomes = []
    start = threading.Barrier(8)

    def work(index):
        start.wait()
        try:
            filled.save(annotated("ep1", f"by {index}"), author=f"r{index}", source="person", base=1)
            outcomes.append(f"r{index}")
        except StaleRevisionError as error:
            outcomes.append(error.head)

    in_threads(work, 8)
    winners = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(outcomes) == 8
    assert len(winners) == 1
    assert [outcome for outcome in outcomes if not isinstance(outcome, str)] == [2] * 7
    assert filled.head("ep1").author == winners[0]
    assert len(filled.history("ep1")) == 2


def test_of_savers_in_processes_exactly_one_wins(filled, url, annotated):
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(3), context.Queue()
    names = ("ann", "bob", "eve")
    workers = [
        context.Process(target=save_in_process, args=(url, annotated("ep1", name), ready, results, name))
        for name in names
    ]
    for worker in workers:
        worker.start()
    outcomes = dict(results.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join(timeout=60)
    assert sorted(outcomes.values()) == [-98, -98, 2]
    assert filled.head("ep1").author == next(name for name, number in outcomes.items() if number == 2)


def test_of_reviewers_who_ask_for_the_same_lease_one_gets_it(filled):
    holders = []
    in_threads(lambda index: holders.append(filled.lease("ep1", f"r{index}").holder), 8)
    assert len(holders) == 8
    assert len(set(holders)) == 1


def test_saves_of_different_episodes_do_not_disturb_each_other(store, annotated):
    store.register([ItemRow(f"ep{index}", "bridge", "push", 5) for index in range(6)])

    def work(index):
        for base in range(10):
            store.save(annotated(f"ep{index}"), author="ann", source="person", base=base)

    in_threads(work, 6)
    assert [row.head for row in store.queue().rows] == [10] * 6


def test_sqlite_runs_in_wal_with_foreign_keys(path):
    with AnnotationStore.open(f"sqlite:///{path}"):
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()
    with AnnotationStore.open(f"sqlite:///{path}") as store:
        database = store._database
        # Two at a time, so that one is not the connection that ran the migrations.
        with database.read() as first, database.read() as second:
            assert [one.execute(text("PRAGMA foreign_keys")).scalar() for one in (first, second)] == [1, 1]


def test_a_reader_goes_on_while_somebody_writes_and_a_locked_out_writer_is_told(path, annotated):
    with AnnotationStore.open(f"sqlite:///{path}", wait_s=0.2) as store:
        store.register([ItemRow("ep1", "bridge", "push", 5)])
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert store.counts().total == 1
        with pytest.raises(WorkspaceError, match=r"studio\.db is locked by another program; close it or try again"):
            store.save(annotated("ep1"), author="ann", source="person", base=0)
        other.execute("ROLLBACK")
        other.close()
        assert store.save(annotated("ep1"), author="ann", source="person", base=0).number == 1


def test_a_read_only_store_can_be_read_and_says_so_when_written(path, annotated):
    with AnnotationStore.open(f"sqlite:///{path}") as store:
        store.register([ItemRow("ep1", "bridge", "push", 5)])
    with AnnotationStore.open(f"sqlite:///file:{path}?mode=ro&uri=true") as store:
        assert store.counts().total == 1
        with pytest.raises(WorkspaceError, match="is read-only; give this user the right"):
            store.save(annotated("ep1"), author="ann", source="person", base=0)


def test_a_file_that_is_no_database_is_not_touched(path):
    path.write_text("dear diary, " * 500)
    with pytest.raises(WorkspaceError, match="is not a database; move the file away"):
        AnnotationStore.open(f"sqlite:///{path}")
    assert path.read_text().startswith("dear diary")


def test_a_damaged_database_says_so(path, annotated):
    with AnnotationStore.open(f"sqlite:///{path}") as store:
        store.register([ItemRow(f"ep{index}", "bridge", "push " * 50, 5) for index in range(300)])
    data = bytearray(path.read_bytes())
    data[4096 * 3 :] = b"\xff" * len(data[4096 * 3 :])
    path.write_bytes(data)
    with (
        pytest.raises(WorkspaceError, match="is damaged; restore it from a backup"),
        AnnotationStore.open(f"sqlite:///{path}") as store,
    ):
        store.queue()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(WorkspaceError, match="nowhere/studio.db cannot be opened; its folder must exist"):
        AnnotationStore.open(f"sqlite:///{tmp_path}/nowhere/studio.db")


@pytest.mark.parametrize("url", ["", "studio.db", "sqlite://", "sqlite:///:memory:", "mysql://localhost/x", "://"])
def test_a_wrong_url_is_refused(url):
    with pytest.raises(ConfigError):
        AnnotationStore.open(url)


def test_a_server_that_is_not_there_is_named_without_the_password():
    with pytest.raises(WorkspaceError, match="cannot be reached; check that the PostgreSQL server runs") as caught:
        AnnotationStore.open("postgresql://ann:secret@127.0.0.1:1/studio")
    assert "secret" not in str(caught.value)


def test_a_missing_postgres_database_is_named(url):
    if not url.startswith("postgresql"):
        pytest.skip("only PostgreSQL has databases by name")
    with pytest.raises(WorkspaceError, match="does not exist|cannot be reached"):
        AnnotationStore.open(f"{url.rsplit('/', 1)[0]}/vlm2vla_nope")


def test_an_installed_copy_brings_its_migrations(tmp_path):
    """The package alone, away from the checkout, makes a store."""
    import vlm2vla

    shutil.copytree(vlm2vla.__path__[0], tmp_path / "site" / "vlm2vla", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import vlm2vla.annotation.store as s, sys;"
        "assert s.__file__.startswith(sys.argv[1]), s.__file__;"
        "print(s.AnnotationStore.open('sqlite:///' + sys.argv[1] + '/a.db').counts().total)"
    )
    run = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(
        run, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_times_are_utc_whatever_the_clock_says(path, annotated):
    from datetime import timedelta, timezone

    def clock():
        return datetime(2026, 5, 1, 14, tzinfo=timezone(timedelta(hours=2)))

    with AnnotationStore.open(f"sqlite:///{path}", clock=clock) as store:
        store.register([ItemRow("ep1", "bridge", "push", 5)])
        saved = store.save(annotated("ep1"), author="ann", source="person", base=0)
    assert saved.created_at == datetime(2026, 5, 1, 12, tzinfo=UTC).isoformat(timespec="microseconds")
