#!/usr/bin/env python3
"""check.py WATCHDOG [CASE...] - two small cases of the matrix on a real kernel, for `make check`: a hang that must be ended,
a cache-full job that must be left alone. TAP; skipped with a reason where no guest can be booted."""

import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import cases  # noqa: E402
import outcome  # noqa: E402

GUEST = {"kernel": "6.12", "mglru": "y", "disk": "gp3", "mem": "512"}


def skip(why):
    print(f"1..0 # SKIP {why}")
    sys.exit(0)


def can_boot():
    for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static"), ("mke2fs", "e2fsprogs")):
        if not shutil.which(program):
            skip(f"{program} is missing (package {package})")
    r = subprocess.run([os.path.join(HERE, "vm"), "fetch", GUEST["kernel"]], capture_output=True, text=True)
    if r.returncode:
        skip(r.stderr.strip().splitlines()[-1])


def fault(case, row):
    """What is wrong with the outcome, or None."""
    if row["verdict"].endswith("no-limit"):
        return "the limit was not reached"
    if case["kind"] == "end":
        return None if row["ended_by"] in ("stella", "kernel") and row["innocent"] == 0 else f"ended by {row['ended_by']}, died: {row['died']}"
    return None if row["verdict"] == "ok" else f"{row['verdict']}, died: {row['died']}, finished: {row['finished']}"


def main():
    watchdog, names = sys.argv[1], sys.argv[2:] or ["check-hang", "check-copy"]
    can_boot()
    known = cases.read_cases()
    chosen = [known[n] for n in names]
    cell = {"name": "check", "guest": GUEST}
    print(f"1..{len(chosen)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="stella-vm.") as t:
        cases.build_programs(t + "/bin")
        status, said = cases.boot(GUEST, [cases.script(c, cell, "stella") for c in chosen], t + "/bin", watchdog, t + "/out",
                                  540, False)
        for n, case in enumerate(chosen, 1):
            d = os.path.join(t, "out", case["name"])
            try:
                row = outcome.rows(d, case, "check", "-", "-", "-")[0]
                wrong = fault(case, row)
                print("# " + ", ".join(f"{k} {row[k]}" for k in ("ended_by", "limit_s", "onset_s", "from_limit_s", "died", "finished", "state", "private_kib")))
            except (OSError, KeyError, ValueError, IndexError) as e:
                wrong = f"no outcome ({e!r}); vm: exit {status}: {said[-800:]}"
            print(f"{'not ok' if wrong else 'ok'} {n} - {case['name']}")
            for line in (wrong or "").splitlines():
                print("# " + line)
            if wrong and os.path.exists(d + "/stella.log"):
                with open(d + "/stella.log", errors="replace") as f:
                    print("".join("# stella: " + line for line in f.readlines()[-20:]))


if __name__ == "__main__":
    main()
