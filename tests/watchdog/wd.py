#!/usr/bin/env python3
"""stella-watchdog from outside: wd.py TEST STELLA_WATCHDOG, TAP on standard output.

usage   bad input: exit codes and the one line
tree    a cgroup tree made of plain files: a hang that ends, a healthy cache that does not, trees with everything missing
alloc   the tree again, with a program that ends at the first allocation after its start
idle    no system call while nothing happens (needs strace)
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMA = os.path.join(HERE, "../../docs/schema/stella-watchdog-1.schema.json")
WATCHDOG = ""
count = failed = 0


def ok(condition, what, more=""):
    global count, failed
    count += 1
    print(f"{'ok' if condition else 'not ok'} {count} - {what}", flush=True)
    if not condition:
        failed += 1
        for line in str(more).splitlines()[-25:]:
            print("# " + line)


def skip(what, why):
    global count
    count += 1
    print(f"ok {count} - {what} # SKIP {why}", flush=True)


def run(*args, **kw):
    return subprocess.run([WATCHDOG, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, **kw)


# ---- usage ---------------------------------------------------------------------------------------

USAGE = [  # arguments, exit code, what the line must hold
    ([], 2, "no command given"),
    (["rum"], 2, "did you mean run?"),
    (["run"], 2, "Give --cgroup PATH or --match PATTERN"),
    (["run", "--match"], 2, "--match needs a value"),
    (["run", "--mach", "x"], 2, "did you mean --match?"),
    (["run", "--match", ""], 2, "matches nothing"),
    (["run", "--match", "a/../b"], 2, "must not hold '..'"),
    (["run", "--match", "a/[b"], 2, "'[' without ']'"),
    (["run", "--match", "a**/b"], 2, "did you mean '*'?"),
    (["run", "--match", "x", "--act", "culprt"], 2, "did you mean culprit?"),
    (["run", "--match", "x", "--act", "tree,+reliev"], 2, "did you mean relieve?"),
    (["run", "--match", "x", "--require", "inotfy"], 2, "did you mean inotify?"),
    (["run", "--match", "x", "--require", "x"], 2, "one of events, trigger"),
    (["run", "--match", "x", "--protect", "a,,b"], 2, "empty name in --protect"),
    (["run", "--match", "x", "--relief", "freze"], 2, "did you mean freeze?"),
    (["run", "--match", "x", "--hook", "/no/such/hook"], 2, "cannot be run: No such file"),
    (["run", "--match", "x", "--metrics", "localhost:1"], 2, "is no address"),
    (["run", "--match", "x", "--mount", "/no/such"], 4, "there is no such directory"),
    (["run", "--match", "x", "--mount", "EMPTY", "--evidence", "/no/such/file"], 1, "--evidence /no/such/file: No such file"),
    (["run", "--match", "x", "--mount", "EMPTY", "--record", "/no/such"], 1, "--record /no/such: No such file"),
    (["run", "--cgroup", "no-such-cgroup", "--mount", "EMPTY"], 4, "there is no cgroup no-such-cgroup"),
    (["judge"], 2, "which cgroup?"),
    (["judge", "a", "b"], 2, "unexpected argument 'b'"),
    (["judge", "x", "--seconds", "0"], 2, "invalid number '0' for --seconds"),
    (["judge", "x", "--format", "jsn"], 2, "did you mean json?"),
    (["judge", "no-such", "--mount", "EMPTY"], 4, "there is no cgroup no-such"),
    (["replay"], 2, "which trace or evidence file?"),
    (["replay", "/no/such"], 1, "No such file"),
    (["exec", "--", "true"], 2, "exec needs --memory-max"),
    (["exec", "-m", "64M"], 2, "which command?"),
    (["exec", "-m", "64Q", "--", "true"], 2, "--memory-max"),
    (["exec", "-m", "1K", "--", "true"], 2, "--memory-max"),
]


def test_usage():
    empty = tempfile.mkdtemp(prefix="wd-usage-")
    for args, code, text in USAGE:
        r = run(*[empty if a == "EMPTY" else a for a in args])
        lines = r.stderr.splitlines()
        ok(r.returncode == code and len(lines) == 1 and lines[0].startswith("stella-watchdog: ") and text in lines[0]
           and not r.stdout, f"{' '.join(args) or 'nothing'}: exit {code}", f"exit {r.returncode}\n{r.stderr}{r.stdout}")
    os.rmdir(empty)
    for verb in ["", "run", "judge", "replay", "exec"]:
        r = run(*verb.split(), "--help")
        wide = [x for x in r.stdout.splitlines() if len(x) > 80 and not x.startswith("      stella-watchdog")]
        ok(r.returncode == 0 and "Usage: stella-watchdog" in r.stdout and not wide, f"{verb} --help", "\n".join(wide) or r.stderr)
    r = run("run", "--match", "x", "--help", "--no-such")
    ok(r.returncode == 0, "--help works on a broken line")


# ---- a tree of plain files -----------------------------------------------------------------------

MIB = 1 << 20
PRESSURE = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={}\n"


class Cgroup:
    """A directory that looks like a cgroup; step() lets time go by in it."""

    def __init__(self, root, path, limit=40):
        self.dir = os.path.join(root, path)
        os.makedirs(self.dir)
        self.limit = limit * MIB
        self.n = dict(pgmajfault=0, refault=0, max=0, some=0, full=0, io=0, user=0, system=0, scan=0, steal=0, kept=0)
        self.write("cgroup.procs", "")
        self.write("cgroup.controllers", "memory")
        self.write("cgroup.events", "populated 1\nfrozen 0\n")
        self.write("cgroup.kill", "")
        self.step(0, pinned=0.1, cache=0.1)

    def write(self, name, text):
        """In place and without a moment of emptiness: the watchdog keeps the files open, and a kernel file is never half."""
        fd = os.open(os.path.join(self.dir, name), os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(fd, text.encode("latin-1"), 0)
        os.ftruncate(fd, len(text))
        os.close(fd)

    def read(self, name):
        with open(os.path.join(self.dir, name)) as f:
            return f.read()

    def step(self, dt, pinned, cache, **rates):  # rates per second; times as shares
        n = self.n
        for k, v in rates.items():
            n[k] += v * dt * (1e6 if k in ("some", "full", "io", "user", "system") else 1)
        anon, file = int(self.limit * pinned), int(self.limit * cache)
        i = {k: int(v) for k, v in n.items()}
        self.write("memory.max", f"{self.limit}\n")
        self.write("memory.high", "max\n")
        self.write("memory.swap.current", "0\n")
        self.write("memory.swap.max", "0\n")
        for f in ("memory.events", "memory.events.local"):
            self.write(f, f"low 0\nhigh 0\nmax {i['max']}\noom 0\noom_kill 0\n")
        self.write("memory.pressure", PRESSURE.format(i["some"], i["full"]))
        self.write("io.pressure", PRESSURE.format(i["io"], i["io"]))
        self.write("cpu.stat", f"usage_usec {i['user'] + i['system']}\nuser_usec {i['user']}\nsystem_usec {i['system']}\n")
        self.write("pids.current", "1\n")
        self.write("memory.stat", f"anon {anon}\nfile {file}\nkernel 0\nshmem 0\nfile_mapped {file}\ninactive_anon 0\n"
                   f"active_anon {anon}\ninactive_file {file // 2}\nactive_file {file - file // 2}\nunevictable 0\n"
                   f"slab_reclaimable 0\nslab_unreclaimable 0\nworkingset_refault_anon 0\nworkingset_refault_file {i['refault']}\n"
                   f"workingset_activate_file {i['kept']}\nworkingset_restore_file 0\npgscan {i['scan']}\npgsteal {i['steal']}\n"
                   f"pgfault {i['pgmajfault'] * 2}\npgmajfault {i['pgmajfault']}\npswpin 0\npswpout 0\n")
        self.write("memory.current", f"{anon + file}\n")


HANG = dict(pinned=0.96, cache=0.03, pgmajfault=400, refault=12000, max=250, some=0.6, full=0.5, io=0.3, user=0.02, system=0.9,
            scan=16000, steal=12500)
CACHE = dict(pinned=0.03, cache=0.96, pgmajfault=0, refault=9000, max=400, some=0.12, full=0.1, io=0.3, user=0.3, system=0.6,
             scan=24000, steal=24000)
INDEX = dict(pinned=0.65, cache=0.34, pgmajfault=300, refault=5000, kept=500, max=180, some=0.6, full=0.25, io=0.1, user=0.15, system=0.75,
             scan=10000, steal=9000)
REST = dict(pinned=0.2, cache=0.3)


def hog(name="hog"):  # 30 MiB of its own
    p = subprocess.Popen([sys.executable, "-c", f"open('/proc/self/comm','w').write({name!r}); b=b'x'*(30<<20); print(1, flush=True)\n"
                          "import time; time.sleep(100)"], stdout=subprocess.PIPE)
    p.stdout.readline()
    return p


class Watch:
    def __init__(self, root, *args):
        self.evidence = os.path.join(root, "evidence.jsonl")
        if os.path.exists(self.evidence):  # of the one before
            os.unlink(self.evidence)
        self.log = open(os.path.join(root, "log"), "w+")
        self.p = subprocess.Popen([WATCHDOG, "run", "--mount", root, "--evidence", self.evidence, *args], stdin=subprocess.DEVNULL,
                                  stderr=self.log)

    def end(self):
        self.p.send_signal(signal.SIGTERM)
        self.p.wait(10)
        self.log.seek(0)
        with open(self.evidence) as f:
            return [json.loads(x) for x in f], self.log.read()


slowest = 0.0  # step of let_go_by so far: on a machine that stands still memory comes back late, and more is ended


def let_go_by(groups, seconds, until=lambda: False):
    global slowest
    start = last = time.monotonic()
    while time.monotonic() < start + seconds and not until():
        time.sleep(0.1)
        now = time.monotonic()
        for g, how in groups:
            g.step(now - last, **how)
        slowest = max(slowest, now - last)
        last = now
    return time.monotonic() - start


def valid(records):
    try:
        import jsonschema
    except ImportError:
        skip("records are as the schema says", "no jsonschema")
        return
    with open(SCHEMA) as f:
        checker = jsonschema.Draft7Validator(json.load(f))
    errors = [e.message for r in records for e in checker.iter_errors(r)]
    ok(records and not errors, f"{len(records)} records are as the schema says", "\n".join(errors))


def test_tree():
    root = tempfile.mkdtemp(prefix="wd-tree-")
    try:
        hang_ends(root)
        dry_run(root)
        slow(root)
        judged(root)
        one_after_the_other(root)
        nested(root)
        gone(root)
        many(root)
        broken(root)
        scrape(root)
        small_memlock(root)
    finally:
        shutil.rmtree(root)


def hang_ends(root):
    sick, well = Cgroup(root, "ci/sick"), Cgroup(root, "ci/well")
    culprit, small, agent = hog(), hog(") Z 1 ("), hog("Runner.Worker")
    sick.write("cgroup.procs", f"{culprit.pid}\n{agent.pid}\n")
    well.write("cgroup.procs", f"{small.pid}\n")
    w = Watch(root, "--match", "ci/*")
    let_go_by([(sick, REST), (well, REST)], 3)
    took = let_go_by([(sick, HANG), (well, CACHE)], 30, lambda: culprit.poll() is not None)
    ok(culprit.poll() == -signal.SIGKILL, "the culprit of the hang is killed", took)
    let_go_by([(sick, REST), (well, CACHE)], 6)
    ok(small.poll() is None and agent.poll() is None, "nobody else is: neither the agent nor the cgroup full of cache")
    if slowest < 0.7:
        ok(sick.read("cgroup.kill") == "", "no further rung once it is well")
    else:
        skip("no further rung once it is well", f"this machine stood still for {slowest:.1f} s")
    records, log = w.end()
    kinds = [(r["kind"], r["cgroup"]["path"], (r["action"] or {}).get("rung"), (r["action"] or {}).get("outcome")) for r in records]
    ok(("action", "ci/sick", "culprit", "done") in kinds and all(k[1] == "ci/sick" for k in kinds), f"evidence: {kinds}", log)
    act = [r for r in records if r["kind"] == "action"]
    ok(act and act[0]["culprit"]["pid"] == culprit.pid and act[0]["before"]["pinned_share"] > 0.9 and act[0]["after"]
       and act[0]["verdict"]["state"] == "thrash" and len({r["id"] for r in records}) == 1,
       "evidence: who, before and after, one id", json.dumps(act)[:3000])
    ok("/ci/sick: culprit: done: SIGKILL to" in log, "log: one line says what was done", log)
    valid(records)
    r = run("replay", "--format", "json", w.evidence)
    ok(r.returncode == 0 and '"thrash"' in r.stdout, "replay reads the evidence", r.stderr)
    for p in (small, agent):
        p.kill()
        p.wait()


def judged(root):
    """What the person on call sees: whom to end when it is sure, and to look longer when it is not; a process that holds little is not named."""
    g, p = Cgroup(root, "hung/job"), hog("node")
    few, small = Cgroup(root, "hung/tmpfs", limit=400), hog("tar")
    g.write("cgroup.procs", f"{p.pid}\n")
    few.write("cgroup.procs", f"{small.pid}\n")
    screens = {}
    looks = [threading.Thread(target=lambda n=n, path=path: screens.update({(path, n): run("judge", "--mount", root, "--seconds", n, path).stdout}))
             for n, path in (("2", "hung/job"), ("8", "hung/job"), ("8", "hung/tmpfs"))]
    let_go_by([(g, HANG), (few, HANG)], 1)
    for x in looks:
        x.start()
    let_go_by([(g, HANG), (few, HANG)], 10)
    for x in looks:
        x.join()
    for q in (p, small):
        q.kill()
        q.wait()
    sure, early, nobody = screens["hung/job", "8"], screens["hung/job", "2"], screens["hung/tmpfs", "8"]
    ok("\n  HUNG: " in sure and f"kill -9 {p.pid} " in sure, "judge: it hangs, and whom to end", sure)
    ok("PERHAPS HUNG: " in early and "kill" not in early.split("WHAT TO DO")[1] and "judge --seconds 30 /hung/job" in early,
       "judge: not sure yet, so look longer", early)
    ok("\n  HUNG: " in nobody and "kill -9" not in nobody and "cgroup.kill" in nobody, "judge: nobody in it holds the memory", nobody)
    ok(all(len(x.splitlines()) <= 30 for x in screens.values()), "judge: one screen each")


def one_after_the_other(root):
    """What hangs slowly in the room that the first one left: the next process is ended, not all of them."""
    g, first, second = Cgroup(root, "two/job"), hog("cc1"), hog("cc1plus")
    agent = hog("Runner.Worker")
    g.write("cgroup.procs", f"{first.pid}\n{second.pid}\n{agent.pid}\n")
    w = Watch(root, "--cgroup", "two/job")
    let_go_by([(g, REST)], 2)
    let_go_by([(g, HANG)], 30, lambda: first.poll() is not None or second.poll() is not None)
    # A quarter of a second's evidence a second, then all of it: about twelve seconds after the first.
    let_go_by([(g, dict(HANG, pinned=0.8, cache=0.1, kept=1500, some=0.4, io=0.2))], 10)
    let_go_by([(g, dict(HANG, pinned=0.8, cache=0.1))], 30, lambda: first.poll() is not None and second.poll() is not None)
    let_go_by([(g, REST)], 3)
    records, log = w.end()
    acts = [(r["action"]["rung"], r["action"]["outcome"]) for r in records if r["kind"] == "action"]
    ok(acts == [("culprit", "done")] * 2 and agent.poll() is None and g.read("cgroup.kill") == "", f"two hangs, one after the other: {acts}", log)
    for p in (first, second, agent):
        p.kill()
        p.wait()


def nested(root):
    """The pod and the container in it are both watched: each process once, and what descends to an agent is never killed."""
    pod, box = Cgroup(root, "nest/pod"), Cgroup(root, "nest/pod/box", limit=400)
    above = subprocess.Popen([sys.executable, "-c", "import os, subprocess, sys, time; b = b'x' * (36 << 20)\n"
                              "p = subprocess.Popen([sys.executable, '-c', 'open(\"/proc/self/comm\", \"w\").write(\"Runner.Worker\"); "
                              "print(1, flush=True); import time; time.sleep(100)'], stdout=subprocess.PIPE)\n"
                              "p.stdout.readline(); print(p.pid, flush=True); time.sleep(100)"], stdout=subprocess.PIPE)
    agent, culprit = int(above.stdout.readline()), hog()
    box.write("cgroup.procs", f"{above.pid}\n{agent}\n{culprit.pid}\n")
    w = Watch(root, "--match", "nest/pod/**")
    let_go_by([(pod, REST), (box, REST)], 2)
    took = let_go_by([(pod, HANG)], 30, lambda: culprit.poll() is not None or above.poll() is not None)
    let_go_by([(pod, REST)], 3)
    ok(culprit.poll() == -signal.SIGKILL and above.poll() is None, "one watched cgroup in the other: the largest is above an agent, and lives", took)
    records, log = w.end()
    acts = [(r["cgroup"]["path"], r["action"]["rung"], r["action"]["outcome"]) for r in records if r["kind"] == "action"]
    ok(acts == [("nest/pod/box", "culprit", "done")], f"evidence names the inner: {acts}", log)
    above.kill()
    above.wait()
    os.kill(agent, signal.SIGKILL)


def gone(root):
    """systemd removes a scope as soon as it is empty: what was done about it is told all the same."""
    g, p = Cgroup(root, "run/a.scope"), hog()
    g.write("cgroup.procs", f"{p.pid}\n")
    w = Watch(root, "--match", "run/*")
    let_go_by([(g, REST)], 2)
    for _ in range(300):
        g.step(0.1, **HANG)
        try:
            p.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        os.rename(g.dir, root + "/away")  # within the tenth of a second that the watchdog waits for memory to come back
        break
    time.sleep(1)
    records, log = w.end()
    acts = [r["action"] for r in records if r["kind"] == "action"]
    ok([(a["rung"], a["outcome"]) for a in acts] == [("culprit", "done")] and "its cgroup is gone" in acts[0]["detail"],
       "a cgroup that goes with its process: the record is there", f"{acts}\n{log}")
    valid(records)


def many(root):
    """More cgroups at their limit than can be watched closely at once: the one that hangs is found all the same."""
    groups = [Cgroup(root, f"many/g{i:02}") for i in range(70)]
    p = hog()
    groups[-1].write("cgroup.procs", f"{p.pid}\n")
    w = Watch(root, "--match", "many/*")
    for _ in range(4):
        for g in groups:
            g.step(1, **CACHE)
        time.sleep(1)
    took = let_go_by([(groups[-1], HANG)], 40, lambda: p.poll() is not None)
    ok(p.poll() == -signal.SIGKILL, f"one of seventy full ones hangs: ended after {took:.0f} s", w.end()[1])
    p.kill()
    p.wait()


def slow(root):
    """A mapped index beside a heap: seen all along it is slow, seen late it may be."""
    g, p = Cgroup(root, "slow/index"), hog("java")
    g.write("cgroup.procs", f"{p.pid}\n")
    screen = {}
    judge = threading.Thread(target=lambda: screen.update(late=run("judge", "--mount", root, "--seconds", "6", "slow/index")))
    let_go_by([(g, INDEX)], 1)
    judge.start()
    let_go_by([(g, INDEX)], 8)
    judge.join()
    r = screen["late"]
    ok("was not seen before" in r.stdout and "kill -9" in r.stdout and len(r.stdout.splitlines()) <= 30,
       "judge: a mapped index that nobody saw before may hang, or not", r.stdout + r.stderr)
    g.step(1, **REST)
    w = Watch(root, "--cgroup", "slow/index")
    let_go_by([(g, REST)], 1)
    let_go_by([(g, dict(INDEX, pgmajfault=20, some=0.05))], 2)
    let_go_by([(g, INDEX)], 14)
    ok(p.poll() is None, "an index larger than its room is left alone")
    p.kill()
    p.wait()
    records, log = w.end()
    ok([r["verdict"]["state"] for r in records] == ["file-thrash"] and records[0]["verdict"]["hold"] == "progress", "and told to be slow", log)
    valid(records)


def dry_run(root):
    g = Cgroup(root, "dry")
    p = hog()
    g.write("cgroup.procs", f"{p.pid}\n")
    hook = os.path.join(root, "hook")
    with open(hook, "w") as f:
        f.write(f"#!/bin/sh\ncat >>{root}/hook.out\n")
    os.chmod(hook, 0o755)
    w = Watch(root, "--cgroup", "/dry", "--dry-run", "--hook", hook, "--metrics", os.path.join(root, "m.prom"), "--record", root)
    let_go_by([(g, REST)], 2)
    let_go_by([(g, HANG)], 14)
    time.sleep(0.5)
    records, log = w.end()
    acts = [r["action"] for r in records if r["kind"] == "action"]
    ok(p.poll() is None and g.read("cgroup.kill") == "", "dry run: nobody is killed")
    ok([a["outcome"] for a in acts] == ["dry-run"] and acts[0]["rung"] == "culprit" and str(p.pid) in acts[0]["detail"],
       "dry run: the record says what would be done, once", f"{acts}\n{log}")
    valid(records)
    with open(os.path.join(root, "hook.out")) as f:
        ok([json.loads(x)["kind"] for x in f] == [r["kind"] for r in records], "the hook gets every record")
    with open(os.path.join(root, "m.prom")) as f:
        ok('stella_watchdog_actions_total{rung="culprit",outcome="dry-run"} 1\n' in f.read(), "the metrics file counts it")
    traces = [x for x in os.listdir(root) if x.startswith("dry-") and x.endswith(".trace")]
    r = run("replay", os.path.join(root, traces[0])) if traces else None
    ok(r and r.returncode == 0 and "thrash" in r.stdout, "the recorded trace replays", traces)
    p.kill()
    p.wait()


def broken(root):
    """Everything that may be missing or change under the watchdog: it must neither end nor kill."""
    p = hog()
    groups = {name: Cgroup(root, "odd/" + name) for name in ("nostat", "nopressure", "garbage", "vanish", "noprocs", "huge")}
    for g in groups.values():
        g.write("cgroup.procs", f"{p.pid}\n")
    os.unlink(os.path.join(groups["nostat"].dir, "memory.stat"))
    os.unlink(os.path.join(groups["nopressure"].dir, "memory.pressure"))
    os.unlink(os.path.join(groups["noprocs"].dir, "cgroup.procs"))
    for f in ("memory.stat", "memory.events", "cpu.stat", "memory.pressure", "memory.max"):
        groups["garbage"].write(f, "\0\xff max 99999999999999999999999\nsome total=-1\n\n\n")
    groups["huge"].write("memory.events", "max 18446744073709551615\noom_kill 18446744073709551616\n" + "x 1\n" * 100000)
    os.makedirs(os.path.join(root, "odd", "a" * 200, "b" * 200, "c" * 200))
    w = Watch(root, "--match", "odd/**")
    time.sleep(3)
    shutil.rmtree(groups["vanish"].dir)
    time.sleep(1)
    Cgroup(root, "odd/vanish").write("cgroup.procs", f"{p.pid}\n")
    time.sleep(3)
    ok(w.p.poll() is None and p.poll() is None, "odd trees: it goes on, and kills nobody")
    records, log = w.end()
    ok(w.p.returncode == 0, "odd trees: ends well", log)
    ok("without events" in log, "odd trees: says that there are no events", log)
    r = run("judge", "--mount", root, "--seconds", "1", "odd/garbage")
    ok(r.returncode in (0, 1, 2), "judge on garbage", r.stdout + r.stderr)
    r = run("judge", "--mount", root, "--seconds", "1", "odd/nopressure")
    ok(r.returncode == 0 and "WHO HOLDS IT" in r.stdout and "WHAT TO DO" in r.stdout and len(r.stdout.splitlines()) <= 24,
       "judge fits one screen", r.stdout + r.stderr)
    r = run("run", "--mount", root, "--match", "odd/**", "--require", "events")
    ok(r.returncode == 1 and "--require events" in r.stderr, "--require makes a lost ability an error", r.stderr)
    p.kill()
    p.wait()


def small_memlock(root):
    """As a service's own user, without CAP_IPC_LOCK and with systemd's default of LimitMEMLOCK: what is mapped later than the
    lock must not fail."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        skip("as another user, under RLIMIT_MEMLOCK", "not root")
        return
    program = os.path.join(root, "stella-watchdog")
    shutil.copy(WATCHDOG, program)
    Cgroup(root, "mine/one")
    for d, names, files in os.walk(root):
        os.chmod(d, 0o755)
    os.chown(os.path.join(root, "mine"), 65534, 65534)
    p = subprocess.Popen(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--",
                          "prlimit", "--memlock=1048576", program, "run", "--mount", root, "--match", "mine/*"], stderr=subprocess.PIPE, text=True)
    time.sleep(2)
    ok(p.poll() is None, "under RLIMIT_MEMLOCK as another user: it runs", p.poll())
    p.send_signal(signal.SIGTERM)
    said = p.communicate(timeout=20)[1]
    ok("without mlock (RLIMIT_MEMLOCK" in said, "and says what is not locked", said)
    ok("without signal" not in said and "without environ" not in said, "abilities are those of the cgroup that the pattern is below", said)


