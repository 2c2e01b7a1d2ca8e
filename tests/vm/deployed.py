#!/usr/bin/env python3
"""deployed.py BUILD [KERNEL] - stella-watchdog with the rights and the command line that deploy/watchdog gives it, on a real kernel:
the DaemonSet's capabilities (all of them, and each one taken away), the sidecar's none at all. The hog and the runner beside it belong
to another user than the DaemonSet, to the sidecar's own. What no guest has is left out: --hook (no API server), --dry-run, seccomp.
TAP; skipped without ST_FULL=1, and with a reason where no guest can be booted."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
sys.dont_write_bytecode = True
import cases  # noqa: E402
import tap  # noqa: E402
from serve import can_boot  # noqa: E402

DEPLOY = os.path.join(HERE, "..", "..", "deploy", "watchdog")
# by capability, what is lost without it: the end of the process alone, the line in the step's log, or an ability that is said at the start
NEEDED = {"KILL": "kill", "SYS_PTRACE": "line", "DAC_READ_SEARCH": "line", "IPC_LOCK": "mlock", "SYS_RESOURCE": "oom-adj"}
SAYS = "::error title=Out of memory::"


def read(name):
    with open(os.path.join(DEPLOY, name)) as f:
        return f.read()


def daemonset():
    """(arguments, capabilities)"""
    text = read("daemonset.yaml")
    args = re.search(r"args:\n((?: +(?:- |# ).*\n)+)", text).group(1)
    args = [w.split(" #")[0].strip() for w in re.findall(r"^ +- (.*)", args, re.M)]
    caps = re.search(r"add: \[(.*)\]", text).group(1).split(", ")
    return [a for a in args if a != "--dry-run" and not a.startswith("--hook")], caps


def sidecar():
    return re.sub(r"\n +", " ", re.search(r"- (exec /usr/bin/stella-watchdog(?:.*\n)+?)        env:", read("arc-sidecar-values.yaml")).group(1)).strip()


def line(name, caps, limits, command):
    return " ".join(["sh deployed_guest.sh", name, shlex.quote(caps), limits, shlex.quote(command)])


def commands():
    args, caps = daemonset()
    whole = "exec /usr/bin/stella-watchdog " + " ".join(shlex.quote(a) for a in args)
    set_of = {"all": caps} | {"no-" + c: [x for x in caps if x != c] for c in caps}
    yield from (line(name, "0:" + ",".join("+" + c.lower() for c in given), "pod", whole) for name, given in set_of.items())
    yield line("sidecar", "1001:", "both", sidecar())


class Run:
    def __init__(self, out, name):
        self.dir = os.path.join(out, name)
        self.log, self.left, self.step = self.text("log"), self.text("left").split(), self.text("step")

    def ended_well(self):
        return "node" not in self.left and "Runner.Worker" in self.left

    def text(self, name):
        try:
            with open(os.path.join(self.dir, name), errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def did(self):
        """Rungs that were done, in order."""
        found = [json.loads(x) for x in self.text("evidence").splitlines() if x.startswith("{")]
        return [r["action"]["rung"] for r in found if r.get("kind") == "action" and r["action"]["outcome"] == "done"]

    def all(self):
        return "\n".join([self.log, f"left: {self.left}", f"step: {self.step}", self.text("evidence")[:500]])


def main():
    build, kernel = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "6.12"
    if not os.environ.get("ST_FULL"):
        tap.skip_all("slow: make check-vm, or ST_FULL=1")
    can_boot(kernel)
    caps = daemonset()[1]
    tap.ok(sorted(caps) == sorted(NEEDED), "each capability of the DaemonSet is one that this test knows", caps)
    with tempfile.TemporaryDirectory(prefix="stella-deployed.") as out:
        cases.build_programs(out + "/bin")
        r = subprocess.run([HERE + "/vm", "run", "--kernel", kernel, "--root", "--mem", "1024", "--disk", "1024", "--big", "64", "--throttle", "gp3",
                            "--timeout", "900", "--out", out + "/out", "--", build + "/stella-watchdog", out + "/bin/workload", HERE + "/hang.sh",
                            HERE + "/deployed_guest.sh", "\n".join(commands())], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        tap.ok(r.returncode == 0, f"the guest ran (Linux {kernel})", r.stdout[-3000:])
        judge({n: Run(out + "/out", n) for n in ["all", "sidecar", *("no-" + c for c in caps)]})
    tap.done()


def judge(runs):
    for who, name in (("DaemonSet: the hog of another user", "all"), ("sidecar: without any right, on a read-only tree, the hog of its own user", "sidecar")):
        run = runs[name]
        tap.ok(run.ended_well() and run.did() == ["culprit"], f"{who} is ended, the runner is left", run.all())
        tap.ok(SAYS in run.step, "its step's log says why", run.all())
    tap.ok("stella-watchdog: without " not in runs["all"].log, "with all capabilities nothing is missing", runs["all"].log)
    for c, lost in NEEDED.items():
        run = runs["no-" + c]
        if lost == "kill":
            tap.ok("culprit" not in run.did(), f"without {c}: cannot end the process alone", run.all())
        else:
            tap.ok(run.ended_well(), f"without {c}: the hog is ended all the same", run.all())
        if lost == "line":
            tap.ok(SAYS not in run.step, f"without {c}: no line in the step's log", run.all())
        elif lost != "kill":
            tap.ok(re.search(rf"\b{lost}\b", run.log), f"without {c}: says that {lost} is lost", run.log)


if __name__ == "__main__":
    main()
