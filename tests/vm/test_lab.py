#!/usr/bin/env python3
"""The lab itself, without a guest: its tables are what the matrix promises, and an outcome is read from a run as it happened."""

import itertools
import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import cases  # noqa: E402
import outcome  # noqa: E402

KNOWN, CELLS = cases.read_cases(), cases.read_cells()
CELLS_X = [c for c in CELLS.values() if c["cases"]]
COLUMNS = ["t_us", "ev_max", "ev_high", "p0", "p1"]


def write_run(directory, log, seconds, rate, limit_at, tool_files=()):
    """A run whose agent makes rate(t) steps a second."""
    with open(directory + "/log", "w") as f:
        f.write(log)
    done = 0.0
    with open(directory + "/trace.jsonl", "w") as f:
        f.write(json.dumps({"trace": 1, "columns": COLUMNS}) + "\n")
        for i in range(seconds * 4):
            t = i / 4
            done += rate(t) / 4
            f.write(json.dumps([int(t * 1e6), max(0, int((t - limit_at) * 10)), 0, int(done), 0]) + "\n")
    for name, text in tool_files:
        with open(os.path.join(directory, name), "w") as f:
            f.write(text)


def outcome_of(case, log, seconds, rate, limit_at=20, files=()):
    with tempfile.TemporaryDirectory() as d:
        write_run(d, log, seconds, rate, limit_at, files)
        return outcome.rows(d, case, "cell", "b", "1", "now")


END = {"name": "p", "kind": "end", "shape": "P", "opts": {"watch": "0"}, "hash": "h"}
LEAVE = {"name": "l", "kind": "leave", "shape": "", "opts": {}, "hash": "h"}
HEAD = "1.0 case p kind=end tool={tool}\n2.0 start 0 agent mapper\nproc 0 agent 10\n5.0 ready\n15.0 start 1 hog hog\nproc 1 hog 11\n20.0 limit\n"


def action(t):
    return json.dumps({"kind": "action", "dry_run": False, "verdict": {"state": "thrash"}, "action": {"took_ms": 0}, "samples": {"columns": ["t_us"], "rows": [[int(t * 1e6)]]}}) + "\n"


def test_tables_are_as_promised():
    leave = [c for c in KNOWN.values() if c["kind"] == "leave" and not c["guest"].get("once")]
    assert len(leave) >= 20, len(leave)
    assert {c["shape"] for c in KNOWN.values() if c["kind"] == "end"} >= set("PGSKO")
    assert len(CELLS) - len(CELLS_X) == 4 and len(CELLS_X) <= 16
    for cell in CELLS_X:
        kinds = [KNOWN[n]["kind"] for n in cell["cases"]]
        assert (kinds.count("end"), kinds.count("leave")) == (3, 5), (cell["name"], kinds)


def test_cells_cover_every_pair():
    names = list(CELLS_X[0]["guest"])
    values = {n: {c["guest"][n] for c in CELLS_X} for n in names}
    for a, b in itertools.combinations(names, 2):
        seen = {(c["guest"][a], c["guest"][b]) for c in CELLS_X}
        missing = set(itertools.product(values[a], values[b])) - seen
        assert not missing, (a, b, missing)


def test_steps_name_workloads():
    with open(os.path.join(HERE, "workload.c")) as f:
        source = f.read()
    for c in KNOWN.values():
        for step in c["steps"]:
            if "=" in step.split(" ")[0]:
                role, name = step.split(" ")[0].split("=")
                assert role in ("agent", "peer", "hog", "job") and f'{{"{name}"' in source, (c["name"], step)
            else:
                assert step.split(" ")[0] in ("ready", "sleep", "set", "volume"), (c["name"], step)


def test_onset_of_a_hang():
    row = outcome_of(END, HEAD.format(tool="none") + "60.0 stop time\n", 60, lambda t: 1000 if t < 23 else 20)[0]
    assert (row["verdict"], row["ended_by"]) == ("hangs", "nobody"), row
    assert 2 <= float(row["onset_s"]) <= 4 and float(row["slowest"]) < 0.03, row


def test_slow_is_not_a_hang():
    row = outcome_of(END, HEAD.format(tool="none") + "60.0 stop time\n", 60, lambda t: 1000 if t < 23 else 200)[0]
    assert (row["verdict"], row["onset_s"]) == ("slow", "-"), row


