#!/usr/bin/env python3
"""What the person on call sees: doctor, metrics, alerts, dashboard, units, manifests, and documents whose commands exist.
ops.py TEST STELLA STELLA_API. Speaks TAP."""
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.abspath(os.path.join(HERE, "..", ".."))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "service"), os.path.join(HERE, "..", "kubernetes"), os.path.join(HERE, "..", "act"),
                os.path.join(HERE, "..", "e2e")]
import socket_client  # noqa: E402
import tap  # noqa: E402
from tap import ok  # noqa: E402

TEST, STELLA, API = sys.argv[1], os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])
DEPLOY = os.path.join(SOURCE, "deploy")
WORK = tempfile.mkdtemp(prefix="stella-ops-")
ENV = {k: v for k, v in os.environ.items() if not k.startswith("STELLA_")}
ENV.update(STELLA_HOME=WORK + "/home", LC_ALL="C.UTF-8")
TOKEN = "read-token-0123456789abcdef"
REASONS = ["oom", "memory_stall", "timeout", "sbom_failed", "registry_auth", "corrupt_layer", "bad_input", "not_found", "source_gone",
           "limit", "crash", "killed", "retryable", "internal", "strict"]
RESTARTS = ["oom", "memory_stall", "crash", "killed", "timeout", "manual", "config"]


def sh(*args, **kw):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300, **kw)


def stella(*args, env=None):
    r = subprocess.run([STELLA, *args], env={**ENV, **(env or {})}, capture_output=True, text=True, timeout=120, check=False)
    return r.returncode, r.stdout, r.stderr


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as f:
        return f.read()


def write(name, text):
    with open(os.path.join(WORK, name), "w", encoding="utf-8") as f:
        f.write(text)
    return os.path.join(WORK, name)


