#!/usr/bin/env python3
"""systemd.py BUILD [KERNEL] - the unit of deploy/systemd under the systemd of Debian 12: it starts with cgroups of its own, systemd
starts a killed supervisor again and that one has its cgroups again, reload keeps the process, restart and stop leave nothing
behind. TAP; skipped without ST_FULL=1 (some minutes under emulation), and with a reason where no guest can be booted."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
from serve import can_boot, ok, skip  # noqa: E402
import serve  # noqa: E402

PROGRAMS = ("stella", "stella-api", "stella-watchdog", "stella-analyze", "stella-fetch", "stella-remote")


def boot(build, kernel, out):
    with tempfile.TemporaryDirectory(prefix="stella-systemd-vm.") as t:
        os.mkdir(t + "/lib")
        programs = [os.path.join(build, n) for n in PROGRAMS]
        for p in programs:  # what the guest's Debian lacks of them is taken from here
            for lib in re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", p], capture_output=True, text=True).stdout):
                if "ld-linux" not in lib:
                    shutil.copy(lib, t + "/lib")
        return subprocess.run([HERE + "/vm", "run", "--kernel", kernel, "--systemd", "--mem", "1536", "--cpus", "2", "--timeout", "500",
                               "--disk", "0", "--out", out, "--", *programs, t + "/lib", ROOT + "/deploy/systemd", HERE + "/systemd_guest.sh",
                               "sh systemd_guest.sh"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main():
    build, kernel = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "6.12"
    if not os.environ.get("ST_FULL"):
        skip("slow: make check-vm, or ST_FULL=1")
    can_boot(kernel)
    if not shutil.which("mmdebstrap"):
        skip("mmdebstrap is missing (package mmdebstrap)")
    with tempfile.TemporaryDirectory(prefix="stella-systemd-out.") as out:
        r = boot(build, kernel, out)

        def text(name):
            try:
                with open(os.path.join(out, name), errors="replace") as f:
                    return f.read().strip()
            except OSError:
                return ""

        def is_up(name, what):
            state = text(name + ".state").split()
            try:
                workers = json.loads(text(name + ".workers"))
            except ValueError:
                workers = []
            ok(state[:2] == ["active", "running"], f"{what}: the unit is active", (state, text("journal")[-2000:]))
            ok(workers and all(w["enforced"] == "cgroup" for w in workers), f"{what}: workers get cgroups",
               (workers, text(name + ".err"), text("journal")[-2000:]))
            ok(text(name + ".cgroup") == "0::/system.slice/stella.service/supervisor", f"{what}: the supervisor is in a cgroup of its own",
               text(name + ".cgroup"))
            return state[2:] if len(state) == 4 else ["?", "?"]

        ok(r.returncode == 0, f"the guest ran (Linux {kernel}, {text('version')})", r.stdout[-3000:])
        first = is_up("started", "systemctl start")
        ok(text("started.scan").endswith("\n0") and "pkg:deb" in text("started.purls"), "a scan by the service", text("started.scan"))
        ok("stella.service/workers/default-1" in text("busy.tree"), "a worker is at work in its cgroup", text("busy.tree"))
        killed = is_up("killed", "kill -9 of the supervisor")
        ok(killed[0] != first[0] and killed[1] == "1", "systemd started it again, once", (first, killed))
        ok("memory allocation failed" not in text("journal") and "signal 9): it is started again" not in text("journal") and
           "stella-watchdog ended (exit 1)" not in text("journal"), "stella-watchdog lives as the unit's user", text("journal")[-3000:])
        ok("without kill" not in text("journal") and "without signal" not in text("journal"), "and can end workers", text("journal")[-3000:])
        ok("workers/default" not in text("killed.tree"), "nothing is left of the old worker", text("killed.tree"))
        ok(text("killed.scan").splitlines()[-1:] == ["0"], "and the next one scans", text("killed.scan"))
        reloaded = is_up("reloaded", "systemctl reload")
        ok(reloaded[0] == killed[0], "in the same process", (killed, reloaded))
        ok(text("reloaded.scan").endswith("\n0"), "and scans", text("reloaded.scan"))
        restarted = is_up("restarted", "systemctl restart")
        ok(restarted[0] != reloaded[0], "another process", (reloaded, restarted))
        ok(text("stopped.state").split()[:2] == ["inactive", "dead"] and not text("stopped.tree"), "systemctl stop: no process and no cgroup is left",
           (text("stopped.state"), text("stopped.tree"), text("journal")[-2000:]))
        if serve.failures or os.environ.get("ST_SHOW"):
            print("# " + text("journal")[-6000:].replace("\n", "\n# "))
    print(f"1..{serve.count}")
    sys.exit(1 if serve.failures else 0)


if __name__ == "__main__":
    main()
