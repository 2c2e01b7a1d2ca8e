"""stella serve around a worker that does what its image's name says: supervisor.py TEST STELLA STELLA_API WATCHDOG PROBE
FAKE_WORKER. Speaks TAP. STELLA_TEST_POSTGRES: on that server. Runs without root and without cgroups; tests/vm has those."""
import fcntl, json, os, re, shutil, signal, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import socket_client
import tap
from tap import ok

TEST, STELLA, API, WATCHDOG, PROBE, WORKER = sys.argv[1:7]
WORK = tempfile.mkdtemp(prefix="stella-serve-")
BIN = WORK + "/bin"
ENV = {k: v for k, v in os.environ.items() if not k.startswith("STELLA_")}
ENV.update(STELLA_HOME=WORK + "/home", LC_ALL="C.UTF-8", FAKE_WORKER_TRACE=WORK + "/trace")
if os.environ.get("STELLA_TEST_POSTGRES"):
    ENV["STELLA_STORE"] = os.environ["STELLA_TEST_POSTGRES"]
SOCKET = ENV["STELLA_HOME"] + "/stella.sock"
SLOW = 4 if "asan" in STELLA else 1



def until(what, seconds=20):
    """What it returns as soon as that is true, else its last value."""
    end = time.monotonic() + seconds * SLOW
    while True:
        v = what()
        if v or time.monotonic() > end:
            return v
        time.sleep(0.02)


def Client():
    return socket_client.Client(SOCKET)


def call(op, **fields):
    def once():
        try:
            return [Client().call(op, **fields)]
        except (OSError, EOFError):
            return None
    got = until(once)
    assert got, op
    return got[0]


class Serve:
    all = []

    def __init__(self, *args, env=None, ready=True):
        self.log = open(f"{WORK}/serve-{len(Serve.all)}.log", "w+")
        self.p = subprocess.Popen([BIN + "/stella-serve-probe", BIN + "/stella-fake-worker", *args], env={**ENV, **(env or {})},
                                  stdout=subprocess.DEVNULL, stderr=self.log)
        Serve.all.append(self)
        if ready:
            assert until(lambda: "ready:" in self.said()), self.said()

    def said(self):
        with open(self.log.name) as f:
            return f.read()

    def end(self, sig=signal.SIGTERM):
        self.p.send_signal(sig)
        self.p.wait(60)
        return self.p.returncode

    def children(self):
        """Process ids of all below it."""
        found, todo = [], [self.p.pid]
        while todo:
            pid = todo.pop()
            try:
                with open(f"/proc/{pid}/task/{pid}/children") as f:
                    kids = [int(k) for k in f.read().split()]
            except OSError:
                continue
            found += kids
            todo += kids
        return found


def comm(pid):
    try:
        with open(f"/proc/{pid}/comm") as f:
            return f.read().strip()
    except OSError:
        return ""


def submit(steps, **more):
    return call("scans.submit", image="do:" + steps, fresh=True, **more)[0]["id"]


def job(jid):
    return call("scans.get", id=jid)[0]


def state(jid, *wanted, seconds=20):
    return until(lambda: (lambda j: j if j["status"] in wanted else None)(job(jid)), seconds) or job(jid)


def attempts(jid):
    return call("scans.attempts", id=jid)


def workers():
    return call("workers.list")


def worker(**match):
    rows = [w for w in workers() if all(w[k] == v for k, v in match.items())]
    return rows[0] if rows else None


def traces():
    """Lines that workers wrote: job, attempt, memory limit, deadline, pid, configuration."""
    try:
        with open(WORK + "/trace") as f:
            return [l.split(" ", 5) for l in f.read().splitlines()]
    except OSError:
        return []


def logs(**q):
    return call("logs.read", **q)