def tool(package, path):
    r = subprocess.run([os.path.join(SOURCE, "tools", "deb-tool"), package, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                       text=True, check=False)
    return r.stdout.strip() if r.returncode == 0 else None


class Service:
    def __init__(self):
        tokens = write("tokens", f"read prometheus {TOKEN}\n")
        os.chmod(tokens, 0o600)
        self.p = subprocess.Popen([API, "--listen", "127.0.0.1:0", "--tokens", tokens], env=ENV, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True)
        line = self.p.stderr.readline()
        self.port = int(re.search(r"port (\d+)", line).group(1))

    def metrics(self):
        q = urllib.request.Request(f"http://127.0.0.1:{self.port}/metrics", headers={"Authorization": "Bearer " + TOKEN})
        with urllib.request.urlopen(q, timeout=20) as r:
            return r.read().decode()

    def end(self):
        self.p.send_signal(signal.SIGTERM)
        return self.p.wait(20)


class Client(socket_client.Client):
    def __init__(self):
        super().__init__(ENV["STELLA_HOME"] + "/stella.sock")

    def job(self, image, pool="default", **end):
        self.must("scans.submit", image=image, pool=pool)
        got = self.must("queue.claim", pool=pool, worker="h/w", leaseMs=60000, memoryLimit=1 << 30)[0]
        return self.must("job.finish", id=got["id"], fence=got["fence"], **end)


def sample(text, series):
    """The value of a series as it is written in the exposition."""
    m = re.search("^" + re.escape(series) + r" (\S+)$", text, re.M)
    return float(m.group(1)) if m else None


# ---- alerts and dashboard -----------------------------------------------------------------------

def test_rules():
    promtool = tool("prometheus", "usr/bin/promtool")
    if not promtool:
        return tap.skip("rules", "no promtool")
    import yaml
    at = os.path.join(DEPLOY, "prometheus")
    for verb, name in [("check", "rules.yml"), ("test", "rules.test.yml")]:
        r = sh(promtool, verb, "rules", name, cwd=at)
        ok(r.returncode == 0, f"promtool {verb} rules {name}", r.stdout)
    rules = yaml.safe_load(read("deploy", "prometheus", "rules.yml"))
    alerts = rules["groups"][0]["rules"]
    names = {a["alert"] for a in alerts}
    for wanted in ["ScannerWorkerOOM", "ScannerWorkerMemory", "ScannerWorkerStuck", "ScannerQueueBacklog", "ScannerTimeoutExceeded",
                   "ScannerSbomGenerationFailed", "ScannerRegistryAuthFailed", "ScannerDeadLetters", "ScannerApiDown"]:
        ok(wanted in names, f"{wanted} is there")
    for i, a in enumerate(alerts):
        book = a["annotations"]["runbook"]
        ok(os.path.exists(os.path.join(SOURCE, book)), f"{a['alert']}: {book} is there")
        # The tests can fail: without this alert, without its patience.
        for what, change in [("without it", None), ("at once", {"for": "0s"})]:
            if change and "for" in change and "for" not in a:
                continue
            broken = json.loads(json.dumps(rules))
            mine = broken["groups"][0]["rules"]
            if change:
                mine[i].update(change)
            else:
                del mine[i]
            d = os.path.join(WORK, "broken")
            os.makedirs(d, exist_ok=True)
            write("broken/rules.yml", yaml.safe_dump(broken))
            shutil.copy(os.path.join(at, "rules.test.yml"), d)
            ok(sh(promtool, "test", "rules", "rules.test.yml", cwd=d).returncode != 0, f"the tests notice {a['alert']} {what}")
    return None


def test_dashboard():
    d = json.loads(read("deploy", "grafana", "scanner-memory.json"))
    panels = [p for p in d["panels"] if p["type"] != "row"]
    ids = [p["id"] for p in d["panels"]]
    ok(d["title"] == "Scanner Memory" and "folder: Stella Ops" in read("deploy", "grafana", "provisioning.yml"), "Stella Ops > Scanner Memory")
    ok(len(set(ids)) == len(ids) and all(p["targets"] and all(x["expr"] for x in p["targets"]) for p in panels), "panels are whole")
    boxes = [p["gridPos"] for p in d["panels"]]
    clash = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and
             a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]]
    ok(not clash and all(b["x"] + b["w"] <= 24 for b in boxes), "panels do not overlap", str(clash))
    ok({v["name"] for v in d["templating"]["list"]} >= set(re.findall(r"\$\{?(\w+)", json.dumps(d["panels"]))), "every variable is defined")
    promtool = tool("prometheus", "usr/bin/promtool")
    if not promtool:
        return tap.skip("expressions", "no promtool")
    exprs = [x["expr"] for p in panels for x in p["targets"]] + [a["expr"] for a in d["annotations"]["list"]]
    for e in exprs:
        group = {"groups": [{"name": "x", "rules": [{"record": "x", "expr": e.replace("$instance", ".*").replace("$pool", ".*")}]}]}
        r = sh(promtool, "check", "rules", write("dash.yaml", json.dumps(group)))
        ok(r.returncode == 0, "parses: " + e, r.stdout)
    return None


def metric_names(text):
    return set(re.findall(r"\bscanner_[a-z_]+", text))


# ---- metrics ------------------------------------------------------------------------------------

