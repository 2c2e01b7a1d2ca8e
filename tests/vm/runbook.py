#!/usr/bin/env python3
"""runbook.py BUILD [KERNEL] - the scanner-oom runbook, command by command, on a real kernel with cgroup v2.

A worker dies of memory, a person on call finds out and mends it. stella does not die on large images; so the guest runs
stella-leak, stella with a leak for tests (src/worker/test_leak.h), whose worker takes 200 MiB more with this one image, under a
worker.memory_limit of 128Mi. TAP; skipped with a reason where no guest can be booted."""

import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests/e2e")]
sys.dont_write_bytecode = True
from images import Image, egg, tar  # noqa: E402
from serve import can_boot, ok, skip  # noqa: E402
import serve  # noqa: E402
import random  # noqa: E402
import shutil  # noqa: E402

SEED = os.path.join(ROOT, "../shared/seeds/scanner-oom-runbook.txt")


def large_image():
    rng = random.Random(4)
    status = "".join(f"Package: p{i}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.{i}\nMaintainer: A <a@b.c>\n\n"
                     for i in range(200)).encode()
    layers = [tar([("etc/os-release", b"ID=debian\nVERSION_ID=12\n"), ("var/lib/dpkg/status", status), ("a", rng.randbytes(3 << 20))])]
    layers += [tar([(f"usr/lib/python3/dist-packages/q{k}_{j}.egg-info", egg(f"q{k}-{j}")) for j in range(50)] +
                   [(f"data/{k}", rng.randbytes(4 << 20))]) for k in range(3)]
    return Image(layers).docker_archive()