def stella(*args, env=None):
    r = subprocess.run([STELLA, *args], env={**ENV, **(env or {})}, capture_output=True, text=True, timeout=120)
    return r.returncode, r.stdout, r.stderr


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_ends():
    """Every way in which a job can end, and what is kept of it."""
    s = Serve()
    ok("enforcement: " in s.said(), "it says how limits are kept", s.said())
    w = until(lambda: worker(pool="default"))
    ok(w and w["state"] == "idle" and w["enforced"] in ("rlimit", "cgroup"), "a worker of the default pool", w)

    a = submit("subject,log=merge began,progress=3,end=completed")
    j = state(a, "completed")
    ok(j["status"] == "completed" and j["digest"] == "sha256:0123" and j["size"] == 4711 and j["peakBytes"] >= 12345678 and
       j["attempt"] == 1 and j["exitCode"] == 0, "completed, with what the worker said", j)
    ok(any("merge began" in l["message"] and l["job"] == a for l in logs(level="debug")), "and its lines of the log")
    t = attempts(a)[0]
    ok(t["outcome"] == "completed" and t["worker"].endswith("/default-1") and t["memoryLimit"] == 4 << 30 and
       t["evidence"]["phases"] == {"layers": 12} and t["config"]["timeouts.scan"] == "20m", "the attempt", t)

    j = state(submit("end=corrupt_layer"), "failed")
    ok(j["reason"] == "corrupt_layer" and j["message"] == "the image says so" and j["exitCode"] == 1, "a failure the worker names", j)
    a = submit("end=nonsense")
    j = until(lambda: (lambda j: j if j["reason"] else None)(job(a)))
    ok(j["reason"] == "internal", "a reason that nobody knows is internal", j)

    a = submit("progress=2,signal=9")
    j = until(lambda: (lambda j: j if j["reason"] else None)(job(a)))
    ok(j["reason"] == "killed" and j["status"] == "pending" and j["tries"] == 1 and j["waitMs"] > 3000,
       "137 without evidence is killed, and tried again later", j)
    t = attempts(a)[0]
    ok(t["exitCode"] == 137 and t["signal"] == 9 and t["evidence"]["layer"] == 2 and t["evidence"]["layers"] == 2 and
       t["evidence"]["file"] == "usr/lib/x.jar", "the layer and file in work are kept", t)
    ok(not [l for l in logs(level="debug") if "out of memory" in l["message"]], "and no line says out of memory")

    a = submit("signal=11")
    j = until(lambda: (lambda j: j if j["reason"] else None)(job(a)))
    ok(j["reason"] == "crash" and attempts(a)[0]["exitCode"] == 139, "a crash", j)
    a = submit("exit=3")
    j = until(lambda: (lambda j: j if j["reason"] else None)(job(a)))
    ok(j["reason"] == "crash" and "exit code 3" in j["message"], "an exit without a word", j)
    a = submit("end=oom")
    j = state(a, "failed")
    ok(j["reason"] == "oom" and j["tries"] == 1 and not j["deadLetter"], "a spent budget is oom, and not tried again at the same memory", j)
    ok(len([l for l in logs(level="error") if "out of memory" in l["message"] and l["job"] == a]) == 1, "and says out of memory, once")

    stella("scanner", "config", "set", "timeouts.scan", "1s")
    stella("scanner", "config", "set", "worker.memory_limit", "64Mi")
    ok(worker(pool="default")["memoryLimit"] == 4 << 30, "a restart key does not touch a running worker")
    call("workers.restart")
    ok(until(lambda: worker(pool="default", generation=1, memoryLimit=64 << 20)), "after a restart it does", workers())
    a = submit("hang")
    j = state(a, "failed", seconds=30)
    ok(j["reason"] == "timeout" and attempts(a)[0]["signal"] == 9, "a deaf worker is ended at its deadline", j)
    ok([t for t in traces() if t[0] == a][0][3] == "1000", "which it was told")
    a = submit("progress=2,eat=512,end=completed")
    j = state(a, "failed")
    ok(j["reason"] == "oom" and [l for l in logs(level="error") if "out of memory" in l["message"] and l["job"] == a], "over its limit: oom", j)
    w = until(lambda: worker(pool="default", lastJob=a))
    ok(w and w["restartsByReason"]["oom"] == 2 and w["restartsByReason"]["killed"] >= 1 and w["restartsByReason"]["crash"] >= 2 and
       w["lastJob"] == a and w["evidence"]["memory_limit"] == 64 << 20, "the worker's row has its restarts by reason, and evidence", w)
    m = [l for l in until(lambda: subprocess.run([STELLA, "scanner", "status"], env=ENV, capture_output=True, text=True).stdout).splitlines()]
    ok("status: ok" in m, "status: ok", m)
    # An answer to a claim is read to its end before the next claim is sent: short jobs, one after the other.
    many = [submit("end=completed") for _ in range(150)]
    ends = [state(a, "completed") for a in many]
    ok("what is wanted:" not in s.said(), "and what is wanted is still answered after so many changes", s.said())
    ok(all(j["status"] == "completed" and j["attempt"] == 1 for j in ends), "150 short jobs: each once", [j for j in ends if j["status"] != "completed"][:2])
    a = submit("child,end=completed")
    state(a, "completed")
    pid = int([t for t in traces() if t[0] == a][0][4])
    ok(until(lambda: not [k for k in s.children() if comm(k).startswith("stella-fake")] and not alive(pid)), "what a worker leaves behind is ended", s.children())
    ok(s.end() == 0, "SIGTERM: 0", s.said())
    ok(not os.path.exists(SOCKET) and not s.children(), "nothing is left")