def test_metrics():
    s = Service()
    first = s.metrics()
    for series in ([f'scanner_jobs_failed_total{{reason="{r}"}}' for r in REASONS] +
                   [f'scanner_worker_restarts_total{{reason="{r}",pool="default"}}' for r in RESTARTS] +
                   ["scanner_scan_timeout_total", "scanner_sbom_generation_failures_total", "scanner_jobs_pending",
                    "scanner_queue_enqueued_total", "scanner_queue_retry_total", "scanner_queue_deadletter_total",
                    "scanner_cache_hits_total", "scanner_cache_misses_total", "scanner_read_bytes_total",
                    'scanner_phase_duration_seconds_count{phase="layers"}', "scanner_queue_latency_seconds_count"]):
        ok(sample(first, series) == 0, f"from 0 on: {series}")
    c = Client()
    c.must("workers.report", id="h/large-1", pool="large", state="busy", job="a" * 32, memory=300, memoryLimit=1000, memoryPeak=900,
           fileBytes=600, eventsMax=7)
    c.job("a:1", status="completed", peakBytes=20 << 20, phases={"resolve": 100, "layers": 1500, "merge": 20, "write": 5, "else": 7},
          packages=12, unknowns=2, layersCached=3, layersTotal=10, bytesRead=12345678901)
    c.job("b:1", status="failed", reason="timeout", exitCode=1)
    c.job("c:1", status="failed", reason="sbom_failed", exitCode=1, again=True)
    c.job("d:1", status="failed", reason="registry_auth", exitCode=3)
    c.must("workers.restarted", pool="default", reason="oom")
    c.must("workers.restarted", pool="large", reason="memory_stall")
    text = s.metrics()
    for _ in range(100):  # the host's CPU is known after two looks
        if "scanner_host_cpu" in text:
            break
        time.sleep(0.1)
        text = s.metrics()
    worker = '{worker="h/large-1",pool="large"}'
    for series, want in [
        ("scanner_queue_enqueued_total", 4), ("scanner_jobs_completed_total", 1), ("scanner_queue_retry_total", 1),
        ('scanner_jobs_failed_total{reason="timeout"}', 1), ("scanner_scan_timeout_total", 1),
        ("scanner_sbom_generation_failures_total", 1), ('scanner_jobs_failed_total{reason="registry_auth"}', 1),
        ('scanner_worker_restarts_total{reason="oom",pool="default"}', 1),
        ('scanner_worker_restarts_total{reason="memory_stall",pool="large"}', 1),
        ("scanner_worker_memory_usage_bytes" + worker, 300), ("scanner_worker_memory_limit_bytes" + worker, 1000),
        ("scanner_worker_memory_file_bytes" + worker, 600), ("scanner_worker_memory_peak_bytes" + worker, 900),
        ("scanner_worker_memory_events_max" + worker, 7), ("scanner_worker_up" + worker, 1), ("scanner_worker_busy" + worker, 1),
        ('scanner_pool_memory_peak_bytes{pool="large"}', 900), ("scanner_packages_total", 12), ("scanner_unknowns_total", 2),
        ("scanner_cache_hits_total", 3), ("scanner_cache_misses_total", 7), ("scanner_read_bytes_total", 12345678901),
        ('scanner_phase_duration_seconds_sum{phase="layers"}', 1.5), ('scanner_phase_duration_seconds_bucket{phase="layers",le="5"}', 1),
        ('scanner_phase_duration_seconds_bucket{phase="layers",le="1"}', 0), ('scanner_phase_duration_seconds_count{phase="other"}', 1),
        ('scanner_job_memory_peak_bytes_bucket{le="16777216"}', 0), ('scanner_job_memory_peak_bytes_bucket{le="33554432"}', 1),
        ('scanner_job_memory_peak_bytes_bucket{le="+Inf"}', 1), ("scanner_queue_latency_seconds_count", 4),
        ('scanner_job_duration_seconds_count{status="completed"}', 1), ('scanner_job_duration_seconds_count{status="failed"}', 3),
    ]:
        ok(sample(text, series) == want, f"{series} is {want}", str(sample(text, series)))
    promtool = tool("prometheus", "usr/bin/promtool")
    for what, t in [("an idle service", first), ("a busy one", text)]:
        if promtool:
            r = subprocess.run([promtool, "check", "metrics"], input=t, capture_output=True, text=True, check=False)
            ok(r.returncode == 0 and not r.stderr, f"promtool takes the metrics of {what}", r.stderr)
    # What alerts, dashboard and documents name is exported.
    families = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    exported = families | {m.group(1) for m in re.finditer(r"^(scanner_[a-z_]+)", text, re.M)}
    documents = ["deploy/prometheus/rules.yml", "deploy/prometheus/rules.test.yml", "deploy/grafana/scanner-memory.json",
                 *(f"docs/runbooks/{f}" for f in os.listdir(os.path.join(SOURCE, "docs", "runbooks"))), "docs/user-guide.md"]
    for d in documents:
        if os.path.exists(os.path.join(SOURCE, d)):
            ok(metric_names(read(d)) <= exported, f"{d}: only metrics that there are", str(metric_names(read(d)) - exported))
    shown = metric_names(read("deploy", "grafana", "scanner-memory.json"))
    missing = {f for f in families if not any(x.startswith(f) for x in shown)} - {
        "scanner_jobs_completed_total", "scanner_worker_up"}
    ok(not missing, "the dashboard shows every metric", str(missing))
    rows = c.must("metrics.read")
    ok({r["name"] for r in rows} == {m.group(1) for m in re.finditer(r"^(scanner_[a-z_]+)", text, re.M)}, "metrics.read has the same")
    ok([r["value"] for r in rows if r["name"] == "scanner_read_bytes_total"] == [12345678901], "and the same values")
    ok(s.end() == 0, "end")


