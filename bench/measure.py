"""What bench/run and bench/goals share: run a command, with what it cost."""
import os, resource, shutil, statistics, subprocess, tempfile, threading, time


def tree(pid):
    """pid and everything below it."""
    kids = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                with open(f"/proc/{d}/stat") as f:
                    kids.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(int(d))
            except OSError:
                pass
    todo, seen = [pid], []
    while todo:
        p = todo.pop()
        seen.append(p)
        todo += kids.get(p, [])
    return seen


def pss(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            for line in f:
                if line.startswith("Pss:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def high_water(pid):
    """The kernel's own mark, so that no peak between two samples is lost. Not ru_maxrss: that begins at what this program held
    when it forked."""
    try:
        with open(f"/proc/{pid}/status") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def du(path):
    total = 0
    for base, dirs, files in os.walk(path):
        if "java-db" in dirs:  # was there before
            dirs.remove("java-db")
        for f in files:
            if f.startswith("stella.db"):  # the record of jobs is not temporary
                continue
            try:
                total += os.lstat(os.path.join(base, f)).st_blocks * 512
            except OSError:
                pass
    return total


class Sampler(threading.Thread):
    def __init__(self, pid, tmp):
        super().__init__(daemon=True)
        self.pid, self.tmp, self.peak, self.rss, self.disk, self.samples, self.stop = pid, tmp, 0, 0, 0, 0, False

    def run(self):
        n = 0
        while not self.stop:
            pids = tree(self.pid)
            self.peak = max(self.peak, sum(pss(p) for p in pids))
            self.rss = max([self.rss] + [high_water(p) for p in pids])
            self.samples += 1
            if n % 10 == 0:
                self.disk = max(self.disk, du(self.tmp))
            n += 1
            time.sleep(0.02)


def measure(argv, env=None):
    tmp = tempfile.mkdtemp(prefix="bench", dir="/var/tmp")
    e = dict(os.environ, TMPDIR=tmp, HOME=tmp, STELLA_HOME=os.path.join(tmp, "stella"), **(env or {}))
    trivy = "{TMP}/trivy" in argv
    argv = [a.replace("{TMP}", tmp) for a in argv]
    if os.environ.get("TRIVY_JAVA_DB") and trivy:  # a fresh cache but for this database
        shutil.copytree(os.path.join(os.environ["TRIVY_JAVA_DB"], "java-db"), os.path.join(tmp, "trivy/java-db"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    t = time.monotonic()
    with open(os.path.join(tmp, "err"), "wb") as err:
        p = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=err, env=e, start_new_session=True)
        s = Sampler(p.pid, tmp)
        s.start()
        _, status, _ = os.wait4(p.pid, 0)
    wall = time.monotonic() - t
    s.stop = True
    s.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    with open(os.path.join(tmp, "err"), errors="replace") as f:
        tail = f.read()[-300:]
    shutil.rmtree(tmp, ignore_errors=True)
    if status:
        return {"failed": tail.strip().splitlines()[-1] if tail.strip() else f"status {status}"}
    return {"wall": wall, "cpu": cpu, "pss": s.peak / 1024, "rss": s.rss / 1024, "samples": s.samples, "disk": s.disk / 1e6}


def median(rows):
    good = [r for r in rows if "failed" not in r]
    if not good:
        return rows[0]
    out = {k: statistics.median(r[k] for r in good) for k in good[0]}
    out["spread"] = (max(r["cpu"] for r in good) - min(r["cpu"] for r in good)) / out["cpu"] if out["cpu"] else 0
    return out
