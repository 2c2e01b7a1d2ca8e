#!/usr/bin/env python3
"""take.py OUT-DIRECTORY RUN-DIRECTORY|FILE.csv... - recorded runs into the small traces of this directory.

A run directory is one of the VM matrix (CELL/CASE/TOOL with trace.jsonl and log), a csv one of the first study. Keeps the
columns that the policy reads, the time around the limit, and prints the line that expect.tsv should get: when the workload
came to a stand (its own progress under a tenth of its rate before the limit, for good), and by when it must have ended.
"""
import argparse
import csv
import json
import os
import re
import sys

KEEP = """current max high swap_current swap_max ev_high ev_max ev_oom ev_oom_kill anon file shmem file_mapped file_dirty
file_writeback inactive_file active_file unevictable slab_reclaimable refault_anon refault_file activate_file restore_file pgscan pgsteal
pgmajfault pswpin pswpout mem_some_us mem_full_us io_some_us cpu_user_us cpu_system_us host_swap_free""".split()
COUNTERS = set("""ev_high ev_max ev_oom ev_oom_kill refault_anon refault_file activate_file restore_file pgscan pgsteal pgmajfault pswpin pswpout
mem_some_us mem_full_us io_some_us cpu_user_us cpu_system_us""".split())
CSV = [("current", "current_kib", 1024), ("ev_max", "ev_max", 1), ("ev_oom", "ev_oom", 1), ("ev_oom_kill", "ev_oom_kill", 1),
       ("anon", "anon_kib", 1024), ("file", "file_kib", 1024), ("shmem", "shmem_kib", 1024),
       ("file_mapped", "file_mapped_kib", 1024), ("refault_file", "workingset_refault_file", 1),
       ("activate_file", "workingset_activate_file", 1), ("restore_file", "workingset_restore_file", 1), ("pgscan", "pgscan", 1),
       ("pgsteal", "pgsteal", 1), ("pgmajfault", "pgmajfault", 1), ("mem_some_us", "m_some_ms", 1000),
       ("mem_full_us", "m_full_ms", 1000), ("io_some_us", "io_some_ms", 1000), ("cpu_user_us", "user_ms", 1000),
       ("cpu_system_us", "system_ms", 1000)]


def read_csv(path, limit):
    rows = []
    with open(path) as f:
        for r in csv.DictReader(f):
            if any(not r[c] for _, c, _ in CSV):
                continue
            row = {"t": float(r["t"]), "max": limit} | {n: int(float(r[c])) * k for n, c, k in CSV}
            row |= {"p" + c[8:]: int(float(v or 0)) for c, v in r.items() if c and c.startswith("progress")}
            rows.append(row)
    return rows


def read_jsonl(path):
    with open(path) as f:
        head = json.loads(f.readline())
        rows = [dict(zip(head["columns"], json.loads(line))) for line in f if line.endswith("]\n")]
    for r in rows:
        r["t"] = r.pop("t_us") / 1e6
    return rows


def read_log(path):
    log = {"ends": {}, "roles": {}, "at": {}}
    with open(path) as f:
        for line in f:
            m = re.match(r"([\d.]+) (\w+) ?(.*)", line)
            if not m:
                continue
            t, word, rest = float(m.group(1)), m.group(2), m.group(3)
            if word == "start":
                log["roles"][int(rest.split()[0])] = rest.split()[1]
            elif word == "end":
                log["ends"].setdefault(int(rest.split()[0]), (t, int(rest.split()[2])))
            log["at"].setdefault(word, t)
    return log


def rates(rows, key, window=2.0):
    out, j = [], 0
    for i, r in enumerate(rows):
        while r["t"] - rows[j]["t"] > window + 0.3:
            j += 1
        dt = r["t"] - rows[j]["t"]
        if dt >= window * 0.8:
            out.append((r["t"], (r[key] - rows[j][key]) / dt))
    return out