# ---- doctor -------------------------------------------------------------------------------------

def doctor(*args, env=None):
    code, out, err = stella("doctor", *args, "--format", "json", env=env)
    return code, {c["check"]: c for c in json.loads(out)["checks"]} if out else {}, err


def schema():
    try:
        import jsonschema
        return jsonschema.Draft202012Validator(json.loads(read("docs", "schema", "doctor.schema.json")))
    except (ImportError, AttributeError):
        return None


def test_doctor():
    code, out, err = stella("doctor", "--quick")
    ok(code in (0, 1) and "no service runs here" in out and re.search(r"^\d+ checks: ", out, re.M), "a laptop without a service", out + err)
    ok(not os.path.exists(ENV["STELLA_HOME"]), "and nothing is made")
    code, found, _ = doctor("--check", "check.storage.store", "--check", "scanner.queue")
    ok(code == 0 and list(found) == ["check.scanner.queue", "check.storage.store"], "two checks", str(found))
    for id_, text in [("check.scanner.memory-usag", "did you mean check.scanner.memory-usage?"), ("quark", "stella doctor list shows them")]:
        code, out, err = stella("doctor", "run", "--check", id_)
        ok(code == 2 and text in err and not out and err.count("\n") == 1, f"unknown id {id_}: {err.strip()}")
    code, out, err = stella("doctor", "--severity", "fial")
    ok(code == 2 and "pass, skip, warn, fail" in err, "unknown severity: " + err.strip())
    code, out, _ = stella("doctor", "list", "--format", "json")
    ids = [c["check"] for c in json.loads(out)]
    ok(code == 0 and ids == sorted(ids) and len(ids) >= 13, "doctor list")
    validator = schema()
    _, out, _ = stella("doctor", "--format", "json")
    if validator:
        ok(validator.is_valid(json.loads(out)), "JSON as docs/schema says", str([e.message for e in validator.iter_errors(json.loads(out))]))
    else:
        tap.skip("JSON as docs/schema says", "no jsonschema")
    for f in ["table", "markdown", "text"]:
        _, out, _ = stella("doctor", "--quick", "--format", f)
        ok(all(i in out for i in ids), f"--format {f} has every check", out)
    s = Service()
    c = Client()
    c.must("workers.report", id="h/default-1", pool="default", state="idle", memory=1 << 20, memoryLimit=4 << 30, enforced="cgroup")
    code, found, _ = doctor("--quick", "--severity", "fail,warn")
    scanner = [i for i, c_ in found.items() if not i.startswith(("check.host", "check.storage.state")) and "CPUs" not in c_["message"]]
    ok(not scanner, "a service that is well: nothing of it fails or warns", str(found))
    c.must("workers.report", id="h/default-1", pool="default", state="busy", job="a" * 32, memory=95 << 20, memoryLimit=100 << 20,
           enforced="rlimit", progressAt="2020-01-01T00:00:00Z")
    for _ in range(4):
        c.job("a:1", status="failed", reason="registry_auth", exitCode=3)
    c.job("b:1", status="failed", reason="oom", exitCode=137)
    c.job("c:1", status="failed", reason="sbom_failed", exitCode=1)
    c.job("d:1", status="failed", reason="timeout", exitCode=1)
    c.must("scans.submit", image="large:1", pool="nobody")
    code, found, err = doctor()
    ok(code == 1 and "checks failed" in err, "a service that is ill: exit 1", err)
    for id_, want, evidence in [
        ("check.scanner.memory-usage", "fail", {"memory_utilization": 95, "memory_deaths": 1, "jobs_without_a_pool": 1}),
        ("check.scanner.queue", "fail", {"queue_depth": 1, "stuck_jobs": 1, "failed_jobs": 7, "failure_rate": 100}),
        ("check.scanner.worker-health", "fail", {"stuck_jobs": 1, "active_workers": 1}),
        ("check.scanner.resources", "fail", {"memory_utilization": 95, "memory_used_mb": 95, "total_workers": 1, "idle_workers": 0}),
        ("check.scanner.registry-auth", "fail", {"auth_failures": 4}), ("check.scanner.sbom", "fail", {"failed_generations": 1}),
        ("check.scanner.sbom-generation", "fail", {"success_rate": 0}), ("check.scanner.timeout-rate", "warn", {"timeouts": 1}),
        ("check.host.cgroup", "warn", {"workers_without_cgroup": 1}), ("check.storage.postgres", "skip", {}),
    ]:
        c_ = found[id_]
        ok(c_["result"] == want and all(c_["evidence"][k] == v for k, v in evidence.items()), f"{id_}: {want}, {c_['message']}", str(c_))
        for command in c_["remediation"]:
            ok(want == "skip" or parses(command) is None, f"  {command}", parses(command) or "")
    code, _, _ = doctor("--check", "check.scanner.timeout-rate")
    ok(code == 0, "a warning alone: exit 0")
    code, _, _ = doctor("--check", "check.scanner.timeout-rate", "--severity", "warn")
    ok(code == 1, "a warning and --severity warn: exit 1")
    bundle(c)
    ok(s.end() == 0, "end")


