"""What is kept of a run, what is refused, and what is thrown away."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import store
from bench.case import Case
from bench.evidence import Record
from bench.history import Completed, History, Invoked
from bench.manifest import RunKind
from bench.operations import Get, Outcome, Put, Told
from bench.schedule import Crash, Schedule
from bench.store import Findings, Recording, RunState, StoredRun, StoreError
from bench.verdict import Finding, Verdict

CASE = Case(
    schedule=Schedule(
        nodes=("n1", "n2"), members=("n1", "n2"), length_s=2, faults=(Crash(at_s=1.0, for_s=0.5, node="n2"),)
    ),
    seed=7,
)
FINDINGS = Findings(
    told=(Finding("outcome", Verdict.VALID, "it was played"),),
    judged=(Finding("logs_agree", Verdict.INVALID, "they do not"),),
)
START: Record = {"event": "start", "at_s": 0.5, "term": 0, "node": "n1"}
LED: Record = {"event": "role", "at_s": 1.5, "term": 1, "role": "Leader"}


def new(runs: Path, name: str = "kill_leader[n1-both_ways]", world: str = "simulated") -> Recording:
    recording = store.begin(runs, kind=RunKind.CASE, name=name, world=world, plan=CASE.plan, checks=["logs_agree"])
    recording.plays(CASE)
    return recording


def written(runs: Path, world: str = "simulated") -> Recording:
    """A run with something in each of its files, and not ended."""
    recording = new(runs, world=world)
    history = History(recording.event)
    number = history.invoked(1, "n1", Put("k", "v"), 1.0)
    history.completed(number, Told(Outcome.OK, modify_index=3), 1.25)
    history.invoked(1, "n2", Get("k"), 1.5)
    recording.note({"event": "kill", "at_s": 1.0, "node": "n2"})
    recording.note({"event": "restart", "at_s": 1.5, "node": "n2", "wipe": False})
    recording.trace("n1", [START, LED])
    recording.log.write_text("first\nsecond\nthird\n")
    return recording


def ended(runs: Path) -> Path:
    with written(runs) as recording:
        recording.finish(FINDINGS, digest="00ff")
    return recording.folder


def everything(folder: Path) -> tuple[object, ...]:
    run = store.read(folder)
    return run.evidence(), run.findings(), run.case()


def edit(file: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))


def test_what_was_recorded_is_read_back(tmp_path: Path) -> None:
    run = store.read(ended(tmp_path))
    evidence = run.evidence()
    read, write = sorted(evidence.history, key=lambda operation: operation.completed_s, reverse=True)
    assert (write.asked, write.told, write.completed_s) == (Put("k", "v"), Told(Outcome.OK, modify_index=3), 1.25)
    assert (read.asked, read.outcome, read.completed_s) == (Get("k"), Outcome.UNKNOWN, math.inf)
    assert [record["event"] for record in evidence.timeline] == ["kill", "restart"]
    assert evidence.traces == {"n1": (START, LED)}
    assert (run.findings(), run.case(), run.manifest.plan) == (FINDINGS, CASE, CASE.plan)
    assert (run.manifest.verdict, run.manifest.digest, run.state) == (Verdict.INVALID, "00ff", RunState.ENDED)
    assert run.log_tail(2) == ["second", "third"]


def test_beside_each_time_of_real_processes_stands_what_the_machines_clock_read(tmp_path: Path) -> None:
    """The times of a run are counted from its beginning, so that people can read them; whoever has other records of the
    same machine can still put all in one order."""
    with written(tmp_path, world="live") as recording:
        recording.finish(FINDINGS)
    lines = [*(recording.folder / "history.jsonl").open(), *(recording.folder / "timeline.jsonl").open()]
    told = [json.loads(line) for line in lines]
    assert {record["monotonic_s"] - record["at_s"] for record in told} == {recording.manifest.zero_s}
    assert "monotonic_s" not in (ended(tmp_path) / "history.jsonl").read_text()


def test_whoever_judges_before_the_end_finds_what_is_found_afterwards(tmp_path: Path) -> None:
    with written(tmp_path) as recording:
        before = recording.evidence()
        recording.finish(FINDINGS)
    assert store.read(recording.folder).evidence() == before


def test_what_happens_after_a_run_was_set_aside_goes_on_and_is_no_part_of_it(tmp_path: Path) -> None:
    with written(tmp_path) as recording:
        before = recording.evidence()
        recording.set_aside()
        recording.note({"event": "kill", "at_s": 3.0, "node": "n1"})
        History(recording.event).invoked(2, "n1", Get("k"), 3.0)
        for file, more in {recording.trace_file("n1"): "{}\n", recording.log: "fourth\n"}.items():
            with file.open("a") as stream:
                stream.write(more)
        recording.finish(FINDINGS)
    run = store.read(recording.folder)
    assert (run.evidence(), run.log_tail(2)) == (before, ["second", "third"])
    assert (recording.folder / "kept.log").read_text() == "fourth\n"


def test_events_of_many_threads_are_whole_lines(tmp_path: Path) -> None:
    recording = new(tmp_path)
    history = History(recording.event)

    def ask(client: int) -> None:
        for turn in range(200):
            number = history.invoked(client, "n1", Put(f"{client}-{turn}", "v" * client), turn)
            history.completed(number, Told(Outcome.OK), turn + 0.5)

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recording.evidence().history) == 800


# What was changed afterwards

SEALED = ["manifest.json", "case.json", "history.jsonl", "timeline.jsonl", "verdict.json", "nodes/n1/trace.jsonl"]


@pytest.mark.parametrize("file", SEALED)
def test_a_line_that_was_edited_is_named(file: str, tmp_path: Path) -> None:
    folder = ended(tmp_path)
    edit(folder / file, lambda lines: [lines[0], lines[1].replace(b":", b": "), *lines[2:]])
    with pytest.raises(StoreError, match=rf"{file}, line 2: changed after the run ended"):
        everything(folder)


@pytest.mark.parametrize("file", SEALED)
def test_where_a_file_was_cut_is_named(file: str, tmp_path: Path) -> None:
    folder = ended(tmp_path)
    edit(folder / file, lambda lines: lines[:-1])
    with pytest.raises(StoreError, match=rf"{file}, line \d+: (missing; the run ended with|no JSON from here on)"):
        everything(folder)


@pytest.mark.parametrize("file", SEALED)
def test_half_a_line_at_the_end_is_named_too(file: str, tmp_path: Path) -> None:
    folder = ended(tmp_path)
    edit(folder / file, lambda lines: [*lines[:-1], lines[-1][:-2]])
    with pytest.raises(StoreError, match=rf"{file}, line \d+: (changed after|missing; the run|no JSON from here on)"):
        everything(folder)


@pytest.mark.parametrize("file", ["history.jsonl", "timeline.jsonl", "nodes/n1/trace.jsonl"])
def test_a_line_that_was_added_is_named(file: str, tmp_path: Path) -> None:
    folder = ended(tmp_path)
    edit(folder / file, lambda lines: [*lines, lines[-1]])
    with pytest.raises(StoreError, match=rf"{file}, line \d: added after the run ended"):
        everything(folder)


@pytest.mark.parametrize("file", [*SEALED, "seal.json"])
def test_a_file_that_is_gone_is_named(file: str, tmp_path: Path) -> None:
    folder = ended(tmp_path)
    (folder / file).unlink()
    with pytest.raises(StoreError, match=rf"{file}: missing"):
        everything(folder)


def test_a_trace_of_a_node_that_had_none_is_refused(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    (folder / "nodes/n2").mkdir()
    (folder / "nodes/n2/trace.jsonl").write_bytes((folder / "nodes/n1/trace.jsonl").read_bytes())
    with pytest.raises(StoreError, match=r"nodes/n2/trace.jsonl: added after the run ended"):
        everything(folder)


def test_a_log_may_be_changed_because_nothing_is_judged_by_it(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    (folder / "cluster.log").write_text("tidied\n")
    assert store.read(folder).log_tail(5) == ["tidied"]
    (folder / "cluster.log").unlink()
    assert store.read(folder).log_tail(5) == []


@pytest.mark.parametrize("damage", [b"", b"{", b'{"lines": 1}', b'{"lines": {}}', b"\xff"])
def test_a_damaged_seal_is_no_verdict_either(damage: bytes, tmp_path: Path) -> None:
    folder = ended(tmp_path)
    (folder / "seal.json").write_bytes(damage)
    with pytest.raises(StoreError, match=r"seal\.json|added after"):
        everything(folder)


@pytest.mark.parametrize(
    ("bound", "most", "words"),
    [
        ("LARGEST_EVIDENCE", 300, r"(timeline|trace).jsonl: with it .* have more than 300 bytes"),
        ("LONGEST_LINE", 100, r"history.jsonl, line 1: longer than 100 bytes"),
        ("MOST_LINES", 2, r"history.jsonl, line 3: one more than the 2 lines"),
    ],
)
def test_of_a_run_so_much_is_read_and_no_more(
    bound: str, most: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.read(ended(tmp_path))
    monkeypatch.setattr(store, bound, most)
    with pytest.raises(StoreError, match=words):
        run.evidence()


# What is no run of ours


def test_a_run_of_another_format_is_refused_by_its_number(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    edit(folder / "manifest.json", lambda lines: [b'{"format": 2, "whatever": "else"}'])
    with pytest.raises(StoreError, match=r"manifest.json: a run of format 2; this program reads format 1"):
        store.read(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1: no JSON from here on"),
        (b'{\n"format": 1,\n"kind', "line 3: no JSON from here on"),
        (b"\xff\xfe", "line 1: no JSON from here on"),
        (b'{\n"format": 1,\n"kind": "\xff"}', "line 3: no JSON from here on"),
        (b'{\n"format": 1,\n"\xff": 1}', "line 3: no JSON from here on"),
        (b"[" * 100_000, "no JSON|Expected `object`"),
        (b"[]", "Expected `object`"),
        (b'{"name": "somebody else\'s"}', "missing required field `format`"),
        (b'{"format": 1, "kind": "dance"}', "Invalid enum value 'dance'"),
        (b" " * 2_000_000, "more than 1048576 bytes"),
    ],
)
def test_what_is_no_manifest_of_ours_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    folder = ended(tmp_path)
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(StoreError, match=rf"manifest.json.*{words}"):
        store.read(folder)


def test_a_node_that_could_lead_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    edit(folder / "manifest.json", lambda lines: [line.replace(b'"n1"', b'"../n1"') for line in lines])
    with pytest.raises(StoreError, match=r"manifest.json: Expected `str` matching regex .* at `\$\.plan\.nodes"):
        store.read(folder)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = ended(tmp_path / "runs")
    trace = (folder / "nodes/n1").rename(tmp_path / "elsewhere")
    (folder / "nodes/n1").symlink_to(trace)
    with pytest.raises(StoreError, match=r"nodes/n1/trace.jsonl: leads out of the run's folder"):
        everything(folder)


@pytest.mark.parametrize("file", ["manifest.json", "history.jsonl"])
def test_a_link_that_leads_to_itself_is_a_file_that_is_missing(file: str, tmp_path: Path) -> None:
    folder = ended(tmp_path)
    (folder / file).unlink()
    (folder / file).symlink_to(file)
    with pytest.raises(StoreError, match=rf"{file}: missing"):
        everything(folder)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    (folder / "timeline.jsonl").unlink()
    os.mkfifo(folder / "timeline.jsonl")
    with pytest.raises(StoreError, match=r"timeline.jsonl: no file"):
        everything(folder)


# What did not end

GOES_ON = """
import sys
from pathlib import Path
from bench.history import History
from bench.operations import Outcome, Put, Told
from tests.unit.bench.test_store import new
recording = new(Path(sys.argv[1]))
history = History(recording.event)
print(recording.folder, flush=True)
for count in range(10**9):
    number = history.invoked(0, "n1", Put(str(count), "v" * 100), count)
    history.completed(number, Told(Outcome.OK), count + 0.5)
    recording.note({"at_s": count, "event": "kill", "node": "n1"})
    if count == 100:
        print("well under way", flush=True)
