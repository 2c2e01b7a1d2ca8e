#!/usr/bin/env python3
"""Kill what can be killed under load, and count: every job ends exactly once, every SBOM has the bytes of an undisturbed run.

    chaos.py STELLA --rounds N [--store sqlite|postgresql] [--supervisors K] [--seed S] [--results FILE] [--only FAULT,...]

A batch is a fresh state directory, jobs fed without end, and at most BATCH rounds of one fault each; then the feeding stops, all must
end, and each job is looked at. Rounds done are appended to FILE (default chaos.tsv in the current directory) when their batch was
clean: run it again and it goes on from there. A batch that is not clean leaves its directory and says where. Root is needed for the full
disk. The images come from a docker-registry on loopback (with skopeo, both of Debian), so that a job can begin anew on any host; every
third job is a file or a pipe that is passed as a descriptor: it is gone with the stella-api that had it, then the job must have failed for
that reason, is retried with the file at hand, as a person would, and must complete.
--supervisors K: K of them, each with a stella-api and a state directory of its own, on one PostgreSQL.
Clocks are stepped with libfaketime, the wall clock of one supervisor's processes or of PostgreSQL at a time; the host's is left alone.
No round begins while the file that --pause names is there.
"""
import argparse, glob, os, random, shutil, signal, socket, subprocess, sys, tempfile, threading, time

here = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(here, "../e2e"), os.path.join(here, "../service")]
from images import Image, egg, tar
from socket_client import Client

BATCH = 25         # rounds
WAITING = 6        # jobs that are kept pending or in work
LEASE_S = 30       # src/supervisor
SETTLE_S = 900     # for a batch to end: a backoff is up to 120 s
ENDED = ("completed", "failed", "cancelled")
FAKETIME = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
STEPS_S = (-26 * 3600, -3600, -70, -5, 5, 45, 3600, 26 * 3600)  # under the retention of jobs, 30 days


def say(*words):
    print(time.strftime("%H:%M:%S"), *words, flush=True)


# ---- processes ----------------------------------------------------------------------------------------------------------------

def children(pid):
    """pid -> its argv, of the whole tree below."""
    parent, argv = {}, {}
    for d in glob.glob("/proc/[0-9]*"):
        try:
            stat = open(d + "/stat").read()
            p = int(d[6:])
            parent[p] = int(stat[stat.rindex(")") + 2:].split()[1])
            argv[p] = open(d + "/cmdline").read().split("\0")[:-1]
        except (OSError, ValueError):
            pass
    found, more = {}, [pid]
    while more:
        top = more.pop()
        for p, up in parent.items():
            if up == top and p not in found:
                found[p] = argv.get(p, [])
                more.append(p)
    return found


def of_kind(tree, kind):
    """A worker is `stella worker`; helpers go by their names."""
    return [p for p, a in tree.items() if a and (os.path.basename(a[0]) == kind or (len(a) > 1 and a[1] == kind))]


def kill(pid, sig):
    try:
        os.kill(pid, sig)
        return True
    except ProcessLookupError:
        return False


# ---- clocks -------------------------------------------------------------------------------------------------------------------

class Clock:
    """The wall clock of the processes that were started with env(). Monotonic clocks and what waits on them are left alone."""

    def __init__(self, path):
        self.path = path
        self.step(0)
        os.chmod(path, 0o644)

    def step(self, seconds):
        with open(self.path + ".new", "w") as f:
            f.write(f"{seconds:+d}\n")
        os.chmod(self.path + ".new", 0o644)
        os.rename(self.path + ".new", self.path)

    def env(self):
        # The sandbox of these two lets nobody read the clock's file; the watchdog is static.
        return {"LD_PRELOAD": FAKETIME[0], "FAKETIME_TIMESTAMP_FILE": self.path, "FAKETIME_NO_CACHE": "1", "NO_FAKE_STAT": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0",
                "FAKETIME_SKIP_CMDS": "stella-analyze,stella-fetch"} if FAKETIME else {}