def test_control():
    """Cancel, restart, scale, pools, escalation."""
    s = Serve()
    a = submit("sleep=60000")
    state(a, "processing")
    ok(until(lambda: worker(state="busy", job=a)), "busy", workers())
    began = time.monotonic()
    code, out, err = stella("scanner", "jobs", "cancel", a)
    j = state(a, "cancelled")
    ok(j["status"] == "cancelled" and time.monotonic() - began < 5 * SLOW, f"cancelled in {time.monotonic() - began:.1f} s", j)
    a = submit("hang")
    state(a, "processing")
    call("scans.cancel", id=a)
    j = state(a, "cancelled", seconds=25)
    ok(j["status"] == "cancelled" and j["reason"] is None, "a deaf one too", j)

    a = submit("sleep=60000")
    state(a, "processing")
    call("config.set", key="timeouts.scan", value="7m")
    r = call("workers.restart", pool="default")
    ok(r[0]["generation"] == 1 and not r[0]["joined"] and r[0]["workers"] == 1, "a restart", r)
    ok(until(lambda: worker(generation=1)), "is done", workers())
    j = until(lambda: (lambda j: j if j["attempt"] == 2 else None)(job(a)))
    ok(j and j["tries"] == 1 and j["status"] == "processing", "its job goes on in the next attempt, no try used up", job(a))
    t = attempts(a)
    ok(t[0]["outcome"] == "released" and t[0]["config"]["timeouts.scan"] == "20m" and
       t[1]["config"]["timeouts.scan"] == "7m", "old values before, new ones after", t)
    w = worker(pool="default")
    ok(w["restartsByReason"] == {"manual": 1} and w["reason"] is None, "counted as manual, once", w)
    r = call("workers.restart", force=True)
    ok(until(lambda: worker(generation=2)), "--force: at once", workers())
    call("scans.cancel", id=a)
    state(a, "cancelled")
    r = call("workers.restart", pool="nope")
    ok(r.get("error") == "not_found" and "no pool 'nope'" in r["message"], "an unknown pool", r)

    call("config.set", key="worker.count", value="3")
    ok(until(lambda: len([w for w in workers() if w["state"] == "idle"]) == 3), "three workers", workers())
    jobs = [submit("sleep=60000") for _ in range(3)]
    ok(all(state(j, "processing")["status"] == "processing" for j in jobs), "three jobs at once")
    s.p.send_signal(signal.SIGSTOP) # so that the first is still under way
    r = call("workers.restart")
    r2 = call("workers.restart")
    s.p.send_signal(signal.SIGCONT)
    ok(r2[0]["joined"] and r2[0]["generation"] == r[0]["generation"], "a second restart at once joins the first", r2)
    ok(until(lambda: len([w for w in workers() if w["generation"] == r[0]["generation"]]) == 3), "all three are restarted", workers())
    ok(all(state(j, "processing")["tries"] == 1 for j in jobs), "no try used up")
    call("config.set", key="worker.count", value="1")
    for j in jobs:
        call("scans.cancel", id=j)
    ok(until(lambda: len([w for w in workers() if w["state"] != "dead"]) == 1), "one worker again", workers())

    ok(call("pools.put", name="large-images", memory=16 << 30, count=2)[0]["count"] == 2, "a pool of 16 GiB")
    ok(until(lambda: len([w for w in workers() if w["pool"] == "large-images"]) == 2), "its workers come")
    w = worker(pool="large-images")
    ok(w["memoryAsked"] == 16 << 30 and w["memoryLimit"] <= 16 << 30, "with what this host can give", w)
    call("config.set", key="worker.memory_limit", value="256Mi")
    call("config.set", key="routing.large_image_pool", value="large-images")
    call("workers.restart", pool="default")
    ok(until(lambda: worker(pool="default", memoryLimit=256 << 20)), "the default pool has 256 MiB")
    a = submit("end=oom", pool="default")
    j = state(a, "failed")
    t = attempts(a)
    ok(j["reason"] == "oom" and [x["pool"] for x in t] == ["default", "large-images"] and j["attempt"] == 2,
       "a memory death is tried again once in the pool with more memory, and not again there", t)
    call("config.unset", key="routing.large_image_pool")
    a = submit("sleep=300,end=completed", pool="large-images")
    state(a, "processing")
    call("pools.remove", name="large-images")
    ok(state(a, "completed")["status"] == "completed", "a removed pool ends its job first", job(a))
    ok(until(lambda: not [w for w in workers() if w["pool"] == "large-images" and w["state"] != "dead"]), "then its workers go")
    began = time.monotonic()
    a = submit("sleep=60000")
    state(a, "processing")
    ok(s.end() == 0 and time.monotonic() - began < 10 * SLOW, "SIGTERM while a job is in work")
    s = Serve()
    j = until(lambda: (lambda j: j if j["attempt"] == 2 else None)(job(a)))
    ok(j and j["tries"] == 1, "the next supervisor takes it again, no try used up", job(a))
    call("scans.cancel", id=a)
    state(a, "cancelled")
    s.end()


