"""What one run of a case came to, from its log and its recorded trace: rows of results.tsv.

Onset of a hang: in the two seconds that begin then, and on the whole from then until the end of the run, the process that
the case watches makes less than a tenth of its usual progress: of an agent's before the hog began, of a hog's before it met
the limit. (Under emulation the two share a CPU, so that an agent is slower from the moment at which a hog starts.)"""

import json
import os
import re
import subprocess

COLUMNS = ["date", "cell", "case", "kind", "tool", "build", "verdict", "ended_by", "limit_s", "onset_s", "from_onset_s",
           "from_limit_s", "acted_s", "kernel_s", "slowest", "died", "innocent", "finished", "state", "private_kib", "switches_per_s", "host_load", "run"]
INNOCENT = ("agent", "peer", "job")


def read_trace(path):
    """Columns as lists; None for a field that was absent, infinity for "max"."""
    with open(path) as f:
        head = json.loads(f.readline())
        rows = [json.loads(line) for line in f if line.endswith("]\n")]
    cols = {name: [float("inf") if r[i] == "max" else r[i] for r in rows] for i, name in enumerate(head["columns"])}
    cols["t"] = [t / 1e6 for t in cols.pop("t_us")]
    return cols


def read_log(path):
    with open(path) as f:
        for line in f:
            m = re.match(r"([\d.]+) (\w+) ?(.*)", line)
            if m:
                yield float(m.group(1)), m.group(2), m.group(3)
            elif line.startswith(("proc ", "dmesg ")):
                word, rest = line.rstrip("\n").split(" ", 1)
                yield None, word, rest


def rates(t, v, window=2.0):
    """(time, rate over the window that ends there)."""
    out, j = [], 0
    for i in range(len(t)):
        while t[i] - t[j] > window + 0.3:
            j += 1
        if t[i] - t[j] >= window * 0.8:
            out.append((t[i], (v[i] - v[j]) / (t[i] - t[j])))
    return out