def boot(build, kernel, out):
    with tempfile.TemporaryDirectory(prefix="stella-runbook-vm.") as t:
        os.mkdir(t + "/bin")
        for name, source in {"stella": "tests/stella-leak"}.items():
            shutil.copy(os.path.join(build, source), f"{t}/bin/{name}")
        with open(t + "/large.tar", "wb") as f:
            f.write(large_image())
        files = [t + "/bin/stella", t + "/large.tar", shutil.which("jq"), HERE + "/runbook_guest.sh"]
        files += [os.path.join(build, n) for n in ("stella-api", "stella-watchdog", "stella-analyze", "stella-fetch")]
        return subprocess.run([HERE + "/vm", "run", "--kernel", kernel, "--mem", "1536", "--cpus", "2", "--disk", "4096", "--timeout", "500",
                               "--out", out, "--", *files, "sh runbook_guest.sh"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Story:
    """What was typed, in order, and what came of it."""

    def __init__(self, out):
        self.steps = []
        for name in sorted(n for n in os.listdir(out) if re.fullmatch(r"\d\d\.command", n)):
            def part(ext):
                with open(os.path.join(out, name[:2] + ext), errors="replace") as f:
                    return f.read()
            self.steps.append({"command": part(".command").strip(), "out": part(".out"), "err": part(".err"), "exit": int(part(".exit"))})

    def find(self, start, nth=1):
        found = [s for s in self.steps if s["command"].startswith(start)]
        return found[nth - 1] if len(found) >= nth else {"command": start, "out": "", "err": "not typed", "exit": -1}


def restarts(text, reason):
    return sum(float(v) for v in re.findall(r'^scanner_worker_restarts_total\{[^}]*reason="%s"[^}]*\} (\S+)$' % reason, text, re.M))


def alert_fires(before, after):
    """promtool evaluates the rule on the two scrapes, a minute apart."""
    promtool = shutil.which("promtool")
    if not promtool:
        return None
    series = []
    for line in after.splitlines():
        m = re.match(r"(scanner_worker_restarts_total\{[^}]*\}) (\S+)$", line)
        if m:
            old = re.search("^" + re.escape(m.group(1)) + r" (\S+)$", before, re.M)
            series.append({"series": m.group(1), "values": f"{old.group(1) if old else 0} {m.group(2)}x5"})
    with tempfile.TemporaryDirectory() as t:
        shutil.copy(os.path.join(ROOT, "deploy/prometheus/rules.yml"), t)
        doc = {"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": [{
            "interval": "1m", "input_series": series,
            "promql_expr_test": [{"expr": 'count(ALERTS{alertname="ScannerWorkerOOM",alertstate="firing"})', "eval_time": "3m",
                                  "exp_samples": [{"labels": "{}", "value": 1}]}]}]}
        with open(t + "/test.yml", "w") as f:
            json.dump(doc, f)
        r = subprocess.run([promtool, "test", "rules", "test.yml"], cwd=t, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return r.returncode == 0, r.stdout


def seed_commands():
    """Every command of the original, in its order; None where it is not at hand."""
    try:
        with open(SEED) as f:
            return [l.strip() for l in f if l.strip().startswith("stella ")]
    except OSError:
        return None


def judge(out, log):
    def text(name):
        try:
            with open(os.path.join(out, name), errors="replace") as f:
                return f.read()
        except OSError:
            return ""
    s = Story(out)
    seed = seed_commands()
    if seed is not None:
        typed = [re.sub(r"^timeout -s INT 5 ", "", x["command"]) for x in s.steps]
        missing, at = [], 0
        for c in seed:
            while at < len(typed) and typed[at] != c:
                at += 1
            if at == len(typed):
                missing, at = missing + [c], 0
        ok(seed and not missing, f"every command of the original was typed, in its order ({len(seed)})", missing)

    # Symptoms
    r = s.find("stella scan image --image <image-ref> --format purls")
    ok(r["exit"] == 1 and "out of memory" in (r["err"] + r["out"]).lower() or r["exit"] == 1 and "oom" in r["err"], "the scan fails and says of what", r)
    r = s.find("stella scanner workers inspect")
    ok("exit_code:    137" in r["out"] and "oom" in r["out"], "the worker died with 137, of memory", r)
    before, after = text("metrics.before"), text("metrics.after")
    ok(restarts(after, "oom") > restarts(before, "oom"), 'scanner_worker_restarts_total{reason="oom"} has increased', after[-1500:])
    fires = alert_fires(before, after)
    if fires is None:
        ok(True, "alert ScannerWorkerOOM # SKIP no promtool")
    else:
        ok(fires[0], "alert ScannerWorkerOOM fires on what was scraped", fires[1])

    # Diagnosis
    r = s.find("stella scanner jobs list --status failed --last 1h")
    ok(r["exit"] == 0 and re.search(r"/data/large.tar.*failed +oom", r["out"]), "jobs list finds the image", r)
    r = s.find("stella image inspect")
    ok(r["exit"] == 0 and r["out"].strip().isdigit() and int(r["out"]) > 1 << 20, "its size", r)
    r = s.find("stella scanner config get worker.memory_limit")
    ok(r["out"] == "128Mi\n", "the limit", r)
    r = s.find("stella scan image --image <image-ref> --profile-memory")
    ok(r["exit"] == 1 and "profile incomplete: worker killed by the kernel at its limit of 128.0Mi" in r["err"], "a profile of a scan that dies says where", r)
    r = s.find('stella scanner logs --filter "sbom"')
    ok(r["exit"] == 0 and re.search("memory allocation failed|heap exhausted|out of memory", r["out"]), "the log has the words to look for", r)
    r = s.find("stella image layers")
    ok(r["exit"] == 0 and len(r["out"].splitlines()) >= 5, "its layers by size", r)

    # Resolution
    r = s.find("stella scanner config set worker.memory_limit 8Gi")
    ok(r["exit"] == 0 and "workers restart" in r["err"] + r["out"], "a limit over the host's memory is taken, and what is needed next is said", r)
    r = s.find("stella scanner workers restart")
    ok(r["exit"] == 0, "the workers restart", r)
    r = s.find("stella scan image --image <image-ref> --retry")
    ok(r["exit"] == 0 and "complete" in r["out"] + r["err"] or r["exit"] == 0, "the retry succeeds", r)
    r = s.find("stella scanner workers add")
    ok(r["exit"] == 0 and "16" in r["out"] + r["err"], "a pool for large images, larger than the host, with a warning", r)
    for key in ("routing.large_image_threshold 2Gi", "routing.large_image_pool large-images", "sbom.incremental_mode true",
                "cache.layer_dedup true", "sbom.streaming_threshold 1Gi"):
        r = s.find("stella scanner config set " + key)
        ok(r["exit"] == 0, "config set " + key, r)

    # Verification
    r = s.find("stella scan image --image <image-ref>", 4)
    ok(r["command"] == "stella scan image --image <image-ref>" and r["exit"] == 0, "the scan that failed succeeds", r)
    r = s.find("timeout -s INT 5 stella scanner workers stats --watch")
    ok(r["exit"] in (0, 124) and "large-images-1" in r["out"] and "default-1" in r["out"], "workers stats --watch, until Ctrl-C", r)
    r = s.find('stella scanner logs --filter "out of memory" --last 1h')
    ok(r["exit"] == 0 and len(r["out"].splitlines()) == 2, "the log of the last hour has the two deaths and nothing else with these words", r)
    r = s.find('stella scanner logs --filter "out of memory" --since-restart')
    ok(r["exit"] == 0 and r["out"] == "", "and none since the restart", r)

    # Beyond the runbook
    try:
        jobs = json.loads(s.find("stella scanner jobs list --format json")["out"])
    except ValueError:
        jobs = []
    ok(jobs and jobs[0]["status"] == "completed" and jobs[0]["pool"] == "large-images", "an image over the threshold goes to the large pool", jobs[:1])
    done = [j for j in jobs if j["status"] == "completed" and j["attempt"] > 1]
    ok(done and done[0]["resumedFrom"], "the retry went on from the checkpoint of the dead attempt", jobs)
    a = s.find("stella scan image --image <image-ref> --format cyclonedx-json")
    b = s.find("stella scan image --image <image-ref> --local --cache off --format cyclonedx-json")
    ok(a["exit"] == 0 and b["exit"] == 0 and a["out"] == b["out"] and len(a["out"]) > 10000, "the same bytes as a scan without the service", (a["err"], b["err"]))
    r = s.find("stella doctor")
    ok("memory-usage" in r["out"] and re.search("warn|fail", r["out"]), "doctor remembers the deaths of the last hour", r)
    if serve.failures:
        print("# " + log[-3000:].replace("\n", "\n# "))
        print("# " + text("serve.log")[-3000:].replace("\n", "\n# "))


def main():
    build, kernel = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "6.12"
    if not os.environ.get("ST_FULL"):
        skip("slow: make check-vm, or ST_FULL=1")
    can_boot(kernel)
    if not shutil.which("jq"):
        skip("jq is missing")
    if os.environ.get("STELLA_RUNBOOK_OUT"):  # to look at afterwards
        out = os.environ["STELLA_RUNBOOK_OUT"]
        os.makedirs(out, exist_ok=True)
        r = boot(build, kernel, out)
        ok(r.returncode == 0, f"the guest ran (Linux {kernel})", r.stdout[-3000:])
        judge(out, r.stdout)
    else:
        with tempfile.TemporaryDirectory(prefix="stella-runbook-out.") as out:
            r = boot(build, kernel, out)
            ok(r.returncode == 0, f"the guest ran (Linux {kernel})", r.stdout[-3000:])
            judge(out, r.stdout)
    print(f"1..{serve.count}")
    sys.exit(1 if serve.failures else 0)


main()
