#!/usr/bin/env python3
"""take.py OUT-DIRECTORY RUN-DIRECTORY... - recorded runs of the VM matrix (CELL/CASE/TOOL) into the small traces of this directory.

Keeps the columns that the policy reads, and the time around the limit; prints the line that expect.tsv should get: what the case is, and
where it must end, by when, from the onset that the matrix found. (The traces a-, b-, c-, d-, sd- are of a study before this
project, on 512 MiB with samples two seconds apart; its recorder wrote other files.)
"""
import argparse
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "vm"))
sys.dont_write_bytecode = True
import cases  # noqa: E402
import outcome  # noqa: E402

COUNTERS = """ev_high ev_max ev_oom ev_oom_kill refault_anon refault_file activate_file restore_file pgscan pgsteal pgmajfault pswpin
pswpout mem_some_us mem_full_us io_some_us cpu_user_us cpu_system_us""".split()
GAUGES = """current max high swap_current swap_max anon file shmem file_mapped file_dirty file_writeback inactive_file active_file
unevictable slab_reclaimable host_swap_free""".split()
STATES = {"must-end": "thrash,stuck,swap-thrash", "must-not-touch": "below,healthy,leak,kernel,stuck,file-thrash"}
WITHIN = {"S": 15}  # seconds from the onset; else 10


def write(path, note, rows, columns, hz):
    base, last = rows[0], None
    with open(path, "w") as f:
        f.write(json.dumps({"trace": 1, "note": note, "columns": ["t_us"] + columns}, separators=(",", ":")) + "\n")
        for r in rows:
            if last is not None and r["t"] - last < 1 / hz - 0.06:
                continue
            last = r["t"]
            values = [round((r["t"] - base["t"]) * 1e6) + 1]
            for c in columns:
                v = r[c]
                values.append(v - base[c] if c in COUNTERS and v is not None and base[c] is not None else "max" if v == float("inf") else v)
            f.write(json.dumps(values, separators=(",", ":")) + "\n")


def take(directory, out):
    cell, name = directory.split("/")[-3:-1]
    case = cases.read_cases()[name]
    run = outcome.Run(directory)
    acted = [t for t, r in run.actions() if not r.get("dry_run")]
    b = outcome.base_row(run, case, acted)
    trace = run.trace
    rows = [{k: v[i] for k, v in trace.items()} for i in range(len(trace["t"]))]
    limit, onset = b["limit"], b["onset"]
    kind = "must-end" if case["kind"] == "end" else "must-not-touch"
    if kind == "must-end" and (onset is None or acted or b["first_death"] is not None):
        kind = "ambiguous"  # over a tenth of its speed, or somebody ended it before it had to end
    if limit is not None:
        last = limit + 60 if kind == "must-not-touch" else min(max(onset or limit, limit), limit + 15) + 20
        rows = [r for r in rows if limit - 6 <= r["t"] <= last]
    columns = [c for c in GAUGES + COUNTERS if any(r.get(c) is not None for r in rows)]
    columns = [c for c in columns if c != "high" or any(r[c] != float("inf") for r in rows)]
    columns += sorted(c for c in rows[0] if re.fullmatch(r"p\d", c))
    write(f"{out}/{cell}-{name}.trace", f"{cell}-{name}", rows, columns, 4 if case["kind"] == "end" else 2)
    t0 = rows[0]["t"]
    act = ("-", "-")
    if kind == "must-end":
        # where progress swings about a tenth the onset comes late
        latest = (onset if case["shape"] in WITHIN else min(onset, limit + 8)) + WITHIN.get(case["shape"], 10)
        act = (f"{limit - t0 + 2:.1f}", f"{latest - t0:.1f}")
    return "\t".join([f"{cell}-{name}", kind, STATES.get(kind, STATES["must-end"]), *act, f"{onset - t0:.1f}" if onset else "-"])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("runs", nargs="+")
    o = p.parse_args()
    for run in o.runs:
        print(take(os.path.abspath(run), o.out))


if __name__ == "__main__":
    main()
