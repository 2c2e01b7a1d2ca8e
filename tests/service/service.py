"""The service as its users see it: service.py TEST STELLA STELLA_API. Speaks TAP. STELLA_TEST_POSTGRES: on that server."""
import json, os, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time, urllib.error, urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import socket_client
import tap
from tap import ok

TEST, STELLA, API = sys.argv[1], *map(os.path.abspath, sys.argv[2:4])
WORK = tempfile.mkdtemp(prefix="stella-service-")
ADMIN, READ, SUBMIT = "admin-token-0123456789abcdef", "read-token-0123456789abcdef", "submit-token-0123456789abcdef"
ENV = {k: v for k, v in os.environ.items() if not k.startswith("STELLA_")}
ENV.update(STELLA_HOME=WORK + "/home", LC_ALL="C.UTF-8")
if os.environ.get("STELLA_TEST_POSTGRES"):
    ENV["STELLA_STORE"] = os.environ["STELLA_TEST_POSTGRES"]
SOCKET = ENV["STELLA_HOME"] + "/stella.sock"
WHO = "uid "  # whom the verbs are as, in histories



class Service:
    all = []

    def __init__(self, *args, http=True):
        with open(WORK + "/tokens", "w") as f:
            f.write(f"# who\nadmin ops {ADMIN}\nread prom {READ}\nsubmit ci {SUBMIT}\n")
        os.chmod(WORK + "/tokens", 0o600)
        if http:
            args = ["--listen", "127.0.0.1:0", "--tokens", WORK + "/tokens", *args]
        Service.all.append(self)
        self.p = subprocess.Popen([API, *args], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        line = self.p.stderr.readline()
        assert "answers at" in line, line + self.p.stderr.read()
        m = re.search(r"port (\d+)", line)
        self.port = int(m.group(1)) if m else 0
        self.tls = "HTTPS" in line

    def end(self, sig=signal.SIGTERM):
        self.p.send_signal(sig)
        self.p.wait(20)
        return self.p.returncode

    def http(self, method, path, token=ADMIN, body=None, headers=None, raw=False):
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = "Bearer " + token
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        if data is not None:
            headers.setdefault("Content-Type", "application/json")
        q = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(q, timeout=20) as r:
                text, status, got = r.read(), r.status, r.headers
        except urllib.error.HTTPError as e:
            text, status, got = e.read(), e.code, e.headers
        return status, (text.decode() if raw else json.loads(text)), got


def Client():
    return socket_client.Client(SOCKET)


def stella(*args, env=None):
    r = subprocess.run([STELLA, *args], env={**ENV, **(env or {})}, capture_output=True, text=True, timeout=60)
    return r.returncode, r.stdout, r.stderr


def reset():
    """Nothing of an earlier run is in a shared PostgreSQL."""
    if "STELLA_STORE" in ENV:
        subprocess.run(["psql", "-q", ENV["STELLA_STORE"], "-c", "DROP SCHEMA IF EXISTS stella CASCADE"], capture_output=True,
                       check=True)


def test_verbs():
    """Every verb through the service."""
    s = Service()
    code, out, err = stella("scanner", "status")
    ok(code == 0 and "status: degraded" in out and "Scanner workers: 0 active, 0 idle" in out, "status without workers", out)
    ok(f"store: {'postgresql' if 'STELLA_STORE' in ENV else 'sqlite'}" in out, "which store", out)
    c = Client()
    job = c.call("scans.submit", image="app:1", size=10)[0]
    ok(job["status"] == "pending" and job["reason"] == "no_worker_in_pool", "a job waits and says why", job)
    code, out, _ = stella("scanner", "jobs", "list")
    ok(code == 0 and job["id"][:12] in out and "no_worker_in_pool" in out, "jobs list", out)
    code, out, _ = stella("scanner", "jobs", "list", "--format", "json")
    ok(json.loads(out)[0]["id"] == job["id"], "jobs list --format json")
    code, out, _ = stella("scanner", "jobs", "list", "--format", "ndjson")
    ok([json.loads(l)["id"] for l in out.splitlines()] == [job["id"]], "jobs list --format ndjson")
    code, out, _ = stella("scanner", "jobs", "list", "--status", "completed", "--format", "json")
    ok(code == 0 and json.loads(out) == [], "nothing of that status")
    code, out, _ = stella("scanner", "queue", "status")
    ok("queue depth:       1 (" in out and "no_worker_in_pool" in out, "queue status", out)
    code, out, _ = stella("scanner", "queue", "status", "--format", "json")
    ok(json.loads(out)["queue_depth"] == 1, "queue status --format json")
    w = c.call("workers.report", id="h/default-0", pool="default", state="busy", memory=5 << 20, memoryLimit=4 << 30)
    ok(w == [{"done": True}], "a supervisor reports", w)
    code, out, _ = stella("scanner", "status")
    ok("status: ok" in out and "1 active, 0 idle" in out, "status with a worker", out)
    code, out, err = stella("scanner", "config", "set", "worker.memory_limit", "8Gi")
    ok(code == 0 and out == "worker.memory_limit = 8Gi\n" and
       "restart needed: 1 of 1 workers still use 4Gi (stella scanner workers restart)" in err, "a restart is asked for", out + err)
    code, out, err = stella("scanner", "config", "set", "worker.memory_limit", "8Gi")
    ok(code == 0 and "no change" in out and "restart" not in err, "the same again", out + err)
    got = c.call("queue.claim", pool="default", worker="h/default-0", leaseMs=60000, memoryLimit=1 << 30)[0]
    ok(got["id"] == job["id"] and got["config"]["worker.memory_limit"] == "8Gi", "the claim has the configuration", got)
    ok(c.call("lease.subject", id=job["id"], fence=1, digest="sha256:" + "a" * 64, size=77) == [{"done": True}], "subject")
    code, out, err = stella("scanner", "jobs", "cancel", job["id"][:8])
    ok(code == 0 and "told to stop" in out, "jobs cancel of one in work", out + err)
    ok(c.call("lease.renew", id=job["id"], fence=1, leaseMs=5000) == [{"lease": "cancel"}], "its worker hears it")
    end = c.call("job.finish", id=job["id"], fence=1, status="failed", reason="killed", exitCode=137, signal=9, again=True,
                 evidence={"oom_kill": 0})
    ok(end == [{"status": "cancelled"}], "cancelled", end)
    code, out, err = stella("scanner", "jobs", "retry", job["id"])
    ok(code == 0 and "in the queue" in out and err == "", "jobs retry", out + err)
    code, out, err = stella("scanner", "jobs", "show", job["id"], "--format", "json")
    shown = json.loads(out)
    ok(shown["attempts"][0]["exitCode"] == 137 and shown["attempts"][0]["evidence"] == {"oom_kill": 0} and
       shown["size"] == 77, "jobs show has the attempt and its evidence", out)
    code, out, err = stella("scanner", "jobs", "show", job["id"])
    ok('evidence:   {"oom_kill":0}' in out and "exit_code:  137 (signal 9)" in out, "also as text", out)
    c.call("logs.add", level="error", component="worker", message="out of memory: killed by the kernel", job=job["id"])
    c.call("logs.add", level="debug", component="sbom", message="merge began")
    code, out, err = stella("scanner", "logs", "--filter", "OUT of memory", "--last", "1h")
    ok(code == 0 and out.count("\n") == 1 and "job=" + job["id"][:12] in out, "logs --filter", out)
    code, out, err = stella("scanner", "logs", "--filter", "sbom", "--level", "debug")
    ok("merge began" in out, "logs --level debug", out)
    ok(stella("scanner", "logs", "--filter", "sbom")[1] == "", "debug lines are not shown otherwise")
    ok(stella("scanner", "logs", "--filter", "out of", "--fail-if-found")[0] == 1, "--fail-if-found: 1")
    ok(stella("scanner", "logs", "--filter", "nothing like it", "--fail-if-found")[0] == 0, "--fail-if-found: 0")
    code, out, _ = stella("scanner", "stats", "--format", "json")
    ok(json.loads(out)["pending"] == 1, "stats", out)
    code, out, _ = stella("scanner", "config", "history")
    ok(out.count("worker.memory_limit") == 1 and WHO in out, "config history", out)
    follow = subprocess.Popen([STELLA, "scanner", "logs", "--follow", "--tail", "1"], env=ENV, stdout=subprocess.PIPE, text=True)
    ok("out of memory" in follow.stdout.readline(), "logs --follow begins with the tail")
    c.call("logs.add", level="warn", component="worker", message="a new line")
    ok("a new line" in follow.stdout.readline(), "and goes on")
    follow.send_signal(signal.SIGINT)
    ok(follow.wait(10) == 0, "interrupted: exit 0")
    code, out, _ = stella("scanner", "queue", "status", "--watch", "--interval", "1s", "--count", "2")
    ok(code == 0 and out.count("queue depth:") == 2, "--watch --count 2", out)
    ok(s.end() == 0 and not os.path.exists(SOCKET), "SIGTERM: ends, and takes its socket away")


def test_queue():
    """Leases over the socket; kill -9; nothing is lost, nothing is done twice."""
    s = Service()
    c = Client()
    t0 = time.time()
    waiting = Client()
    waiting.s.send(b'queue.claim {"pool":"default","worker":"w","leaseMs":1000,"waitMs":20000}')
    time.sleep(0.3)
    job = c.call("scans.submit", image="app:1", digest="sha256:1", size=10)[0]
    got = waiting.rest()[0]
    ok(got["id"] == job["id"] and time.time() - t0 < 15, f"a waiting claim gets it after {time.time() - t0:.2f} s")
    ok(c.call("scans.submit", image="app:1", digest="sha256:1")[0]["id"] == job["id"], "submitted twice: one job")
    time.sleep(2.5)
    lost = c.call("scans.get", id=job["id"])[0]
    ok(lost["status"] == "pending" and lost["reason"] == "killed" and lost["waitMs"] > 0, "its lease ran out", lost)
    end = c.call("job.finish", id=job["id"], fence=1, status="completed")
    ok(end.get("error") == "conflict", "too late: the worker cannot commit", end)
    gone = Client()
    gone.s.send(b'queue.claim {"pool":"other","worker":"w","leaseMs":60000,"waitMs":30000}')
    time.sleep(0.2)
    gone.s.close()
    time.sleep(1.5)
    other = c.call("scans.submit", image="b:1", pool="other")[0]
    time.sleep(0.5)
    ok(c.call("scans.get", id=other["id"])[0]["status"] == "pending", "a caller that is gone gets no job")
    ids = [c.call("scans.submit", image=f"image:{i}", priority="low")[0]["id"] for i in range(40)]
    s.end(signal.SIGKILL)
    ok(os.path.exists(SOCKET), "killed: the socket is left over")
    s = Service()
    c = Client()
    ok(len(c.call("scans.list", limit=100, status="pending")) == 42, "after kill -9: every job is there")
    done, lock = [], threading.Lock()

    def work(n):
        k = Client()
        while True:
            rows = k.call("queue.claim", pool="default", worker=f"w{n}", leaseMs=60000)
            mine = [r for r in rows if r["id"] in ids]
            if not rows:
                return
            for r in rows:
                k.call("job.finish", id=r["id"], fence=r["fence"], status="completed", peakBytes=5)
            with lock:
                done.extend(r["id"] for r in mine)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    ok(sorted(done) == sorted(ids), f"8 workers: every job once ({len(done)}, {len(set(done))})")
    ok(c.call("scans.list", status="completed", limit=100)[0]["peakBytes"] == 5, "completed")
    status, text, _ = s.http("GET", "/metrics", READ, raw=True)
    n = int(re.search(r"^scanner_jobs_completed_total (\d+)", text, re.M).group(1))
    ok(40 <= n <= 42, f"counted: {n}")
    if shutil.which("promtool"):
        r = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        ok(r.returncode == 0, "promtool takes the metrics", r.stderr)
    busy_wait(c)
    r = subprocess.run([API], env=ENV, capture_output=True, text=True, timeout=20)
    ok(r.returncode == 1 and "another service answers" in r.stderr, "a second one at the same socket is refused", r.stderr)
    ok(s.end() == 0, "end")


class Cutter:
    """A PostgreSQL behind a socket of its own. `cut`: the next COMMIT is the last thing on its connection, "after" it was answered to
    us, or "before" the server saw it."""

    def __init__(self, url):
        self.behind = re.search("host=([^&]+)", url)[1] + "/.s.PGSQL.5432"
        self.dir = WORK + "/cutter"
        os.mkdir(self.dir)
        self.url = url.replace(os.path.dirname(self.behind), self.dir)
        self.cut, self.cuts = None, 0
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(self.dir + "/.s.PGSQL.5432")
        self.s.listen(50)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            c, _ = self.s.accept()
            b = socket.socket(socket.AF_UNIX)
            b.connect(self.behind)
            threading.Thread(target=self.pump, args=(c, b, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(b, c, False), daemon=True).start()

    def pump(self, a, b, asks):
        try:
            while data := a.recv(1 << 16):
                if asks and self.cut and b"COMMIT\0" in data:
                    how, self.cut = self.cut, None
                    self.cuts += 1
                    a.shutdown(socket.SHUT_RDWR)  # first, so that the answer finds nobody
                    if how == "before":
                        break
                b.sendall(data)
        except OSError:
            pass
        for x in a, b:
            try:
                x.shutdown(socket.SHUT_WR if x is b and asks else socket.SHUT_RDWR)
            except OSError:
                pass


def test_commit():
    """The connection to PostgreSQL breaks while a submission is committed."""
    cutter = Cutter(ENV["STELLA_STORE"])
    ENV["STELLA_STORE"] = cutter.url
    s = Service()
    c = Client()
    c.must("scans.submit", image="warm:1", fresh=True)
    for i, how in enumerate(["after", "before", "after"]):
        cutter.cut = how
        got = c.call("scans.submit", image=f"cut:{i}", fresh=True)
        there = [j["id"] for j in c.must("scans.list", limit=100) if j["image"] == f"cut:{i}"]
        ok(cutter.cuts == i + 1, f"cut {how} the server saw it", cutter.cuts)
        if how == "after":
            ok(isinstance(got, list) and there == [got[0]["id"]], "there is the job, and the answer names it", (got, there))
        else:
            ok(isinstance(got, dict) and got["error"] == "retryable" and not there, "no job, and the answer says so", (got, there))
    ok(len(c.must("queue.claim", pool="default", worker="w", leaseMs=60000, waitMs=0)) == 1, "and the queue goes on")
    ok(s.end() == 0, "end")


def busy_wait(c):
    """Who waits sees every change of the store; what one look needs is given back before the next."""
    for i in range(50):
        c.must("pools.put", name=f"p{i}", memory=1 << 30, count=1)
    waiting, got = Client(), []
    seen = c.must("pools.wanted", waitMs=0)[0]["version"]
    t = threading.Thread(target=lambda: got.append(waiting.call("pools.wanted", waitMs=2500, seen=seen)))
    t.start()
    changes = 0
    while t.is_alive():
        c.must("logs.add", level="debug", component="x", message="m")
        changes += 1
    ok(got == [[]], f"a wait over {changes} changes of a store with 50 pools", got)


def schema_fits(doc, schema, value):
    """The part of JSON Schema that st_record_schema writes."""
    if "$ref" in schema:
        schema = doc["components"]["schemas"][schema["$ref"].split("/")[-1]]
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list}
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if value is None:
        return "null" in types
    if not any(t != "null" and isinstance(value, kinds[t]) for t in types):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, list):
        return all(schema_fits(doc, schema["items"], v) for v in value)
    if isinstance(value, dict) and "properties" in schema:
        return set(value) <= set(schema["properties"]) and all(
            schema_fits(doc, schema["properties"][k], v) for k, v in value.items())
    return True