def onset(trace, counter, usual_from, usual_to, limit, end, ended):
    """(onset or None, share of the usual rate left in the last 5 s or None)."""
    t, p = trace["t"], trace[f"p{counter}"]
    before = sorted(v for at, v in rates(t, p) if usual_from + 2 <= at <= usual_to) or \
        sorted(v for at, v in rates(t, p) if at <= limit and v > 0)
    last = max((i for i in range(len(t)) if t[i] <= end), default=0)
    if not before or before[len(before) // 2] <= 0 or t[last] <= limit:
        return None, None
    tenth = before[len(before) // 2] / 10
    begin, j = None, 0
    for i in range(last):
        while t[j] < t[i] + 2 and j < last:
            j += 1
        if t[i] >= limit and t[j] >= t[i] + 2 and (p[j] - p[i]) / (t[j] - t[i]) < tenth and (p[last] - p[i]) / (t[last] - t[i]) < tenth:
            begin = t[i]
            break
    if begin is not None and not ended and t[last] - begin < 10:
        begin = None  # a dip that nobody can call a hang yet
    i = min(i for i in range(len(t)) if t[i] >= t[last] - 5)
    return begin, (p[last] - p[i]) / (t[last] - t[i]) / tenth / 10 if last > i else None


class Run:
    def __init__(self, directory):
        self.dir = directory
        self.ends, self.roles, self.pids, self.killed = {}, {}, {}, []
        self.at = {}
        self.tool = {}
        self.head = {}
        for t, word, rest in read_log(os.path.join(directory, "log")):
            w = rest.split()
            if word == "case":
                self.head = dict(x.split("=", 1) for x in w[1:] if "=" in x)
            elif word == "start":
                self.roles[int(w[0])] = w[1]
                self.at["start" + w[0]] = t
            elif word == "proc":
                self.pids[int(w[2])] = int(w[0])
            elif word == "end":
                self.ends.setdefault(int(w[0]), (t, int(w[2])))
            elif word == "tool":
                self.tool[w[0]] = dict(x.split("=", 1) for x in w[1:]) | {"t": t}
            elif word == "dmesg":
                m = re.search(r"\[ *([\d.]+)\].*Killed process (\d+) \((.*?)\)", rest)
                if m:
                    self.killed.append((float(m.group(1)), int(m.group(2)), m.group(3)))
            elif t is not None:
                self.at.setdefault(word, t)
                if word == "stop":
                    self.reason = rest
        self.trace = read_trace(os.path.join(directory, "trace.jsonl"))

    def evidence(self):
        records = []
        try:
            with open(os.path.join(self.dir, "evidence.jsonl")) as f:
                for line in f:
                    try:
                        records.append(json.loads(line))
                    except ValueError:
                        pass
        except FileNotFoundError:
            pass
        return records


    def actions(self):
        """(time, record) of what stella did or, dry, would have done: when it began, by its newest sample."""
        return [(r["samples"]["rows"][-1][r["samples"]["columns"].index("t_us")] / 1e6 - r["action"].get("took_ms", 0) / 1000, r)
                for r in self.evidence() if r.get("kind") == "action"]

    def oomd_killed(self):
        """systemd-oomd's own word for it (its clock is the guest's monotonic one)."""
        try:
            with open(os.path.join(self.dir, "oomd.log")) as f:
                return re.search(r"Killed /lab", f.read()) is not None
        except FileNotFoundError:
            return False


def fmt(v, digits=1):
    return "-" if v is None else f"{v:.{digits}f}"


def base_row(run, case, acted):
    limit, stop = run.at.get("limit"), run.at["stop"]
    hogs = [i for i, r in run.roles.items() if r == "hog"]
    jobs = [i for i, r in run.roles.items() if r == "job"]
    dead = {i: t for i, (t, status) in run.ends.items() if t < stop and status in (137, 143)}
    hog_end = max((dead[i] for i in hogs), default=None) if hogs and all(i in dead for i in hogs) else None
    # the limit as the trace has it: the log looks twice a second only
    for i, t in enumerate(run.trace["t"]):
        if (run.trace["ev_max"][i] or 0) + (run.trace["ev_high"][i] or 0) > 0:
            limit = min(t, limit or t)
            break
    first_death = min(dead.values(), default=None)
    # what the watched process did until somebody acted; and, where the hog's own process lives on, after that
    end = min([t for t in (first_death, *acted) if t is not None], default=stop)
    begin, left, after = None, None, None
    if limit is not None and case["kind"] == "end":
        watch, hog = int(case["opts"].get("watch", 0)), min(run.at[f"start{i}"] for i in hogs)
        # the usual rate: of the agent while it is alone, of the hog until it meets the limit
        usual = (hog, limit) if watch in hogs else (run.at.get("ready", hog - 5), hog)
        begin, left = onset(run.trace, watch, *usual, limit, end, end < stop)
        after = onset(run.trace, watch, *usual, limit, stop, True)[1]
    finished = "-"
    if jobs:
        bad = [i for i in jobs if i not in run.ends or run.ends[i][0] > stop or run.ends[i][1] != 0]
        finished = "no:" + ",".join(str(run.ends[i][1]) if i in run.ends and run.ends[i][0] <= stop else "late" for i in bad) if bad else "yes"
    died = [f"{run.roles[i]}{i}" for i in sorted(dead, key=dead.get)]
    innocent = sum(run.roles[i] in INNOCENT for i in dead)
    return {"limit": limit, "onset": begin, "left": left, "after": after, "finished": finished, "died": died, "innocent": innocent,
            "hog_end": hog_end, "first_death": first_death, "stop": stop, "dead": dead}


def would_be(tool, t, case, limit, b):
    """The columns of a tool that ran dry, and would have killed at t (None: never)."""
    if t is not None and (t > b["stop"] or (b["first_death"] is not None and t > b["first_death"])):
        t = None  # the kernel, or who really acted, was first
    return {"tool": tool, "ended_by": tool if t else "-", "died": "-", "innocent": 0,
            "verdict": "-" if t is None else "false-kill" if case["kind"] == "leave" else "would-end",
            "from_limit_s": fmt(t - limit if t and limit else None),
            "from_onset_s": fmt(t - b["onset"] if t and b["onset"] is not None else None)}


def replayed(directory, watchdog):
    """When this stella-watchdog would have begun to act, from the run's trace."""
    trace = os.path.join(directory, "trace.jsonl")
    said = json.loads(subprocess.run([watchdog, "replay", "--every", "--format", "json", trace], capture_output=True, check=True).stdout)
    acts = [x["t_s"] for x in said["changes"] if x["act"]]
    return read_trace(trace)["t"][0] + acts[0] if acts else None


def rows(directory, case, cell, build, host_load, date, again=None):
    """One row for what the run's own tool (or nobody) did, one for each dry peer. again: (watchdog, its build), which judges
    anew from their traces the runs in which none acted."""
    run = Run(directory)
    tool = run.head.get("tool", "none")
    kind = case["kind"] + (":" + case["shape"] if case["shape"] else "")
    records, actions = run.evidence(), run.actions()
    acted = [t for t, r in actions if not r.get("dry_run")]
    b = base_row(run, case, acted)
    kernel = min((t for t, _, _ in run.killed), default=None)
    limit, start = b["limit"], run.at.get("start0", 0)
    common = {"date": date, "cell": cell, "case": case["name"], "kind": kind, "build": build, "host_load": host_load,
              "run": os.path.basename(directory.rstrip("/")), "limit_s": fmt(limit - start if limit else None),
              "onset_s": fmt(b["onset"] - limit if b["onset"] is not None and limit else None), "slowest": fmt(b["left"], 3),
              "acted_s": fmt(acted[0] - limit if acted and limit else None), "kernel_s": fmt(kernel - limit if kernel is not None and limit else None), "finished": b["finished"], "state": "-", "private_kib": "-", "switches_per_s": "-"}
    ended_by = "nobody"
    if b["first_death"] is not None:
        ours = bool(acted) and (kernel is None or acted[0] <= kernel) if tool == "stella" else tool == "systemd-oomd" and run.oomd_killed()
        ended_by = tool if ours else "kernel" if kernel is not None else "?"
    elif acted and (b["after"] or 0) >= 0.1:
        ended_by = tool  # it killed parts of the hog until the agent had its speed back
    end = acted[-1] if acted and b["first_death"] is None else b["hog_end"] if b["hog_end"] is not None else b["first_death"]
    row = common | {"tool": tool, "ended_by": ended_by, "died": ",".join(b["died"]) or "-", "innocent": b["innocent"],
                    "from_limit_s": fmt(end - limit if end and limit else None),
                    "from_onset_s": fmt(end - b["onset"] if end and b["onset"] is not None else None)}
    if case["kind"] == "leave":
        row["verdict"] = "ok"
        if ended_by == tool or acted:
            row["verdict"], row["ended_by"] = "false-kill", tool  # also where it was a process of a job that went on, or failed by it
        elif b["died"] or re.search(r"[1-9]", b["finished"]):
            row["verdict"] = "died"
        elif "late" in b["finished"]:
            row["verdict"] = "late"  # not done when the lab's time was over
        if limit is None:
            row["verdict"] += ",no-limit"
    elif limit is None:
        row["verdict"] = "no-limit"
    elif ended_by == "kernel":
        row["verdict"] = "kernel"
    elif ended_by == tool:
        row["verdict"] = "ended" if not b["innocent"] else "ended,innocent"
    elif b["onset"] is not None:
        row["verdict"] = "hangs"
    else:
        row["verdict"] = "slow"  # at its limit, but over a tenth of its speed
    if run.tool.get("end"):
        e, s = run.tool["end"], run.tool.get("start", {})
        row["private_kib"] = e.get("private_kib", "-")
        if s and e["t"] > s["t"]:
            row["switches_per_s"] = fmt((int(e["switches"]) - int(s["switches"])) / (e["t"] - s["t"]))
    judged = ([r for _, r in actions] or records)[:1] if case["kind"] == "end" else records[-1:]
    if judged:
        row["state"] = judged[0].get("verdict", {}).get("state", "-")
    out = [row]
    first = actions[0][0] if actions else None
    if again and not acted:
        first = replayed(directory, again[0])
        row = row | {"build": again[1], "state": "-"}
    if tool == "stella-dry":  # nobody acted: also a run without a watchdog
        out = [row | {"tool": "none", "build": case["hash"], "state": "-", "private_kib": "-", "switches_per_s": "-"}]
    if tool == "stella-dry" or (again and not acted and case["kind"] == "leave"):
        out.append(row | would_be("stella-dry", first, case, limit, b))
    peers = os.path.join(directory, "peers.log")
    if os.path.exists(peers):
        said = {}
        for t, word, rest in read_log(peers):
            if t is not None:
                said.setdefault(word, t)
        for p in ("shell", "earlyoom", "nohang"):
            out.append(common | would_be(p, said.get(p), case, limit, b))
    return out