def bundle(c):
    secret = "hunter2-0123456789"
    c.must("logs.add", level="error", component="registry", message=f"GET https://me:{secret}@registry.example/v2/ refused: Bearer {secret}")
    c.job("e:1", status="failed", reason="internal", message=f"postgresql://stella:{secret}@db/stella went away")
    env = {"STELLA_TOKEN": secret}
    path = WORK + "/bundle.tar"
    code, out, err = stella("doctor", "export", "--output", path, "--include-logs", env=env)
    ok(code == 0 and not out and os.stat(path).st_mode & 0o777 == 0o600, "export: mode 0600", err)
    with tarfile.open(path) as t:
        names = t.getnames()
        texts = {n: t.extractfile(n).read().decode() for n in names}
    ok(names[:3] == ["README.txt", "doctor.md", "doctor.json"] and names[-1] == "logs.ndjson" and len(names) >= 15, "files in their order",
       str(names))
    ok(not [n for n, x in texts.items() if secret in x], "no secret in it", str([n for n, x in texts.items() if secret in x]))
    ok("registry.example" in texts["logs.ndjson"] and "STELLA_TOKEN is set" in texts["environment.txt"], "but what helps is")
    ok('"error"' not in texts["workers.json"] + texts["config.json"] + texts["queue.json"] and "scanner_jobs_pending" in texts["metrics.txt"],
       "answers, not errors")
    for n in names:
        if n.endswith(".json"):
            ok(json.loads(texts[n]) is not None, n + " is JSON")
    code, _, err = stella("doctor", "export", "--output", WORK + "/again.tar", "--quick")
    with tarfile.open(WORK + "/again.tar") as t:
        ok(t.getnames() == names[:-1], "without --include-logs: no log")
    for what, args, want in [("a zip", ["--output", WORK + "/b.zip"], 2), ("no such directory", ["--output", WORK + "/no/b.tar"], 1),
                             ("a full disk", ["--output", "-"], 1)]:
        with open("/dev/full", "wb") as full:
            r = subprocess.run([STELLA, "doctor", "export", "--quick", *args], env=ENV, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        ok(r.returncode == want and r.stderr.count("\n") == 1, f"{what}: exit {want}, {r.stderr.strip()}")
    ok(not [f for f in os.listdir(WORK) if f.endswith(".part")], "nothing half is left")


# ---- documents ----------------------------------------------------------------------------------


def parses(command):
    """None when every stella command of this shell line parses, else what stella says."""
    command = command.split("   #")[0]
    inner = re.search(r'"\$\((.*)\)"', command)
    if inner:
        why = parses(inner.group(1))
        if why:
            return why
        command = command.replace(inner.group(0), "0123456789ab")
    for part in re.split(r"\s*(?:&&|\|\||[|;])\s*", command):
        try:
            words = shlex.split(part, comments=True)
        except ValueError as e:
            return str(e)
        while words and re.match(r"[A-Za-z_]+=", words[0]):
            words.pop(0)
        if not words or words[0] != "stella":
            continue
        words = [w for i, w in enumerate(words) if not re.match(r"\d?[<>]", w) and not re.match(r"\d?>$", words[i - 1])]
        r = subprocess.run([STELLA, "--parse-only", *words[1:]], env=ENV, capture_output=True, text=True, check=False)
        if r.returncode:
            return r.stderr
        keys = words[1:4] in (["scanner", "config", "set"], ["scanner", "config", "get"], ["scanner", "config", "unset"])
        if keys and stella("scanner", "config", "get", words[4], env={"STELLA_HOME": WORK + "/nothing"})[0]:
            return f"no key {words[4]}"
    return None


def commands(text):
    """Lines of code blocks (indented or fenced), prompts taken off, continued lines joined; and commands in running text."""
    text = text.replace("\\\n", " ")
    for line in text.split("\n"):
        m = re.match(r"^(?: {4,}|\t)?(?:\$ )?(?:[A-Z_]+=\S+ )*((?:[a-z]\S* .*\| )?stella [a-z-]+(?![a-z:-]).*)$", line)
        if m and not line.startswith("stella "):
            yield m.group(1)
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S):
        for line in block.split("\n"):
            m = re.match(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(stella [a-z-].*)$", line)
            if m:
                yield m.group(1)
    for code in re.findall(r"`(stella [a-z-][^`\n]*)`", text):
        yield code


def test_documents():
    books = sorted(f for f in os.listdir(os.path.join(SOURCE, "docs", "runbooks")) if f.startswith("scanner-"))
    ok({"scanner-oom.md", "scanner-worker-stuck.md", "scanner-timeout.md", "scanner-registry-auth.md",
        "scanner-sbom-generation-failed.md"} <= set(books), "the runbooks are there", str(books))
    total = 0
    for d in [f"docs/runbooks/{b}" for b in books] + ["docs/user-guide.md", "README.md", "deploy/README.md", "deploy/container/README.md",
                                                      "deploy/kubernetes/README.md", "deploy/prometheus/rules.yml"]:
        text = read(*d.split("/"))
        if d.endswith(".yml"):
            text = "\n".join("    " + c for c in re.findall(r"Begin with: (stella [^\"]*)", text))
        seen = sorted(set(commands(text)))
        total += len(seen)
        for c in seen:
            shown = re.sub(r"<[a-z-]+>", "app.tar", c)
            why = parses(shown)
            ok(why is None, f"{d}: {c}", why or "")
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            if not link.startswith("http"):
                ok(os.path.exists(os.path.join(SOURCE, os.path.dirname(d), link)), f"{d}: {link} is there")
    ok(total >= 60, f"{total} commands")
    ok(parses("stella scanner jobs lst") is not None and parses("stella scanner jobs list --stauts failed") is not None and
       parses("stella scanner config set worker.memlimit 1Gi") is not None, "the test can fail")


# ---- units, images, manifests ---------------------------------------------------------------------

def test_unit():
    if not shutil.which("systemd-analyze"):
        return tap.skip("systemd unit", "no systemd-analyze")
    text = read("deploy", "systemd", "stella.service").replace("/usr/bin/stella serve", "/bin/true serve")
    text = "\n".join(x for x in text.split("\n") if not x.startswith("Documentation="))
    at = write("stella.service", text)
    r = sh("systemd-analyze", "verify", at)
    ok(r.returncode == 0 and not [x for x in r.stdout.split("\n") if "stella.service" in x], "systemd-analyze verify", r.stdout)
    r = sh("systemd-analyze", "security", "--offline=true", "--threshold=35", at)
    ok(r.returncode == 0, "systemd-analyze security: exposure at most 3.5", r.stdout[-2000:])
    ok("Delegate=yes" in text and "RestrictNamespaces=" not in text and "ProtectControlGroups=" not in text, "cgroups can be made")
    root = os.path.join(WORK, "root")
    for d in ["usr/lib/sysusers.d", "usr/lib/tmpfiles.d", "etc"]:
        os.makedirs(os.path.join(root, d))
    for kind, program in [("sysusers", ["systemd-sysusers"]), ("tmpfiles", ["systemd-tmpfiles", "--create"])]:
        shutil.copy(os.path.join(DEPLOY, "systemd", f"stella.{kind}.conf"), os.path.join(root, "usr", "lib", kind + ".d", "stella.conf"))
        if os.geteuid() == 0 and shutil.which(program[0]):
            r = sh(*program, "--root", root)
            ok(r.returncode == 0 and "stella.conf" not in r.stdout, " ".join(program), r.stdout)
        else:
            tap.skip(" ".join(program), "not root, or not installed")
    if os.path.exists(os.path.join(root, "var/lib/stella")):
        ok(os.stat(os.path.join(root, "var/lib/stella")).st_mode & 0o777 == 0o700, "the state directory is private")
    return None


def serve_options():
    return set(re.findall(r"--[a-z-]+", stella("serve", "--help")[1]))


def test_manifests():
    import yaml
    options = serve_options()
    compose = yaml.safe_load(read("deploy", "container", "compose.yaml"))
    given = {w.split("=")[0] for w in compose["services"]["scanner"]["command"] if w.startswith("--")}
    ok(given and given <= options, "compose.yaml: options of stella serve", str(given - options))
    ok(set(compose["services"]["scanner"]["secrets"]) <= set(compose["secrets"]), "compose.yaml: its secrets are defined")
    docs = {f: list(yaml.safe_load_all(read("deploy", "kubernetes", f))) for f in ["service.yaml", "postgresql.yaml", "servicemonitor.yaml"]}
    for f, all_ in docs.items():
        for d in all_:
            pod = d.get("spec", {}).get("template", {}).get("spec", {})
            for c in pod.get("containers", []):
                given = {a.split("=")[0] for a in c["args"] if a.startswith("--")}
                ok(c["args"][0] == "serve" and given <= options, f"{f}: options of stella serve", str(given - options))
                mounts = {m["name"] for m in c["volumeMounts"]}
                claims = {v["metadata"]["name"] for v in d["spec"].get("volumeClaimTemplates", [])}
                ok(mounts == {v["name"] for v in pod["volumes"]} | claims, f"{f}: every mount is a volume, and the other way round")
    for name in ["github-actions.yml", "gitlab-ci.yml"]:
        text = read("deploy", "ci", name)
        ok("deploy/ci/gate ./app.tar" in text and yaml.safe_load(text), f"{name} is YAML and calls the gate")
    env = read("deploy", "systemd", "stella.env")
    ok(set(re.findall(r"--[a-z-]+", env)) <= options, "stella.env: options of stella serve")
    apiserver(docs)


def apiserver(docs):
    if os.environ.get("ST_FULL") != "1":
        return tap.skip("manifests and a real API server", "ST_FULL is not 1")
    from cluster import Cluster
    built = sh(os.path.join(HERE, "..", "kubernetes", "build-apiserver"), env=os.environ)
    etcd = tool("etcd-server", "usr/bin/etcd")
    if built.returncode or not etcd:
        return tap.skip("manifests and a real API server", "neither Go nor etcd")
    os.mkdir(os.path.join(WORK, "cluster"))
    cluster = Cluster(os.path.join(WORK, "cluster"), etcd, built.stdout.strip().split("\n")[-1])
    try:
        if not ok(cluster.wait(), "the API server is ready", cluster.log("apiserver")):
            return None
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "stella"}})
        for f in ["service.yaml", "postgresql.yaml"]:
            for d in docs[f]:
                try:
                    cluster.apply(d, dry=d["kind"] != "Namespace")
                    ok(True, f"{f}: the API server takes the {d['kind']}")
                except RuntimeError as e:
                    ok(False, f"{f}: the API server takes the {d['kind']}", str(e))
        broken = json.loads(json.dumps(next(d for d in docs["service.yaml"] if d["kind"] == "StatefulSet")))
        broken["spec"]["template"]["spec"]["containers"][0]["resorces"] = {}
        try:
            cluster.apply(broken, dry=True)
            ok(False, "it refuses an unknown field")
        except RuntimeError:
            ok(True, "it refuses an unknown field")
    finally:
        cluster.stop()
    return None