def test_verbs():
    """stella scanner workers."""
    for v in (["list"], ["stats"], ["inspect"], ["restart"]):
        code, out, err = stella("scanner", "workers", *v)
        ok(code == 10 and out == "" and "no scan service answers here (stella serve runs one)" in err, f"{v[0]}: 10 without a service", err)
    s = Serve()
    code, out, err = stella("scanner", "workers", "list")
    ok(code == 0 and out.splitlines()[0].split()[:4] == ["WORKER", "POOL", "STATE", "JOB"] and "/default-1 " in out and " idle " in out, "list", out)
    second = Serve(ready=False)
    ok(second.p.wait(30) == 1 and "a service runs here already" in second.said() and worker(pool="default"), "a second one on the same socket: 1", second.said())
    rows = json.loads(stella("scanner", "workers", "list", "--format", "json")[1])
    ok(len(rows) == 1 and rows[0]["pool"] == "default", "list --format json", rows)
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    code, out, err = stella("scanner", "workers", "add", "--pool", "large-images", "--memory", "16Gi", "--count", "2")
    ok(code == 0 and out == "pool large-images: 2 workers with 16Gi each\n" and ("warning: 2 workers with 16Gi are over this host's memory" in err) == (2 * 16 << 30 > host),
       "the runbook's workers add: taken, and said when it is more than there is", out + err)
    ok(until(lambda: len([w for w in workers() if w["pool"] == "large-images"]) == 2), "they come")
    code, out, err = stella("scanner", "workers", "add", "--pool", "large-images", "--memory", "8Gi")
    ok(code == 2 and err == "stella: pool 'large-images' has memory 16Gi; use --replace\n", "another memory: 2", err)
    code, out, err = stella("scanner", "workers", "add", "--pool", "large-images")
    ok(code == 0 and "3 workers with 16Gi" in out, "add to a pool", out + err)
    code, out, err = stella("scanner", "workers", "add", "--pool", "large-images", "--memory", "1Gi", "--count", "1", "--replace")
    ok(code == 0 and out == "pool large-images: 1 worker with 1Gi each\n" and "restart needed" in err and "--pool large-images" in err, "--replace", out + err)
    code, out, err = stella("scanner", "workers", "restart", "--pool", "large-images")
    ok(code == 0 and out.endswith("restarted\n"), "restart --pool", out + err)
    ok(until(lambda: [w["memoryLimit"] for w in workers() if w["pool"] == "large-images" and w["state"] != "dead"] == [1 << 30]), "the new limit holds", workers())
    for args, code, text in [(["add", "--memory", "1Gi"], 2, "--pool"), (["add", "--pool", "Big", "--memory", "1Gi"], 2, "invalid pool name 'Big'"),
                             (["add", "--pool", "default", "--memory", "1Gi"], 2, "worker.count"), (["add", "--pool", "x"], 2, "--memory 16Gi"),
                             (["add", "--pool", "x", "--memory", "8 gigs"], 2, "8 gigs"), (["add", "--pool", "x", "--memory", "1Gi", "--count", "257"], 2, "257"),
                             (["scale", "--pool", "nope", "--count", "2"], 4, "no pool 'nope'"), (["scale", "--pool", "default"], 2, "--count"),
                             (["remove", "--pool", "nope"], 4, "no pool 'nope'"), (["remove", "--pool", "default"], 2, "cannot be removed"),
                             (["restart", "--pool", "nope"], 4, "no pool 'nope'"), (["inspect", "nope-1"], 4, "no worker 'nope-1'")]:
        got, out, err = stella("scanner", "workers", *args)
        ok(got == code and text in err and err.count("\n") == 1, f"{' '.join(args)}: {code}", f"{got} {err}")
    code, out, err = stella("scanner", "config", "set", "worker.memory_limit", "8Gi")
    ok("restart needed: 1 of 1 workers still use 4Gi (stella scanner workers restart)" in err, "config set of a restart key says who is behind", err)
    code, out, err = stella("scanner", "workers", "scale", "--pool", "default", "--count", "3")
    ok(code == 0 and out == "pool default: 3 workers (worker.count)\n", "scale of the default pool", out + err)
    ok(until(lambda: len([w for w in workers() if w["pool"] == "default"]) == 3), "is done")
    code, out, err = stella("scanner", "config", "set", "worker.memory_limit", "2Gi")
    ok("restart needed: 3 of 3 workers still use 8Gi" in err, "new workers begin with the configuration of then", err)
    a = submit("progress=2,sleep=60000")
    ok(until(lambda: worker(state="busy", job=a, phase="layers")), "one is busy")
    code, out, err = stella("scanner", "workers", "stats")
    ok(code == 0 and [l for l in out.splitlines() if " busy " in l and a[:12] in l and " layers " in l], "stats", out)
    code, out, err = stella("scanner", "workers", "stats", "--watch", "--interval", "1s", "--count", "2")
    ok(code == 0 and out.count("WORKER") == 2, "stats --watch --count 2", out)
    code, out, err = stella("scanner", "workers", "restart")
    ok(code == 0 and out == "4 workers restarted\n" and "4 of 4 workers restarted" in err and job(a)["tries"] == 1, "restart of all, one of them busy", out + err)
    call("scans.cancel", id=a)
    state(a, "cancelled")
    a = submit("progress=2,end=oom")
    state(a, "failed")
    until(lambda: worker(lastJob=a)) # the job is told first, then what its worker says of it
    code, out, err = stella("scanner", "workers", "inspect")
    ok("exit_code:    1\n" in out and "reason:       oom\n" in out and a in out and '"memory_limit":2147483648' in out, "inspect has the end and its evidence", out)
    code, out, err = stella("scanner", "workers", "inspect", worker(lastJob=a)["id"].split("/")[1])
    ok(code == 0 and out.count("worker:") == 1, "inspect of one", out + err)
    submit("sleep=60000", pool="large-images")
    submit("sleep=60000", pool="large-images")
    until(lambda: worker(pool="large-images", state="busy"))
    code, out, err = stella("scanner", "workers", "remove", "--pool", "large-images")
    ok(code == 1 and "1 jobs wait for pool 'large-images'" in err, "remove while jobs wait: 1", err)
    ok(stella("scanner", "workers", "remove", "--pool", "large-images", "--force")[0] == 0, "--force")
    ok(s.end() == 0, "SIGTERM: 0")
    api = subprocess.Popen([BIN + "/stella-api"], env=ENV, stderr=subprocess.DEVNULL)
    call("workers.report", id="h/default-1", pool="default", state="busy", memory=5 << 20, memoryLimit=4 << 30)
    time.sleep(10.5)
    code, out, err = stella("scanner", "workers", "stats")
    ok(code == 10 and "busy (stal" in out and "the supervisor does not report: these values are 10s old" in err, "stale values are marked: 10", out + err)
    api.terminate()
    api.wait()