def onset(rows, key, ready, limit, end):
    """When its progress went under a tenth for good, or None. The same as the matrix says it (tests/vm/outcome.py)."""
    r = rates(rows, key)
    before = sorted(v for t, v in r if ready + 2 <= t <= limit) or sorted(v for t, v in r if t <= limit and v > 0)
    after = [(t, v) for t, v in r if limit <= t <= end]
    if not before or not after or before[len(before) // 2] <= 0:
        return None
    begin = None
    for t, v in reversed(after):
        if v >= 0.1 * before[len(before) // 2]:
            break
        begin = max(t - 2.0, limit)
    return begin


def limit_time(rows):
    for r in rows:
        if (r.get("ev_max") or 0) + (r.get("ev_high") or 0) > 0:
            return r["t"]
    return None


def write(path, note, rows, hz):
    columns = [c for c in KEEP if any(r.get(c) is not None for r in rows)]
    columns = [c for c in columns if not (c == "high" and all(r[c] == "max" for r in rows))]
    columns += sorted(c for c in rows[0] if re.fullmatch(r"p\d", c))
    base, last, n = rows[0], None, 0
    with open(path, "w") as f:
        f.write(json.dumps({"trace": 1, "note": note, "columns": ["t_us"] + columns}, separators=(",", ":")) + "\n")
        for r in rows:
            if last is not None and r["t"] - last < 1 / hz - 0.06:
                continue
            last = r["t"]
            values = [round((r["t"] - base["t"]) * 1e6) + 1]
            for c in columns:
                v = r.get(c)
                values.append(v - base[c] if c in COUNTERS and v is not None and base.get(c) is not None else v)
            f.write(json.dumps(values, separators=(",", ":")) + "\n")
            n += 1
    return n


def read_cases(path):
    """name -> (must-end|must-not-touch, watched counter, seconds from the onset)."""
    cases = {}
    with open(path) as f:
        for line in f:
            field = [x.strip() for x in line.split("|")]
            if len(field) < 5 or line[0] in "#@":
                continue
            options = dict(w.split("=", 1) for w in field[3].split())
            kind = "must-end" if field[1].startswith("end") else "must-not-touch"
            cases[field[0]] = (kind, int(options.get("watch", 0)), 15 if field[1].endswith("S") else 10)
    return cases


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--watch", type=int, default=0, help="the progress column that tells the onset")
    a.add_argument("--kind", default="must-end", choices=["must-end", "must-not-touch", "ambiguous"])
    a.add_argument("--states", default="thrash", help="states that may act, or that may be seen")
    a.add_argument("--within", type=float, default=10, help="seconds after the onset")
    a.add_argument("--limit", type=int, default=512, help="MiB, for a csv")
    a.add_argument("--name", help="of the trace")
    a.add_argument("--hz", type=float, default=4)
    a.add_argument("--before", type=float, default=6, help="seconds kept before the limit")
    a.add_argument("--after", type=float, default=30, help="seconds kept after the limit, or the onset")
    a.add_argument("--cases", help="cases.list of the matrix: says what each run is")
    a.add_argument("--swap", type=int, default=0, help="MiB of swap of the guest, where the recorder did not see it")
    a.add_argument("out")
    a.add_argument("runs", nargs="+")
    o = a.parse_args()
    cases = read_cases(o.cases) if o.cases else {}
    for run in o.runs:
        kind, watch, within, hz, states = o.kind, o.watch, o.within, o.hz, o.states
        if run.endswith(".csv"):
            name, rows, log = os.path.basename(run)[:-4], read_csv(run, o.limit << 20), None
        else:
            parts = run.rstrip("/").split("/")
            name, rows, log = "-".join(parts[-3:-1]), read_jsonl(run + "/trace.jsonl"), read_log(run + "/log")
            if parts[-2] in cases:
                kind, watch, within = cases[parts[-2]]
                hz = 4 if kind == "must-end" else 2
                states = "thrash,stuck,swap-thrash" if kind == "must-end" else "below,healthy,leak,kernel,stuck,file-thrash"
        if o.swap:
            for r in rows:
                if r.get("host_swap_free") is None:
                    r["host_swap_free"] = max((o.swap << 20) - (r.get("swap_current") or 0), 0)
        name = o.name or name
        limit = limit_time(rows)
        begin = end = None
        if limit is not None:
            dead = [t for t, status in log["ends"].values() if status in (137, 143)] if log else []
            killed = [r["t"] for r in rows if (r.get("ev_oom_kill") or 0) > 0]
            end = min(dead + killed + [log["at"]["stop"] if log else rows[-1]["t"]])
            ready = log["at"].get("ready", limit) if log else rows[0]["t"]
            begin = onset(rows, f"p{watch}", ready, limit, end)
            acted = cases and run.rstrip("/").endswith("/stella") and end < min(begin or limit + 4, limit + 8) + within
            if kind == "must-end" and cases and (begin is None or acted):
                kind = "ambiguous"  # slow, but over a tenth of its speed; ended by the kernel, or by the tool, before
            first, last = limit - o.before, min(max(begin or limit, limit), limit + 15) + o.after
            rows = [r for r in rows if first <= r["t"] <= last]
        n = write(f"{o.out}/{name}.trace", name, rows, hz)
        t0 = rows[0]["t"]
        act = ("-", "-")
        if kind == "must-end":
            latest = begin or limit + 4
            if within < 15:  # shapes P and G: where progress swings about a tenth the onset comes late
                latest = min(latest, limit + 8)
            latest += within
            act = (f"{limit - t0 + 2:.1f}", f"{latest - t0:.1f}")
        print("\t".join([name, kind, states, *act, f"{begin - t0:.1f}" if begin else "-"]))
        if n < 8:
            print(f"{name}: only {n} samples", file=sys.stderr)


if __name__ == "__main__":
    main()