def scrape(root):
    path = os.path.join(root, "sock")
    w = Watch(root, "--match", "odd/**", "--metrics", "unix:" + path)
    for _ in range(100):
        if os.path.exists(path):
            break
        time.sleep(0.05)
    got = b""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        s.settimeout(5)
        while chunk := s.recv(65536):
            got += chunk
    ok(got.startswith(b"HTTP/1.1 200 OK\r\n") and b"\nstella_watchdog_wakeups_total " in got, "metrics over a unix socket", got[:500])
    promtool = shutil.which("promtool")
    if promtool:
        r = subprocess.run([promtool, "check", "metrics"], input=got.split(b"\r\n\r\n", 1)[1], capture_output=True)
        ok(r.returncode == 0, "promtool likes them", r.stdout + r.stderr)
    else:
        skip("promtool likes them", "no promtool")
    idle = [socket.socket(socket.AF_UNIX) for _ in range(6)]  # more than there are places, and none says a word
    for s in idle:
        s.connect(path)
    time.sleep(0.3)
    ok(w.p.poll() is None, "silent scrapers do not hold it up")
    for s in idle:
        s.close()
    w.end()


# ---- idle ----------------------------------------------------------------------------------------


def test_idle():
    strace = shutil.which("strace")
    seconds = 60 if os.environ.get("ST_FULL") else 6
    root = tempfile.mkdtemp(prefix="wd-idle-")
    os.mkdir(os.path.join(root, "pods"))
    w = subprocess.Popen([WATCHDOG, "run", "--mount", root, "--match", "pods/*", "--metrics", os.path.join(root, "m.prom")],
                         stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(3)
    def switches():  # a process that sleeps through has none
        with open(f"/proc/{w.pid}/status") as f:
            return [x for x in f if "ctxt_switches" in x]
    was = switches()
    time.sleep(seconds)
    ok(switches() == was, f"idle: not woken in {seconds} s", was + switches())
    if strace:
        trace = os.path.join(root, "trace")
        s = subprocess.Popen([strace, "-f", "-o", trace, "-p", str(w.pid)], stderr=subprocess.DEVNULL)
        time.sleep(1)
        before = open(trace).read()
        time.sleep(seconds)
        after = open(trace).read()
        os.mkdir(os.path.join(root, "pods", "new"))
        time.sleep(0.5)
        s.send_signal(signal.SIGINT)
        s.wait(10)
        ok(before == after and "inotify" not in after and "pods/new" in open(trace).read(),
           f"idle: no system call in {seconds} s, and strace would have seen one", after)
    else:
        skip("idle: no system call", "no strace")
    with open(f"/proc/{w.pid}/smaps_rollup") as f:
        private = sum(int(x.split()[1]) for x in f if x.startswith("Private_"))
    if b"musl" in open(WATCHDOG, "rb").read() and "build-asan" not in WATCHDOG:
        ok(private <= 1024, f"private memory: {private} KiB of at most 1024")
    w.terminate()
    w.wait(10)
    shutil.rmtree(root)


def test_alloc():
    r = run("run", "--mount", "/proc/self/fdinfo", "--match", "x", env={**os.environ, "ST_TEST_ALLOC": "1"})
    ok(r.returncode == 99, "an allocation after the start is noticed", r.stderr)
    test_tree()


if __name__ == "__main__":
    WATCHDOG = os.path.abspath(sys.argv[2])
    {"usage": test_usage, "tree": test_tree, "alloc": test_alloc, "idle": test_idle}[sys.argv[1]]()
    print(f"1..{count}")
    sys.exit(failed != 0)