def clock_is_stepped(clock):
    """What the rounds with clock_step rest on: libfaketime does what this file thinks it does."""
    show = [sys.executable, "-c", "import time;print(time.time(), time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime(time.CLOCK_BOOTTIME))"]
    clock.step(3600)
    fake = [float(x) for x in subprocess.run(show, env={**os.environ, **clock.env()}, check=True, capture_output=True).stdout.split()]
    real = [time.time(), time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime(time.CLOCK_BOOTTIME)]
    clock.step(0)
    return abs(fake[0] - real[0] - 3600) < 60 and abs(fake[1] - real[1]) < 60 and abs(fake[2] - real[2]) < 60


# ---- the service --------------------------------------------------------------------------------------------------------------

class Supervisor:
    def __init__(self, batch, n):
        self.batch, self.n = batch, n
        self.home = os.path.join(batch.dir, f"home{n}")
        os.makedirs(self.home)
        self.socket = self.home + "/stella.sock"
        self.clock = Clock(f"{batch.dir}/clock{n}")
        self.p = None

    def start(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("STELLA_")}
        env.update(STELLA_HOME=self.home, TMPDIR=self.home, **self.clock.env())
        if self.batch.store:
            env["STELLA_STORE"] = self.batch.store
        self.log = open(f"{self.batch.dir}/serve{self.n}.log", "ab")
        self.p = subprocess.Popen([self.batch.stella, "serve"], env=env, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    def ready(self, wait=60):
        until = time.monotonic() + wait
        while time.monotonic() < until:
            try:
                Client(self.socket, 5).must("status.get")
                return True
            except (OSError, EOFError, RuntimeError):
                if self.p.poll() is not None:
                    self.start()
                time.sleep(0.1)
        return False

    def reap(self):
        self.p.wait(60)


# ---- faults: each gets a supervisor and says what it did; the batch heals afterwards ------------------------------------------

def fault_kill_supervisor(b, s):
    kill(s.p.pid, signal.SIGKILL)
    s.reap()
    time.sleep(random.random())
    s.start()


def kill_one(b, s, kind):
    found = of_kind(children(s.p.pid), kind)
    if not found:
        return "nobody"
    kill(random.choice(found), signal.SIGKILL)


def fault_kill_api(b, s):
    return kill_one(b, s, "stella-api")


def fault_kill_worker(b, s):
    return kill_one(b, s, "worker")


def fault_kill_analyzer(b, s):
    return kill_one(b, s, "stella-analyze")


def fault_kill_fetch(b, s):
    return kill_one(b, s, "stella-fetch")


def fault_kill_watchdog(b, s):
    return kill_one(b, s, "stella-watchdog")


def stop_worker(s, seconds):
    found = of_kind(children(s.p.pid), "worker")
    if not found:
        return "nobody"
    pid = random.choice(found)
    kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    kill(pid, signal.SIGCONT)


def fault_stop_worker(b, s):
    """Long enough to be called stalled, not for ever."""
    return stop_worker(s, random.uniform(1, 8))


def fault_stop_worker_long(b, s):
    """Past its lease: the supervisor renews it meanwhile."""
    return stop_worker(s, LEASE_S + 8)


def fault_freeze(b, s):
    """All of a host, past its leases: nobody renews, and its worker goes on afterwards with a job that is somebody else's."""
    kill(s.p.pid, signal.SIGSTOP)
    found = list(children(s.p.pid))
    for p in found:
        kill(p, signal.SIGSTOP)
    time.sleep(LEASE_S + 8)
    for p in random.sample(found, len(found)) + [s.p.pid]:
        kill(p, signal.SIGCONT)


def fault_stop_supervisor(b, s):
    """Past its leases: its workers may go on meanwhile, and what they end must not count twice."""
    kill(s.p.pid, signal.SIGSTOP)
    time.sleep(LEASE_S + 8)
    kill(s.p.pid, signal.SIGCONT)


def fault_cut_off(b, s):
    """Its stella-api does not answer for longer than a lease."""
    found = of_kind(children(s.p.pid), "stella-api")
    if not found:
        return "nobody"
    kill(found[0], signal.SIGSTOP)
    time.sleep(LEASE_S + 8)
    kill(found[0], signal.SIGCONT)


def fault_end_supervisor(b, s):
    kill(s.p.pid, signal.SIGTERM)
    s.reap()
    s.start()


def fault_upgrade(b, s):
    kill(s.p.pid, signal.SIGHUP)
    time.sleep(1)


def fault_restart_workers(b, s):
    Client(s.socket).must("workers.restart")


def fault_full_disk(b, s):
    """The state directory is a small file system of its own."""
    if not s.small_disk:
        return "no small disk"
    full = s.home + "/full"
    try:
        with open(full, "wb", buffering=0) as f:
            while f.write(bytes(1 << 16)) == 1 << 16:
                pass
    except OSError:
        pass
    time.sleep(random.uniform(0.5, 4))
    os.unlink(full)


def fault_kill_postgresql(b, s):
    if not b.pg:
        return "no PostgreSQL"
    b.pg.kill()
    time.sleep(random.uniform(0.1, 2))
    b.pg.start()


def fault_clock_step(b, s):
    """Of a supervisor's host, or of PostgreSQL's, which is the clock of leases there."""
    if not FAKETIME:
        return "no faketime"
    seconds = random.choice(STEPS_S)
    clock, whose = random.choice([(s.clock, f"host {s.n}")] + ([(b.pg.clock, "PostgreSQL")] if b.pg else []))
    clock.step(seconds)
    return f"{whose} {seconds:+d} s"


def fault_cancel(b, s):
    """A job is cancelled while it is anywhere."""
    with b.lock:
        if not b.jobs:
            return "nobody"
        job = random.choice(list(b.jobs)[-WAITING:])
        b.may_cancel.add(job)
    try:
        Client(s.socket).must("scans.cancel", id=job)
    except RuntimeError:
        return "ended before"


FAULTS = {  # how often
    "kill_supervisor": 6, "kill_api": 6, "kill_worker": 10, "kill_analyzer": 6, "kill_fetch": 2, "kill_watchdog": 2, "stop_worker": 4,
    "stop_worker_long": 1, "stop_supervisor": 1, "freeze": 1, "cut_off": 1, "end_supervisor": 4, "upgrade": 4, "restart_workers": 4,
    "full_disk": 4, "kill_postgresql": 4, "clock_step": 6, "cancel": 2,
}


# ---- images, and the three ways in which a job gets one ------------------------------------------------------------------------

class Source:
    """text: what the job calls it. path: the archive, where its bytes go along as a file or through a pipe."""

    def __init__(self, text, path=None, pipe=False):
        self.text, self.path, self.pipe = text, path, pipe

    def send(self, client, op, **fields):
        if not self.path:
            return client.must(op, **fields)[0]
        fd = self.through_pipe() if self.pipe else os.open(self.path, os.O_RDONLY)
        try:
            return client.must(op, fd=fd, options={"path": self.text}, **fields)[0]
        finally:
            os.close(fd)

    def through_pipe(self):
        r, w = os.pipe()

        def write():
            with open(w, "wb", buffering=0) as to, open(self.path, "rb") as f:
                try:
                    while data := f.read(1 << 16):
                        to.write(data)
                except BrokenPipeError:
                    pass
        threading.Thread(target=write, daemon=True).start()
        return r


# ---- where the images are -----------------------------------------------------------------------------------------------------

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Registry:
    def __init__(self, where, layouts):
        port = free_port()
        with open(where + "/registry.yml", "w") as f:
            f.write(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
                    f"storage: {{filesystem: {{rootdirectory: {where}/registry}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n")
        self.p = subprocess.Popen(["docker-registry", "serve", where + "/registry.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        self.address = f"localhost:{port}"
        self.sources = []
        for i, layout in enumerate(layouts):
            ref = f"{self.address}/chaos/image{i}:1"
            subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:" + layout, "docker://" + ref], check=True)
            file, pipe = f"{where}/file{i}.tar", f"{where}/pipe{i}.tar"
            subprocess.run(["tar", "-C", layout, "-cf", file, "."], check=True)
            os.link(file, pipe)
            self.sources += [Source(ref)] * 4 + [Source(f"file{i}.tar", file), Source(f"pipe{i}.tar", pipe, pipe=True)]


# ---- PostgreSQL ---------------------------------------------------------------------------------------------------------------

class PostgreSQL:
    """With fsync on: what it said is committed has to be there after SIGKILL."""

    def __init__(self, where):
        bins = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not bins:
            sys.exit("chaos: PostgreSQL is not installed")
        self.bin, self.dir = bins[-1], os.path.join(where, "pg")
        os.makedirs(self.dir)
        self.who = []
        self.clock = Clock(self.dir + "/clock")
        if os.geteuid() == 0:
            shutil.chown(self.dir, "postgres")
            for d in (where, os.path.dirname(where)):
                os.chmod(d, os.stat(d).st_mode | 0o011)
            self.who = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]
        self.run("initdb", "-D", self.dir + "/data", "-U", "stella", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        self.url = f"postgresql://stella@/postgres?host={self.dir}"
        self.start()

    def run(self, name, *args):
        clock = [f"{k}={v}" for k, v in self.clock.env().items()]
        subprocess.run([*self.who, "env", *clock, f"{self.bin}/{name}", *args], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, cwd=self.dir)

    def start(self):
        self.run("pg_ctl", "-D", self.dir + "/data", "-w", "-l", self.dir + "/log", "-o",
                 f"-c listen_addresses='' -k {self.dir} -c max_connections=100", "start")

    def kill(self):
        pid = int(open(self.dir + "/data/postmaster.pid").readline())
        below = list(children(pid))
        for p in [pid, *below]:
            kill(p, signal.SIGKILL)
        while any(os.path.exists(f"/proc/{p}") for p in [pid, *below]):
            time.sleep(0.02)

    def stop(self):
        self.run("pg_ctl", "-D", self.dir + "/data", "-m", "immediate", "-w", "stop")


# ---- a batch ------------------------------------------------------------------------------------------------------------------

def make_images(where, rng):
    """A dozen images, large enough to be met in the middle of a scan."""
    paths = []
    for i in range(12):
        layers = []
        for k in range(1 + i % 4):
            entries = [(f"usr/lib/python3/dist-packages/p{i}_{k}_{j}.egg-info", egg(f"p{i}-{k}-{j}")) for j in range(20)]
            entries += [(f"data/{k}/{j}", rng.randbytes(1 << 20)) for j in range(2 + 6 * (i % 5))]
            layers.append(tar(entries))
        paths.append(Image(layers).oci_dir(os.path.join(where, f"image{i}")))
    return paths


class Batch:
    def __init__(self, o, seed, registry, want):
        self.o, self.registry, self.want = o, registry, want
        self.sources = {s.text: s for s in registry.sources}
        self.stella = os.path.abspath(o.stella)
        self.rng = random.Random(seed)
        self.dir = tempfile.mkdtemp(prefix="stella-chaos-")
        self.lock = threading.Lock()
        self.jobs, self.unsure, self.may_cancel, self.gone = {}, 0, set(), 0
        self.pg = PostgreSQL(self.dir) if o.store == "postgresql" else None
        self.store = self.pg.url if self.pg else None
        self.feeding = True
        self.bad = []
        self.all = [Supervisor(self, n) for n in range(o.supervisors)]
        for s in self.all:
            mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "stella-chaos", s.home]
            s.small_disk = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0

    def feed(self):
        """Keeps the queue from running dry. A submission that was not answered may or may not be there: it is counted apart."""
        while self.feeding:
            sup = self.rng.choice(self.all)
            asked = False
            try:
                c = Client(sup.socket, 20)
                while self.feeding:
                    q = c.must("queue.stats")[0]
                    if q["queue_depth"] + q["processing"] >= WAITING or self.paused():
                        time.sleep(0.2)
                        continue
                    source = self.rng.choice(self.registry.sources)
                    asked = True
                    job = source.send(c, "scans.submit", image=source.text, fresh=True)
                    asked = False
                    with self.lock:
                        self.jobs[job["id"]] = source.text
            except (OSError, EOFError, RuntimeError) as e:
                # Refused is an answer; an end of the connection is none.
                if asked and not isinstance(e, RuntimeError):
                    self.unsure += 1
                time.sleep(0.3)

    def begin(self):
        for s in self.all:
            s.start()
        for s in self.all:
            if not s.ready():
                raise SystemExit(f"chaos: the service does not start: {self.dir}/serve{s.n}.log")
        c = Client(self.all[0].socket)
        for key, value in {"retry.max_attempts": "100", "worker.count": "2", "worker.memory_limit": "256Mi",
                           "registry.allow_private": self.registry.address}.items():
            c.must("config.set", key=key, value=value)
        c.must("workers.restart")
        self.feeder = threading.Thread(target=self.feed, daemon=True)
        self.feeder.start()

    def paused(self):
        return self.o.pause and os.path.exists(self.o.pause)

    def round(self, name):
        while self.paused():
            time.sleep(1)
        s = self.rng.choice(self.all)
        time.sleep(self.rng.uniform(0.2, 2.5))
        did = globals()["fault_" + name](self, s) or "done"
        for s in self.all:
            if not s.ready(120):
                self.bad.append(f"after {name} the service of {s.home} does not answer")
        return did

    def rows(self, op, **fields):
        for _ in range(100):
            try:
                return Client(self.all[0].socket, 20).must(op, **fields)
            except (OSError, EOFError, RuntimeError):
                time.sleep(0.3)
        raise SystemExit(f"chaos: {op} is not answered; {self.dir}")

    def settle(self):
        self.feeding = False
        self.feeder.join()
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            rows = self.rows("scans.list", limit=10000)
            self.bring_again([j for j in rows if j["status"] == "failed" and j["reason"] == "source_gone"])
            left = [j for j in rows if j["status"] not in ENDED or j["reason"] == "source_gone"]
            if not left:
                return
            time.sleep(1)
        self.bad += [f"job {j['id']} has not ended: {j['status']} {j['reason']} {j['message']}" for j in left]

    def bring_again(self, rows):
        """What scan image --retry does: the file is opened anew. One of a registry cannot be gone: judge() says so."""
        for j in rows:
            source = self.sources[j["image"]]
            if not source.path:
                continue
            try:
                source.send(Client(self.all[0].socket, 20), "scans.retry", id=j["id"], force=True)
                self.gone += 1
            except (OSError, EOFError, RuntimeError) as e:  # settle() comes here again
                say("brought again, refused:", e)

    def judge(self):
        there = {j["id"]: j for j in self.rows("scans.list", limit=10000)}
        extra = set(there) - set(self.jobs)
        if len(extra) > self.unsure:
            self.bad.append(f"{len(extra)} jobs that nobody submitted, {self.unsure} submissions without an answer")
        for job in set(self.jobs) - set(there):
            self.bad.append(f"job {job} was accepted and is lost")
        counts = {"jobs": len(there), "completed": 0, "cancelled": 0, "attempts": 0, "brought again": self.gone}
        for job, row in there.items():
            ends = [a["outcome"] for a in self.rows("scans.attempts", id=job)]
            counts["attempts"] += len(ends)
            if sum(e in ENDED and e == row["status"] for e in ends) > 1 or ends.count("completed") > 1:
                self.bad.append(f"job {job} ended more than once: {ends}")
            if row["status"] == "cancelled" and job in self.may_cancel:
                counts["cancelled"] += 1
            elif row["status"] != "completed":
                self.bad.append(f"job {job} is {row['status']}: {row['reason']}: {row['message']}")
            else:
                counts["completed"] += 1
                self.compare(job, row["fence"], self.jobs.get(job) or row["image"])
        return counts

    def compare(self, job, fence, image):
        got = [f for s in self.all for f in glob.glob(f"{s.home}/jobs/{job}/{fence}/cyclonedx-json")]
        if len(got) != 1:
            self.bad.append(f"job {job} has {len(got)} results: {got}")
        elif open(got[0], "rb").read() != self.want[image]:
            self.bad.append(f"job {job}: {got[0]} differs from an undisturbed scan")

    def end(self):
        left = []
        for s in self.all:
            below = list(children(s.p.pid))
            kill(s.p.pid, signal.SIGTERM)
            try:
                s.p.wait(40)
            except subprocess.TimeoutExpired:
                self.bad.append("a supervisor does not end on SIGTERM")
                kill(s.p.pid, signal.SIGKILL)
            left += below
        until = time.monotonic() + 10
        while any(os.path.exists(f"/proc/{p}") for p in left) and time.monotonic() < until:
            time.sleep(0.1)
        self.bad += [f"process {p} was left behind" for p in left if os.path.exists(f"/proc/{p}")]
        if self.pg:
            self.pg.stop()
        for s in self.all:
            if s.small_disk:
                if self.bad:
                    shutil.copytree(s.home, f"{self.dir}/home{s.n}-kept", dirs_exist_ok=True)
                subprocess.run(["umount", "-l", s.home])
        if not self.bad:
            shutil.rmtree(self.dir, ignore_errors=True)


def undisturbed(stella, image, where):
    home = tempfile.mkdtemp(prefix="stella-chaos-")
    env = dict({k: v for k, v in os.environ.items() if not k.startswith("STELLA_")}, STELLA_HOME=home)
    out = subprocess.run([stella, "scan", "image", "--local", "--cache", "off", "-q", "--format", "cyclonedx-json", image], env=env,
                         cwd=where, check=True, stdout=subprocess.PIPE).stdout
    shutil.rmtree(home)
    return out


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("stella")
    a.add_argument("--rounds", type=int, default=50)
    a.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    a.add_argument("--supervisors", type=int, default=1)
    a.add_argument("--seed", type=int, default=int(time.time()))
    a.add_argument("--results", default="chaos.tsv")
    a.add_argument("--only")
    a.add_argument("--pause")
    o = a.parse_args()
    if o.supervisors > 1 and o.store == "sqlite":
        sys.exit("chaos: many supervisors need --store postgresql")
    what = f"{o.store} {o.supervisors}"
    done = sum(l.split("\t")[1] == what for l in open(o.results)) if os.path.exists(o.results) else 0
    rng = random.Random(o.seed)
    names = [n for n in (o.only.split(",") if o.only else FAULTS) if o.store != "sqlite" or n != "kill_postgresql"]
    where = tempfile.mkdtemp(prefix="stella-chaos-images-")
    if FAKETIME and not clock_is_stepped(Clock(where + "/clock")):
        sys.exit("chaos: libfaketime does not step the wall clock alone here")
    registry = Registry(where, make_images(where, random.Random(1)))
    want = {text: undisturbed(os.path.abspath(o.stella), text, where) for text in {s.text: s for s in registry.sources}}
    try:
        while done < o.rounds:
            seed = rng.getrandbits(32)
            random.seed(seed)
            b = Batch(o, seed, registry, want)
            began, lines = time.monotonic(), []
            b.begin()
            for _ in range(min(BATCH, o.rounds - done)):
                name = b.rng.choices(names, [FAULTS[n] for n in names])[0]
                did = b.round(name)
                lines.append(f"{time.strftime('%Y-%m-%dT%H:%M:%S')}\t{what}\t{seed}\t{name}\t{did}\n")
            b.settle()
            counts = b.judge()
            b.end()
            say(f"seed {seed}: {len(lines)} rounds, {counts}, {b.unsure} submissions unanswered, {time.monotonic() - began:.0f} s")
            if b.bad:
                print("\n".join(b.bad), f"\nkept: {b.dir}")
                sys.exit(1)
            with open(o.results, "a") as f:
                f.writelines(lines)
            done += len(lines)
    finally:
        registry.p.kill()
        shutil.rmtree(where)
    say(f"{done} rounds on {what}: nothing lost, nothing doubled, all bytes the same")


main()
