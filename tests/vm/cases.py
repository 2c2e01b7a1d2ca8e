"""The tables of the matrix, cases.list and cells.list (their first lines say how they are written), and a boot that runs
some of them."""

import hashlib
import os
import shlex
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def pairs(text):
    return dict(w.split("=", 1) for w in text.split())


def read_list(path):
    names = {}
    with open(path) as f:
        for line in f:
            line = line.strip()
            if not line or line[0] == "#":
                continue
            if line[0] == "@":
                name, text = line.split("=", 1)
                names[name.strip()] = text.strip()
                continue
            for name in sorted(names, key=len, reverse=True):
                line = line.replace(name, names[name])
            # a command of the last field may hold a bar of its own
            yield line


def read_cases(path=os.path.join(HERE, "cases.list")):
    cases = {}
    for line in read_list(path):
        name, kind, guest, opts, steps = [f.strip() for f in line.split("|", 4)]
        kind, _, shape = kind.partition(":")
        cases[name] = {"name": name, "kind": kind, "shape": shape, "guest": pairs(guest), "opts": pairs(opts),
                       "steps": [s.strip() for s in steps.split(";;")],
                       "hash": hashlib.sha256(line.encode()).hexdigest()[:10]}
    return cases


def read_cells(path=os.path.join(HERE, "cells.list")):
    cells = {}
    for line in read_list(path):
        name, guest, cases = ([f.strip() for f in line.split("|")] + [""])[:3]
        cells[name] = {"name": name, "guest": pairs(guest), "cases": cases.split()}
    return cells


def build_programs(out):
    os.makedirs(out, exist_ok=True)
    src = os.path.join(HERE, "..", "..", "src")
    for name in ("workload", "sampler"):
        subprocess.run(["cc", "-std=gnu17", "-O2", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wshadow", "-static", "-pthread", "-I" + src,
                        "-o", os.path.join(out, name), os.path.join(HERE, name + ".c")], check=True)


PEERS = "sh peers.sh /sys/fs/cgroup/lab/pod/box"


def script(case, cell, tool):
    """The line of shell that runs a case in the guest."""
    words = ["sh", "case.sh", case["name"], "kind=" + case["kind"], "tool=" + tool,
             "owner=" + cell["guest"].get("owner", "container")]
    words += [f"{k}={v}" for k, v in case["opts"].items() if k != "watch"] + ["--"] + case["steps"]
    return " ".join(shlex.quote(w) for w in words)


def boot(guest, scripts, programs, watchdog, out, seconds, root, systemd=False):
    """Run the lines in one guest. (exit status of vm, what it said); the runs' directories are then under out."""
    argv = [os.path.join(HERE, "vm"), "run", "--disk", "4096", "--out", out, "--timeout", str(int(seconds))]
    argv += ["--root"] * root + ["--systemd"] * systemd
    for key, option in (("kernel", "--kernel"), ("mglru", "--mglru"), ("disk", "--throttle"), ("swap", "--swap"), ("psi", "--psi"),
                        ("cpus", "--cpus"), ("mem", "--mem")):
        if key in guest:
            argv += [option, guest[key]]
    with tempfile.TemporaryDirectory(prefix="stella-boot.") as t:
        with open(t + "/run.sh", "w") as f:
            f.write("".join(s + "\n" for s in scripts))
        files = [os.path.join(programs, n) for n in ("workload", "sampler")] + [os.path.join(HERE, n) for n in ("case.sh", "peers.sh")]
        files += [t + "/run.sh"] + ([watchdog + "=/payload/stella-watchdog"] if watchdog else [])
        r = subprocess.run(argv + ["--"] + files + ["sh run.sh"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return r.returncode, r.stdout