def test_image():
    build = os.path.dirname(STELLA)
    if not all(os.path.exists(os.path.join(build, p)) for p in ["stella-analyze", "stella-fetch", "stella-watchdog"]):
        return tap.skip("image", "not everything is built")
    root = os.path.join(WORK, "image")
    r = sh(os.path.join(DEPLOY, "container", "collect-service"), root, build)
    ok(r.returncode == 0 and os.path.exists(root + "/usr/bin/stella-api"), "collect-service", r.stdout)
    if os.geteuid() != 0:
        return tap.skip("the image's root starts", "not root")
    for program in ["stella", "stella-api", "stella-fetch"]:
        r = sh("chroot", "--userspec=10001:10001", root, "/usr/bin/" + program, "--version",
               env={"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0", "STELLA_HOME": "/var/lib/stella"})
        ok(program in r.stdout and r.returncode in (0, 2), f"{program} starts in a root of its own", r.stdout)
    podman = shutil.which("podman")
    if not podman or os.environ.get("ST_FULL") != "1":
        return tap.skip("podman builds the image", "no podman, or ST_FULL is not 1")
    # The last stage as it is, on the root that was collected here: the first needs a registry.
    final = read("deploy", "container", "Containerfile").split("FROM scratch AS service")[1].replace("--from=build /root-of-image", "image")
    write("Containerfile", "FROM scratch AS service" + final)
    r = sh(podman, "--root", WORK + "/storage", "--runroot", WORK + "/run", "--storage-driver", "vfs", "build", "--isolation", "chroot", "-q",
           "-f", WORK + "/Containerfile", WORK)
    return ok(r.returncode == 0, "podman builds the last stage", r.stdout)