def test_a_dip_is_not_a_hang():
    row = outcome_of(END, HEAD.format(tool="none") + "60.0 stop time\n", 60, lambda t: 1000 if t < 57 else 0)[0]
    assert row["verdict"] == "slow", row


def test_ended_by_stella():
    log = HEAD.format(tool="stella") + "28.0 end 1 hog 137\n33.0 stop ended\n"
    row = outcome_of(END, log, 33, lambda t: 1000 if t < 22 or t > 29 else 10, files=[("evidence.jsonl", action(27.5))])[0]
    assert (row["verdict"], row["ended_by"], row["innocent"], row["state"]) == ("ended", "stella", 0, "thrash"), row
    assert 5 <= float(row["from_onset_s"]) <= 7 and row["from_limit_s"] == "8.0", row


def test_ended_by_killing_a_part():
    rate = lambda t: 1000 if t < 22 or t > 29 else 10  # noqa: E731
    row = outcome_of(END, HEAD.format(tool="stella") + "60.0 stop time\n", 60, rate, files=[("evidence.jsonl", action(27.5) + action(28.5))])[0]
    assert (row["verdict"], row["ended_by"], row["from_limit_s"]) == ("ended", "stella", "8.5"), row
    row = outcome_of(END, HEAD.format(tool="stella") + "60.0 stop time\n", 60, lambda t: 1000 if t < 22 else 10,
                     files=[("evidence.jsonl", action(27.5))])[0]
    assert row["verdict"] == "hangs", row


def test_an_innocent_death_is_counted():
    log = HEAD.format(tool="stella") + "28.0 end 1 hog 137\n29.0 end 0 agent 137\n33.0 stop ended\n"
    row = outcome_of(END, log, 33, lambda t: 1000 if t < 22 else 10, files=[("evidence.jsonl", action(27.5))])[0]
    assert (row["verdict"], row["innocent"]) == ("ended,innocent", 1), row


def test_the_kernel_was_first():
    log = HEAD.format(tool="stella") + "26.0 end 1 hog 137\n33.0 stop ended\ndmesg [   25.9] Memory cgroup out of memory: Killed process 11 (node) x\n"
    row = outcome_of(END, log, 33, lambda t: 1000 if t < 22 else 10, files=[("evidence.jsonl", action(27.5))])[0]
    assert (row["verdict"], row["ended_by"]) == ("kernel", "kernel"), row


def test_false_kill():
    log = "1.0 case l kind=leave tool=stella\n2.0 start 0 job stream\nproc 0 job 10\n20.0 limit\n28.0 end 0 job 137\n29.0 stop ended\n"
    row = outcome_of(LEAVE, log, 29, lambda t: 1000, files=[("evidence.jsonl", action(27.5))])[0]
    assert row["verdict"] == "false-kill", row
    log = log.replace("0 job 137", "0 job 1")  # a child of the job was killed, and the job failed by it
    row = outcome_of(LEAVE, log, 29, lambda t: 1000, files=[("evidence.jsonl", action(27.5))])[0]
    assert (row["verdict"], row["ended_by"]) == ("false-kill", "stella"), row


def test_dry_peers_get_rows():
    log = "1.0 case l kind=leave tool=none\n2.0 start 0 job stream\nproc 0 job 10\n20.0 limit\n28.0 end 0 job 0\n29.0 stop ended\n"
    peers = ("peers.log", "22.0 shell would kill: x\n24.0 shell would kill: y\n30.0 nohang would kill: z\n")
    rows = {r["tool"]: r for r in outcome_of(LEAVE, log, 29, lambda t: 1000, files=[peers])}
    assert rows["none"]["verdict"] == "ok" and rows["none"]["finished"] == "yes", rows["none"]
    assert (rows["shell"]["verdict"], rows["nohang"]["verdict"]) == ("false-kill", "-"), rows


def main():
    tests = [(n, f) for n, f in globals().items() if n.startswith("test_")]
    print(f"1..{len(tests)}")
    for i, (name, f) in enumerate(tests, 1):
        try:
            f()
            print(f"ok {i} - {name}")
        except AssertionError as e:
            print(f"not ok {i} - {name}\n# {e}")


if __name__ == "__main__":
    main()