def test_crash():
    """Deaths of stella-api, of the supervisor, of the watchdog; lost leases."""
    s = Serve()
    a = submit("progress=3,sleep=2500,end=completed")
    state(a, "processing")
    api = [k for k in s.children() if comm(k) == "stella-api"]
    os.kill(api[0], signal.SIGKILL)
    j = state(a, "completed")
    ok(j["status"] == "completed" and j["attempt"] == 1, "stella-api killed: the worker goes on and its end arrives", j)
    ok("stella-api ended (signal 9): it is started again" in s.said(), "and it is started again", s.said())
    a = submit("sleep=400,end=completed")
    state(a, "processing")
    api = [k for k in s.children() if comm(k) == "stella-api"]
    os.kill(api[0], signal.SIGSTOP)
    time.sleep(1)
    os.kill(api[0], signal.SIGCONT)
    j = state(a, "completed")
    ok(j["status"] == "completed" and j["attempt"] == 1, "stella-api stopped for a second over the end of a job", j)

    a = submit("once,sleep=600000")
    state(a, "processing")
    t = until(lambda: [t for t in traces() if t[0] == a])
    # Somebody else takes the job: the lease is made to run out in the store.
    if "STELLA_STORE" not in ENV:
        import sqlite3
        db = sqlite3.connect(ENV["STELLA_HOME"] + "/stella.db", timeout=20)
        db.execute("UPDATE jobs SET lease_until = 0 WHERE id = ?", (a,))
        db.commit()
        j = until(lambda: (lambda j: j if j["status"] == "pending" and j["reason"] == "killed" else None)(job(a)))
        ok(j, "a lease that ran out: the job is pending again", job(a))
        ok(until(lambda: not alive(int(t[0][4])), 25), "its old worker is ended with the next heartbeat")
        ok(attempts(a)[0]["outcome"] == "failed", "what it did is not kept", attempts(a))
        j = state(a, "completed", seconds=25)
        ok(j["status"] == "completed" and j["attempt"] == 2, "and the job is done by another", j)
    else:
        call("scans.cancel", id=a)

    a = submit("once,child,sleep=600000")
    state(a, "processing")
    pid = int(until(lambda: [t for t in traces() if t[0] == a])[0][4])
    kids = s.children()
    s.end(signal.SIGKILL)
    ok(until(lambda: not any(alive(k) for k in kids if comm(k) != "stella-fake-wor") and not alive(pid), 10),
       "supervisor killed: its worker, stella-api and watchdog are gone", [comm(k) for k in kids if alive(k)])
    again = time.monotonic()
    s = Serve()
    j = state(a, "completed", seconds=25)
    took = time.monotonic() - again
    ok(j["status"] == "completed" and j["attempt"] == 2 and took < 15 * SLOW,
       f"the next supervisor resumes the job at once, its lease would have lasted for 20 s and more: {took:.1f} s", j)
    ok("ended without a word" in attempts(a)[0]["message"], "the attempt says why it ended", attempts(a)[0])
    if "STELLA_STORE" in ENV:
        beside(s)
    two = Serve(ready=False)
    ok(two.p.wait(30) == 1 and "something answers at" in two.said(), "a second one on the same socket is refused", two.said())
    os.unlink(SOCKET)
    two = Serve(ready=False)
    ok(two.p.wait(30) == 1 and "it holds " + SOCKET + ".lock" in two.said(), "also where the socket was removed", two.said())
    ok(s.end() == 0, "and ends well", s.said())
    for k in kids:
        if alive(k):
            os.kill(k, signal.SIGKILL)