def test_http():
    s = Service()
    ok(s.http("GET", "/healthz", None, raw=True)[:2] == (200, "ok\n"), "healthz")
    status, text, _ = s.http("GET", "/readyz", None, raw=True)
    ok(status == 200 and text.startswith("ready\nstore: ok\nqueue: ok (0 of 100000 pending)\nworkers: none"), "readyz", text)
    status, doc, _ = s.http("GET", "/openapi.json", None)
    ok(status == 200 and doc["openapi"].startswith("3.1"), "openapi")
    status, job, h = s.http("POST", "/api/v1/scans", SUBMIT, {"image": "app:1", "options": {"platform": "linux/arm64"}})
    ok(status == 202 and h["Location"] == "/api/v1/scans/" + job["id"], "submit: 202 and Location", job)
    status, again, _ = s.http("POST", "/api/v1/scans", SUBMIT, {"image": "app:1", "options": {"platform": "linux/arm64"}})
    ok(again["id"] == job["id"], "submitted again: the same job")
    # Every route of the document, called, answers as the document says.
    examples = {"POST /api/v1/scans": {"image": "x:2"}, "PUT /api/v1/config/{key}": {"value": "8Gi"},
                "PUT /api/v1/pools/{name}": {"memory": 8 << 30, "count": 2}}
    order = {"GET": 0, "PUT": 1, "DELETE": 2, "POST": 3}
    n = 0
    routes = [(p, m.upper(), o) for p, ms in doc["paths"].items() for m, o in ms.items()]
    for path, method, op in sorted(routes, key=lambda r: order[r[1]]):
        if not path.startswith("/api/") or "operationId" not in op:
            continue  # those that are more than an operation: web.py, remote.py
        url = path.replace("{id}", job["id"]).replace("{key}", "worker.memory_limit").replace("{name}", "large")
        ok("{" not in url, f"{path} is filled")
        wanted = [p["name"] + "=x" for p in op["parameters"] if p["in"] == "query" and p["required"]]
        url += "?" + "&".join(wanted) if wanted else ""
        body = examples.get(f"{method} {path}") or ({} if method in ("POST", "PUT") else None)
        status, answer, _ = s.http(method, url, ADMIN, body)
        if op["operationId"] == "scans.layers":  # of a job that has ended: remote.py
            ok(status == 409 and answer["error"] == "conflict", "layers of a job that waits: 409", answer)
            continue
        good = str(status) in op["responses"] and status < 300
        schema = op["responses"].get(str(status), {}).get("content", {}).get("application/json", {}).get("schema", {})
        ok(good and schema_fits(doc, schema, answer), f"{method} {path}: {status}, as documented", answer)
        status, answer, _ = s.http(method, url, None, body)
        ok(status == 401 and answer["error"] == "auth", f"{method} {path}: 401 without a token", answer)
        if op["x-role"] != "read":
            status, answer, _ = s.http(method, url, READ, body)
            ok(status == 403, f"{method} {path}: 403 with the role read", answer)
        n += 1
    ok(n >= 23, f"{n} routes")
    for what, want, args in [
        ("unknown path", 404, ("GET", "/api/v1/nothing")), ("unknown job", 404, ("GET", "/api/v1/scans/" + "0" * 32)),
        ("malformed id", 400, ("GET", "/api/v1/scans/xyz")), ("wrong method", 405, ("PATCH", "/api/v1/scans")),
        ("supervisor's operations are not here", 404, ("POST", "/api/v1/queue/claim", ADMIN, {})),
        ("unknown query field", 400, ("GET", "/api/v1/scans?stats=failed")),
        ("unknown status", 400, ("GET", "/api/v1/scans?status=fialed")),
        ("bad duration", 400, ("GET", "/api/v1/scans?last=1y")), ("bad limit", 400, ("GET", "/api/v1/scans?limit=1e3")),
        ("body is no JSON", 400, ("POST", "/api/v1/scans", ADMIN, b"{")),
        ("body is no object", 400, ("POST", "/api/v1/scans", ADMIN, b"[]")),
        ("unknown body field", 400, ("POST", "/api/v1/scans", ADMIN, {"imgae": "a"})),
        ("bad value of a key", 400, ("PUT", "/api/v1/config/worker.count", ADMIN, {"value": "0"})),
        ("unknown key", 400, ("PUT", "/api/v1/config/worker.cuont", ADMIN, {"value": "1"})),
        ("pool that is not there", 404, ("PUT", "/api/v1/config/routing.large_image_pool", ADMIN, {"value": "nope"})),
        ("unknown token", 401, ("GET", "/api/v1/scans", "x" * 30)),
        ("waiting is for the socket", 400, ("GET", "/api/v1/logs?waitMs=5")),
        ("another content type", 400, ("POST", "/api/v1/scans", ADMIN, b"{}", {"Content-Type": "text/plain"})),
        ("body too long", 413, ("POST", "/api/v1/scans", ADMIN, b"x" * 200000)),
    ]:
        status, answer, _ = s.http(*args)
        ok(status == want and answer["message"] and "\n" not in answer["message"], f"{what}: {want}", (status, answer))
    r = socket.create_connection(("127.0.0.1", s.port))
    r.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"y" * 60000 + b"\r\n\r\n")
    ok(b" 431 " in r.recv(4096) or b" 413 " in r.recv(4096), "headers too long")
    limited, threads = [], []

    def hammer():
        for _ in range(150):
            limited.append(s.http("GET", "/healthz", READ, raw=True)[0])
    threads = [threading.Thread(target=hammer) for _ in range(10)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    # 1,000 at once, then 500 a second: 1,500 are refused in part only when they come fast enough.
    ok(set(limited) <= {200, 429}, f"rate limit: {limited.count(429)} of {len(limited)} refused")
    ok(s.end() == 0, "end")
    for what, args, text in [
        ("HTTP without tokens", ["--listen", "127.0.0.1:0"], "--tokens"),
        ("HTTP to the world without TLS", ["--listen", "0.0.0.0:0", "--tokens", WORK + "/tokens"], "--tls-cert"),
        ("no address", ["--listen", "8444", "--tokens", WORK + "/tokens"], "127.0.0.1:8444"),
        ("no such file", ["--listen", "127.0.0.1:0", "--tokens", WORK + "/none"], "No such file"),
    ]:
        r = subprocess.run([API, *args], env=ENV, capture_output=True, text=True, timeout=20)
        ok(r.returncode != 0 and text in r.stderr and r.stderr.count("\n") == 1, what, r.stderr)
    os.chmod(WORK + "/tokens", 0o644)
    r = subprocess.run([API, "--listen", "127.0.0.1:0", "--tokens", WORK + "/tokens"], env=ENV, capture_output=True, text=True)
    ok(r.returncode == 2 and "chmod 600" in r.stderr, "tokens that others can read", r.stderr)


def test_hostile():
    """The socket's other side does what it likes."""
    s = Service(http=False)
    for what, packet in [("no request", b"\0\1\2"), ("a web browser", b"GET / HTTP/1.1\r\n\r\n"), ("an unknown operation", b"no.such {}"),
                         ("no JSON", b"scans.list {"), ("deep JSON", b"scans.submit " + b'{"options":' * 500),
                         ("an unknown field", b'scans.list {"x":1}'), ("bytes", b"scans.get {\"id\":\"\xff\xfe\"}")]:
        c = Client()
        c.s.send(packet)
        answer = c.rest()
        ok(isinstance(answer, dict) and answer["message"], f"{what}: {answer.get('error')}", answer)
        ok(c.call("status.get")[0]["status"] == "degraded", "and the connection goes on")
    c = Client()
    c.s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    c.s.send(b"scans.list " + b" " * 150000 + b"{}")
    try:
        ended = c.s.recv(100) == b""
    except ConnectionError:
        ended = True
    ok(ended, "a packet that is too long ends the connection")
    held = []
    for _ in range(300):
        try:
            held.append(Client())
        except OSError:
            break
    time.sleep(0.5)
    for h in held:
        h.s.settimeout(0.2)
    refused = 0
    for h in held[250:]:
        try:
            refused += b"all the connections" in h.s.recv(1000)
        except OSError:
            pass
    ok(refused >= 30, f"300 connections: {refused} are told that it is full")
    [h.s.close() for h in held]
    time.sleep(0.5)
    ok(Client().call("status.get")[0]["pending"] == 0, "afterwards it answers")
    slow = Client()
    for i in range(60):
        Client().call("scans.submit", image=f"{'x' * 1500}:{i}")
    slow.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.s.send(b'scans.list {"limit":1000}')
    t0 = time.time()
    ok(Client().call("status.get")[0]["pending"] == 60 and time.time() - t0 < 5, "one that does not read holds up nobody")
    ok(s.end() == 0, "end")


def main(tests):
    try:
        reset()
        os.mkdir(ENV["STELLA_HOME"], 0o700)
        tests["test_" + TEST]()
    finally:
        for left in Service.all:
            left.p.kill()
        shutil.rmtree(WORK, ignore_errors=True)
    tap.done()


if __name__ == "__main__":
    main(globals())