"""


def killed_bench(runs: Path) -> tuple[StoredRun, StoredRun]:
    """A run as it is found while it goes on, and once its bench was killed in the middle of it."""
    argv = [sys.executable, "-c", GOES_ON, str(runs)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as bench:
        assert bench.stdout is not None
        folder = Path(bench.stdout.readline().strip())
        bench.stdout.readline()
        try:
            while_it_runs = store.read(folder), store.read(folder).state
        finally:
            bench.send_signal(signal.SIGKILL)
    assert while_it_runs[1] is RunState.GOING_ON
    return while_it_runs[0], store.read(folder)


def test_a_bench_that_is_killed_loses_at_most_the_line_it_was_writing(tmp_path: Path) -> None:
    _, run = killed_bench(tmp_path)
    assert run.state is RunState.CUT_OFF
    assert (run.findings(), run.manifest.verdict) == (None, None)
    evidence = run.evidence()
    assert [operation.asked for operation in evidence.history] == [
        Put(str(count), "v" * 100) for count in range(len(evidence.history))
    ]
    assert 0 <= len(evidence.history) - len(evidence.timeline) <= 1
    assert len(evidence.history) > 100


@pytest.mark.parametrize("file", ["history.jsonl", "timeline.jsonl", "nodes/n1/trace.jsonl"])
def test_of_a_run_that_did_not_end_half_a_last_line_is_left_out(file: str, tmp_path: Path) -> None:
    with written(tmp_path) as recording:
        whole = recording.evidence()
    edit(recording.folder / file, lambda lines: [*lines, lines[-1][:20]])
    assert store.read(recording.folder).evidence() == whole


@pytest.mark.parametrize("file", ["history.jsonl", "timeline.jsonl", "nodes/n1/trace.jsonl"])
@pytest.mark.parametrize("damage", [b"nonsense\n", b"\n", b"[]\n", b'{"event": "role"}\n', b'{"at_s": 1}\n', b"\xff\n"])
def test_of_a_run_that_did_not_end_a_damaged_line_is_named(file: str, damage: bytes, tmp_path: Path) -> None:
    with written(tmp_path) as recording:
        pass
    edit(recording.folder / file, lambda lines: [lines[0], damage, *lines[1:]])
    with pytest.raises(StoreError, match=rf"{file}, line 2: "):
        store.read(recording.folder).evidence()


def test_an_answer_that_nobody_waits_for_is_named_by_its_line(tmp_path: Path) -> None:
    with new(tmp_path) as recording:
        recording.event(Invoked(1.0, 0, 1, "n1", Get("k")))
        recording.event(Completed(1.5, 0, Outcome.OK))
        recording.event(Completed(1.5, 0, Outcome.OK))
    with pytest.raises(StoreError, match=r"history.jsonl, line 3: question 0 is answered"):
        store.read(recording.folder).evidence()


def test_a_manifest_that_says_no_longer_that_the_run_ended_is_not_believed(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    edit(folder / "manifest.json", lambda lines: [line for line in lines if b'"ended"' not in line])
    with pytest.raises(StoreError, match=r"manifest.json, line \d+: changed after the run ended"):
        store.read(folder)


# What a node could not write to its end


@pytest.mark.parametrize("torn", [b'{"event":"ro', b'{"event":"ro\n{"ev'])
def test_a_line_that_its_node_could_not_write_to_its_end_is_no_fault_of_the_folder(torn: bytes, tmp_path: Path) -> None:
    """Behind it is its next life, which may have come to grief as early; or nothing."""
    with written(tmp_path) as recording:
        first, second = recording.trace_file("n1").read_bytes().splitlines(keepends=True)
        recording.trace_file("n1").write_bytes(first + second + torn + b"\n" + first + torn)
        recording.finish(FINDINGS)
    assert store.read(recording.folder).evidence().traces["n1"] == (START, LED, START)


def test_such_a_line_in_the_middle_of_a_life_is_a_fault(tmp_path: Path) -> None:
    with written(tmp_path) as recording:
        first, second = recording.trace_file("n1").read_bytes().splitlines(keepends=True)
        recording.trace_file("n1").write_bytes(first + b'{"event":"ro\n' + second)
        with pytest.raises(StoreError, match=r"trace.jsonl, line 2: "):
            recording.evidence()


# Where it is kept


def test_two_runs_of_one_instant_are_told_apart_by_their_ids_alone(tmp_path: Path) -> None:
    runs = [new(tmp_path, name) for name in ("a", "a", "b", "a", "b")]
    assert len({run.folder.name for run in runs}) == 5
    assert {store.find(tmp_path, run.folder.name).folder for run in runs} == {run.folder for run in runs}


@pytest.mark.parametrize(
    "name", ["../../out", "/etc", "..", ".hidden", "", "a/b", "x" * 500, "tab\there", "split[a-b]"]
)
def test_whatever_a_scenario_is_called_it_is_kept_two_levels_below(name: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with new(runs, name) as recording:
        assert recording.folder.resolve().parent.parent == runs
    (run,) = store.runs_in(runs).runs
    assert (run.folder, run.manifest.name) == (recording.folder, name)
    assert list(tmp_path.iterdir()) == [runs]


def test_brackets_stay_as_they_are(tmp_path: Path) -> None:
    assert new(tmp_path, "split_brain[leader_alone-hold]").folder.parent.name == "split_brain[leader_alone-hold]"


@pytest.mark.parametrize("name", ["../n1", "", "n1/n2", ".", "n" * 33, "n1\n"])
def test_what_cannot_name_a_node_gets_no_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot name a node"):
        new(tmp_path).node_folder(name)


def test_a_run_is_found_by_its_id_its_folder_and_as_the_last(tmp_path: Path) -> None:
    first, second = ended(tmp_path), ended(tmp_path)
    assert store.find(tmp_path, first.name).folder == first
    assert store.find(tmp_path, f"{first.parent.name}/{first.name}").folder == first
    assert store.find(tmp_path / "no such folder", str(first)).folder == first
    assert store.find(tmp_path, "last").folder == second
    for name in ("first", "", "../.."):
        with pytest.raises(StoreError, match=r"there is no run|manifest.json: missing"):
            store.find(tmp_path, name)


def test_an_id_that_two_runs_have_is_asked_back(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    twin = tmp_path / "other"
    twin.mkdir()
    (twin / folder.name).mkdir()
    for file in ("manifest.json", "seal.json", "history.jsonl"):
        (twin / folder.name / file).write_bytes((folder / file).read_bytes())
    with pytest.raises(StoreError, match=rf"{folder.name} may be .*other/{folder.name}.* name one of them"):
        store.find(tmp_path, folder.name)
    assert store.find(tmp_path, f"other/{folder.name}").folder == twin / folder.name


def test_runs_are_listed_newest_first_and_what_cannot_be_read_beside_them(tmp_path: Path) -> None:
    folders = [ended(tmp_path) for _ in range(3)]
    (folders[1] / "manifest.json").write_text("{}")
    (tmp_path / "notes" / "of mine").mkdir(parents=True)
    found = store.runs_in(tmp_path)
    assert [run.folder for run in found.runs] == [folders[2], folders[0]]
    assert [str(folders[1]) in str(error) for error in found.unreadable] == [True]
    assert store.runs_in(tmp_path / "nothing here") == ((), ())


# What is thrown away


def test_pruning_keeps_the_newest(tmp_path: Path) -> None:
    folders = [ended(tmp_path) for _ in range(4)]
    removed = list(store.prune(tmp_path, 2))
    assert [done.run.folder for done in removed] == [folders[1], folders[0]]
    assert all(done.size_bytes > 1000 for done in removed)
    assert [folder.exists() for folder in folders] == [False, False, True, True]
    assert len(list(store.prune(tmp_path, 0))) == 2
    assert list(tmp_path.iterdir()) == []


def test_pruning_touches_neither_what_is_going_on_nor_what_is_not_ours(tmp_path: Path) -> None:
    with written(tmp_path) as going_on:
        foreign, newer, other = tmp_path / "mine" / "letters", ended(tmp_path), ended(tmp_path)
        foreign.mkdir(parents=True)
        (foreign / "manifest.json").write_text('{"dear": "reader"}')
        (newer / "manifest.json").write_text('{"format": 2}')
        assert [done.run.folder for done in store.prune(tmp_path, 0)] == [other]
        assert [path.exists() for path in (going_on.folder, foreign, newer)] == [True, True, True]
    assert [done.run.folder for done in store.prune(tmp_path, 0)] == [going_on.folder]


def test_a_run_goes_on_until_whoever_writes_it_has_let_go_of_it(tmp_path: Path) -> None:
    with written(tmp_path) as recording:
        recording.finish(FINDINGS)
        assert store.read(recording.folder).state is RunState.GOING_ON
        assert list(store.prune(tmp_path, 0)) == []
    assert store.read(recording.folder).state is RunState.ENDED
    assert [done.run.folder for done in store.prune(tmp_path, 0)] == [recording.folder]


def test_pruning_goes_through_no_link(tmp_path: Path) -> None:
    outside = ended(tmp_path / "outside")
    runs = tmp_path / "runs"
    (runs / "a").mkdir(parents=True)
    (runs / "a" / "linked").symlink_to(outside)
    (runs / "b").symlink_to(outside.parent)
    run = ended(runs)
    (run / "nodes" / "linked").symlink_to(outside)
    assert [done.run.folder for done in store.prune(runs, 0)] == [run]
    assert store.read(outside).findings() == FINDINGS


def test_a_line_for_which_there_is_no_room_fails_whoever_writes_it(tmp_path: Path) -> None:
    """The disk may take half of it without a word."""
    program = (
        "import resource, signal, sys; from pathlib import Path; from tests.unit.bench.test_store import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "recording = new(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n"
        "    recording.note({'event': 'x' * 200, 'at_s': 1.0})\n"
        "except OSError as error:\n"
        "    print(error.strerror, Path(error.filename).name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "No space left on device timeline.jsonl"