def beside(s):
    """A supervisor with a state directory of its own on the same database and host: what it does on starting is not the
    first one's concern."""
    a = submit("sleep=4000,end=completed")
    state(a, "processing")
    other = Serve("--pools", "none", env={"STELLA_HOME": WORK + "/home2"})
    other.end(signal.SIGKILL)
    other = Serve("--pools", "none", env={"STELLA_HOME": WORK + "/home2"})
    j = state(a, "completed")
    ok(j["status"] == "completed" and j["attempt"] == 1, "another installation on this host leaves its leases alone", j)
    ok(other.end() == 0, "and ends well", other.said())


def locked():
    with open(SOCKET + ".lock") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_upgrade():
    """SIGHUP: another program takes over with the queue running."""
    shutil.copy(BIN + "/stella-serve-probe", BIN + "/stella-serve-new")
    s = Serve(env={"SERVE_PROBE": BIN + "/stella-serve-new"})
    call("config.set", key="worker.count", value="2")
    ok(until(lambda: len(workers()) == 2), "two workers")
    jobs = [submit("progress=2,sleep=1500,end=completed") for _ in range(6)]
    state(jobs[0], "processing")
    api = [k for k in s.children() if comm(k) == "stella-api"]
    s.p.send_signal(signal.SIGHUP)
    ok(until(lambda: os.path.realpath(f"/proc/{s.p.pid}/exe").endswith("stella-serve-new")), "the new program runs in the same process", s.said())
    ok(all(state(j, "completed")["status"] == "completed" for j in jobs), "all jobs complete", [job(j) for j in jobs])
    ok(all(job(j)["attempt"] == 1 for j in jobs), "none was begun again", [job(j)["attempt"] for j in jobs])
    ok(until(lambda: [k for k in s.children() if comm(k) == "stella-api"] != api), "stella-api was started anew")
    ok(locked(), "the lock went over with it")
    a = submit("sleep=1000,end=completed")
    state(a, "processing")
    os.unlink(BIN + "/stella-serve-new")
    s.p.send_signal(signal.SIGHUP)
    ok(until(lambda: "the old program goes on" in s.said()), "a program that is not there: the old one goes on", s.said())
    ok(state(a, "completed")["attempt"] == 1, "and so does the job")
    ok(state(submit("end=completed"), "completed")["status"] == "completed", "and the next", s.said())
    ok(s.end() == 0, "SIGTERM: 0")


def main():
    os.makedirs(BIN)
    for f in (API, WATCHDOG, PROBE, WORKER):
        shutil.copy(f, BIN + "/" + os.path.basename(f))
    if "STELLA_STORE" in ENV:
        subprocess.run(["psql", "-q", ENV["STELLA_STORE"], "-c", "DROP SCHEMA IF EXISTS stella CASCADE"], capture_output=True, check=True)
    try:
        globals()["test_" + TEST]()
    finally:
        for s in Serve.all:
            if s.p.poll() is None:
                s.p.kill()
                s.p.wait()
        if tap.failed:
            for s in Serve.all:
                print("# " + s.said()[-4000:].replace("\n", "\n# "))
        shutil.rmtree(WORK, ignore_errors=True)
    tap.done()


main()
