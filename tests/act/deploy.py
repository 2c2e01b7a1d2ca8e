#!/usr/bin/env python3
"""deploy/watchdog: rules that say what they should, a unit that systemd takes, images that hold what they need, and no metric
or option that the programs do not have. What the API server says of the YAML: tests/kubernetes.
deploy.py STELLA_ACT [STELLA_WATCHDOG]"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from act_test import Act  # noqa: E402

SOURCE = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
DEPLOY = os.path.join(SOURCE, "deploy", "watchdog")
METRICS = {"state", "pinned_bytes", "limit_bytes", "cache_room_bytes", "major_faults_total", "stall_seconds_total",
           "verdicts_total", "actions_total", "action_latency_seconds_sum", "action_latency_seconds_count", "wakeups_total",
           "psi_blind", "cgroups", "records_dropped_total", "hooks_dropped_total", "hooks_killed_total"}


def sh(*args, **kw):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **kw)


def read(name):
    with open(os.path.join(DEPLOY, name), encoding="utf-8") as f:
        return f.read()


def tool(package, path):
    r = subprocess.run([os.path.join(SOURCE, "tools", "deb-tool"), package, path], stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, text=True, check=False)
    return r.stdout.strip() if r.returncode == 0 else None


def rules(t):
    promtool = tool("prometheus", "usr/bin/promtool")
    if not promtool:
        return t.skip("rules", "no promtool")
    for verb in [["check", "rules", "prometheus-rules.yaml"], ["test", "rules", "prometheus-rules.test.yaml"]]:
        r = sh(promtool, *verb, cwd=DEPLOY)
        t.ok(r.returncode == 0, "promtool " + " ".join(verb[:2]), r.stdout)
    # The tests can fail: with another threshold they do.
    broken = t.path("rules")
    shutil.copytree(DEPLOY, broken)
    with open(os.path.join(broken, "prometheus-rules.yaml"), "w", encoding="utf-8") as f:
        f.write(read("prometheus-rules.yaml").replace("for: 30s", "for: 5m", 1))
    t.ok(sh(promtool, "test", "rules", "prometheus-rules.test.yaml", cwd=broken).returncode != 0, "the rules' tests can fail")


def dashboard(t):
    d = json.loads(read("grafana-dashboard.json"))
    ids = [p["id"] for p in d["panels"]]
    t.ok(len(set(ids)) == len(ids) > 8 and all(x["expr"] for p in d["panels"] for x in p["targets"]), "dashboard: panels are whole")
    boxes = [p["gridPos"] for p in d["panels"]]
    clash = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and
             a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]]
    t.ok(not clash, "dashboard: panels do not overlap", clash)
    promtool = tool("prometheus", "usr/bin/promtool")
    if promtool:  # every expression parses
        group = {"groups": [{"name": "x", "rules": [
            {"record": f"x{i}", "expr": e} for i, e in enumerate(
                [x["expr"].replace("$instance", ".*").replace("$cgroup", ".*") for p in d["panels"] for x in p["targets"]] +
                [a["expr"] for a in d["annotations"]["list"]])]}]}
        r = sh(promtool, "check", "rules", t.write("dash.yaml", json.dumps(group)))
        t.ok(r.returncode == 0, "dashboard: every expression parses", r.stdout)
    for name in ["grafana-dashboard.json", "prometheus-rules.yaml", "prometheus-rules.test.yaml"]:
        used = set(re.findall(r"stella_watchdog_([a-z_]+)", read(name)))
        t.ok(used and used <= METRICS, f"{name}: only metrics that there are", used - METRICS)
    t.ok(METRICS <= set(re.findall(r"stella_watchdog_([a-z_]+)", read("grafana-dashboard.json"))), "the dashboard shows every metric")


def unit(t):
    if not shutil.which("systemd-analyze"):
        return t.skip("systemd unit", "no systemd-analyze")
    at = t.path("unit")
    os.makedirs(at)
    text = read("stella-watchdog.service").replace("/usr/bin/stella-watchdog", "/bin/true")
    text = "\n".join(x for x in text.split("\n") if not x.startswith("Documentation="))  # pages are not installed here
    with open(os.path.join(at, "stella-watchdog.service"), "w", encoding="utf-8") as f:
        f.write(text)
    r = sh("systemd-analyze", "verify", os.path.join(at, "stella-watchdog.service"))
    lines = [x for x in r.stdout.split("\n") if "stella-watchdog" in x]
    t.ok(r.returncode == 0 and not lines, "systemd-analyze verify", r.stdout)
    r = sh("systemd-analyze", "security", "--offline=true", "--threshold=35", os.path.join(at, "stella-watchdog.service"))
    t.ok(r.returncode == 0, "systemd-analyze security: exposure at most 3.5", r.stdout[-2000:])


def image(t, programs):
    root = t.path("root")
    r = sh(os.path.join(DEPLOY, "collect-root"), root, *programs)
    t.ok(r.returncode == 0 and os.path.exists(root + "/usr/bin/stella-act"), "collect-root", r.stdout)
    if os.geteuid() != 0:
        return t.skip("the image's root starts", "not root")
    for p in programs:
        r = sh("chroot", root, "/usr/bin/" + os.path.basename(p), "--version", env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
        sanitized = "Sanitizer" in r.stdout  # it looks for leaks in /proc, which is not there
        t.ok((r.returncode == 0 or sanitized) and re.search(f"^{os.path.basename(p)} [0-9]", r.stdout, re.M) is not None,
             f"{os.path.basename(p)} starts in a root of its own", r.stdout)


def options(t, act, watchdog):
    """Every option that a manifest gives is one that the program has."""
    texts = {os.path.basename(f): read(os.path.basename(f)) for f in glob.glob(os.path.join(DEPLOY, "*"))}
    act_help = t.run("kubernetes", "--help")[1]
    wanted = set(re.findall(r"--[a-z-]+", " ".join(re.findall(r"stella-act kubernetes([^\n\"]*)", "\n".join(texts.values())))))
    wanted |= set(re.findall(r"--[a-z-]+", " ".join(re.findall(r"args: \[kubernetes,([^\]]*)", texts["zombies.yaml"]))))
    t.ok(len(wanted) >= 5 and all(re.search(w + r"\b", act_help) for w in wanted), "options of stella-act exist", wanted)
    if not watchdog:
        return t.skip("options of stella-watchdog exist", "no stella-watchdog")
    shown = sh(watchdog, "run", "--help").stdout
    given = [texts["stella-watchdog.default"].split("OPTIONS=")[1]]
    given += re.findall(r"^ +- (--[a-z-]+)", texts["daemonset.yaml"], re.M)
    given += re.findall(r"stella-watchdog run(.*\n.*--mount.*)", texts["arc-sidecar-values.yaml"])
    wanted = set(re.findall(r"--[a-z-]+", " ".join(given)))
    t.ok(len(wanted) >= 6 and all(re.search(w + r"\b", shown) for w in wanted), "options of stella-watchdog exist", wanted, shown)
    return None


def main():
    t = Act(sys.argv[1])
    watchdog = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else None
    rules(t)
    dashboard(t)
    unit(t)
    image(t, [t.program] + ([watchdog] if watchdog else []))
    options(t, t.program, watchdog)
    t.done()


main()
