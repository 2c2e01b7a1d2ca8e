#!/usr/bin/env python3
"""serve.py BUILD [KERNEL] - stella serve with real cgroups, on a real kernel: a worker that the kernel kills is `oom` with
evidence, one that hangs at its limit is `memory_stall` in seconds, a killed supervisor leaves nothing behind and the next one
resumes. TAP; skipped without ST_FULL=1 (a minute and a half under emulation), and with a reason where no guest can be booted."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import cases  # noqa: E402

count = failures = 0


def ok(good, what, more=""):
    global count, failures
    count += 1
    print(f"{'ok' if good else 'not ok'} {count} - {what}", flush=True)
    if not good:
        failures += 1
        print("# " + str(more)[:3000].replace("\n", "\n# "), flush=True)


def skip(why):
    print(f"1..0 # SKIP {why}")
    sys.exit(0)


def can_boot(kernel):
    for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static"), ("mke2fs", "e2fsprogs")):
        if not shutil.which(program):
            skip(f"{program} is missing (package {package})")
    r = subprocess.run([os.path.join(HERE, "vm"), "fetch", kernel], capture_output=True, text=True)
    if r.returncode:
        skip(r.stderr.strip().splitlines()[-1])


def boot(build, kernel, out):
    with tempfile.TemporaryDirectory(prefix="stella-serve-vm.") as t:
        cases.build_programs(t)
        files = [os.path.join(build, n) for n in ("stella", "stella-api", "stella-watchdog", "tests/stella-serve-probe", "tests/stella-fake-worker")]
        files += [t + "/workload", HERE + "/hang.sh", HERE + "/serve_guest.sh"]
        return subprocess.run([HERE + "/vm", "run", "--kernel", kernel, "--mem", "768", "--cpus", "2", "--disk", "4096", "--throttle",
                               "gp3", "--timeout", "300", "--out", out, "--", *files, "sh serve_guest.sh"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main():
    build, kernel = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "6.12"
    if not os.environ.get("ST_FULL"):
        skip("slow: make check-vm, or ST_FULL=1")
    can_boot(kernel)
    with tempfile.TemporaryDirectory(prefix="stella-serve-out.") as out:
        r = boot(build, kernel, out)

        def text(name):
            try:
                with open(os.path.join(out, name), errors="replace") as f:
                    return f.read()
            except OSError:
                return ""

        def record(name):
            try:
                return json.loads(text(name))
            except ValueError:
                return {}

        log = text("serve.log")
        ok(r.returncode == 0, f"the guest ran (Linux {kernel})", r.stdout[-3000:])
        ok("enforcement: cgroup (/svc/workers)" in log and "memory" in text("tree"), "it took its cgroup over", log + text("tree"))
        w = (record("stats.json") or [{}])[0]
        ok(w.get("enforced") == "cgroup" and w.get("memoryLimit") == 80 << 20, "workers stats says so", w)
        done = record("completed.json")
        ok(done.get("status") == "completed" and done["attempts"][0]["peakBytes"] > 0, "a job completes, with its peak", done)

        j = record("oom.json")
        a = (j.get("attempts") or [{}])[0]
        e = a.get("evidence") or {}
        ok(j.get("reason") == "oom" and j.get("status") == "failed", "a worker that the kernel kills at its limit: oom", j)
        ok(a.get("exitCode") == 137 and a.get("signal") == 9, "137, by signal 9", a)
        ok(e.get("memory_events", {}).get("oom_kill", 0) > 0 and e.get("memory_peak", 0) > 70 << 20 and e.get("samples") and
           e.get("layers") == 3, "with the kernel's count, its peak, samples and the layer in work", e)
        lines = record("oom-logs.json")
        ok(len(lines) == 1 and lines[0]["job"] == j.get("id"), "one line of the log says out of memory", lines)
        ok(text("after-oom") == "", "its cgroup is gone", text("after-oom"))

        j = record("hang.json")
        a = (j.get("attempts") or [{}])[0]
        e = a.get("evidence") or {}
        ok(j.get("reason") == "memory_stall", "a worker that hangs at its limit: memory_stall", (j, log[-1500:]))
        dog = e.get("watchdog") or {}
        ok(dog.get("verdict", {}).get("state") in ("thrash", "stuck", "kernel", "swap-thrash") and "samples" not in dog,
           "with the watchdog's record", e)
        times = {l.split(" ", 1)[1].split(" ")[0] + " " + l.split(" ")[2]: float(l.split(" ")[0]) for l in text("log").splitlines() if len(l.split(" ")) > 2}
        took = times.get("hang ended", 0) - times.get("hang submitted", 0)
        ok(0 < took < 45, f"in seconds: {took:.1f} s after its start, 4 s of them before the hog", text("log"))
        lines = record("logs.json")
        ok(len(lines) == 2, "so far two lines of the log say out of memory: exactly the memory deaths", lines)
        ok("exit_code:    137" in text("inspect") and "memory_stall" in text("inspect"), "workers inspect shows exit_code: 137 and the reason", text("inspect"))

        large = record("large.json")
        ok("2 workers with 16Gi each" in text("add") and "over this host's memory" in text("add"), "workers add --memory 16Gi --count 2: taken, and said", text("add"))
        ok(len(large) == 2 and all(w["memoryAsked"] == 16 << 30 and 400 << 20 < w["memoryLimit"] < 768 << 20 for w in large), "its workers get what there is", large)
        j = record("escalated.json")
        ok(j.get("status") == "completed" and [(a["pool"], a["reason"]) for a in j["attempts"]] == [("default", "oom"), ("large-images", None)],
           "a memory death is tried again once where there is more memory, and completes", j)
        turns = record("turns.json")
        ok(len(turns) == 6 and all(j["status"] == "completed" and j["attempt"] == 1 for j in turns) and {j["pool"] for j in turns} == {"default", "large-images"},
           "two pools that do not fit beside each other take turns", turns)

        ok(len(text("procs-before").split()) >= 2 and text("memory.oom.group").strip() == "1" and text("memory.max").strip() == str(80 << 20),
           "a job's cgroup has its limits", (text("procs-before"), text("memory.max"), text("pids.max")))
        ok(text("procs-left") == "" and text("supervisor-procs-after").strip() == "", "supervisor killed: nothing is left, at the latest when the next one has begun",
           (text("procs-left"), text("supervisor-procs-after")))
        j = record("resumed.json")
        ok(j.get("status") == "completed" and j.get("attempt") == 2, "the next one resumes its job", j)
        tree = text("tree-end").split()
        ok(tree == ["/sys/fs/cgroup/svc", "/sys/fs/cgroup/svc/supervisor"] and not text("procs-end"), "its end leaves no cgroup of a worker", tree)
        if failures:
            print("# " + log[-4000:].replace("\n", "\n# "))
    print(f"1..{count}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