def test_gate():
    gate = os.path.join(DEPLOY, "ci", "gate")
    bin_ = os.path.join(WORK, "bin")
    os.mkdir(bin_)

    def run(*codes):
        write("codes", "\n".join(map(str, codes)) + "\n")
        write("bin/stella", f'#!/bin/sh\ncd {WORK}\necho "$@" >>calls\ncode=$(head -n 1 codes)\nsed -i 1d codes\nexit "$code"\n')
        os.chmod(bin_ + "/stella", 0o755)
        write("calls", "")
        r = sh(gate, "./app.tar", "out.json", env={**ENV, "PATH": bin_ + ":" + os.environ["PATH"], "GATE_WAIT": "0"})
        with open(WORK + "/calls", encoding="utf-8") as f:
            return r, f.read().splitlines()
    for codes, want, tries in [([0], 0, 1), ([1], 1, 1), ([10, 0], 0, 2), ([10, 10, 10], 10, 3), ([4], 4, 1), ([10, 1], 1, 2)]:
        r, calls = run(*codes)
        ok(r.returncode == want and len(calls) == tries and ("released" in r.stdout) == (want == 0), f"stella exits {codes}: gate {want}", r.stdout)
        why = parses("stella " + calls[0])
        ok(why is None and "--strict" in calls[0], f"it calls: stella {calls[0]}", why or "")
    live_gate(gate)


def live_gate(gate):
    """With the program itself: in its own process, and by a service."""
    from images import Image, egg, tar
    good = [("etc/os-release", b"ID=debian\nVERSION_ID=12\n"), ("usr/lib/python3/dist-packages/a.egg-info", egg("a"))]
    for name, entries in ("good", good), ("bad", good + [("usr/lib/node_modules/x/package.json", b'{"name": "x", "version": ')]):
        with open(os.path.join(WORK, name + ".tar"), "wb") as f:
            f.write(Image([tar(entries)]).docker_archive())
    env = {**ENV, "PATH": os.path.dirname(STELLA) + ":" + os.environ["PATH"]}
    for where in ["in its own process"] + ([] if "asan" in STELLA else ["by a service"]):  # workers run under RLIMIT_DATA
        if where == "by a service":
            with open(os.path.join(WORK, "serve.log"), "w", encoding="utf-8") as log:
                serve = subprocess.Popen([STELLA, "serve"], env=env, stdout=log, stderr=log)
            for _ in range(300):
                if "ready:" in read(WORK, "serve.log"):
                    break
                time.sleep(0.1)
        for name, code, word in ("good", 0, "released"), ("bad", 1, "blocked"), ("gone", 4, "blocked"):
            out = os.path.join(WORK, name + ".json")
            r = sh(gate, f"./{name}.tar", out, env=env, cwd=WORK)
            ok(r.returncode == code and f"gate: {word}: ./{name}.tar" in r.stdout and os.path.exists(out) == (name != "gone") and
               ("is with the service" in r.stdout) == (where == "by a service" and name != "gone"), f"{where}: {name}.tar: exit {code}, {word}", r.stdout)
    if "asan" not in STELLA:
        serve.terminate()
        serve.wait(60)


try:
    globals()["test_" + TEST]()
finally:
    shutil.rmtree(WORK, ignore_errors=True)
tap.done()
