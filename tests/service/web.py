"""HTTP of the service: TLS, reload, events, uploads, hostile clients. web.py TEST STELLA STELLA_API. Speaks TAP."""
import hashlib, http.client, json, os, re, shutil, signal, socket, ssl, subprocess, threading, time

from service import ADMIN, API, ENV, READ, STELLA, SUBMIT, WORK, Client, Service, main, ok


def openssl(*args):
    r = subprocess.run(["openssl", *args], capture_output=True, text=True, cwd=WORK)
    assert r.returncode == 0, r.stderr


def make_ca():
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/CN=stella test CA", "-days", "2")


def make_cert(name, days="2", san="IP:127.0.0.1,DNS:localhost"):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key", "-out", name + ".csr",
            "-subj", "/CN=" + name)
    with open(WORK + "/ext", "w") as f:
        f.write("subjectAltName=" + san + "\n")
    openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days, "-extfile",
            "ext", "-out", name + ".pem")


def tls_service():
    make_ca()
    make_cert("one")
    shutil.copy(WORK + "/one.pem", WORK + "/cert.pem")
    shutil.copy(WORK + "/one.key", WORK + "/key.pem")
    return Service("--tls-cert", WORK + "/cert.pem", "--tls-key", WORK + "/key.pem")


def curl(*args):
    r = subprocess.run(["curl", "-sS", "--noproxy", "*", "--max-time", "20", *args], capture_output=True, text=True)
    return r.returncode, r.stdout, r.stderr


def s_client(port, *args):
    r = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", WORK + "/ca.pem", *args], input="",
                       capture_output=True, text=True, timeout=30)
    return r.stdout + r.stderr


def subject(port):
    """CN of the certificate that is shown now."""
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    r = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=pem, capture_output=True, text=True)
    return r.stdout.strip()


def test_tls():
    s = tls_service()
    ok(s.tls, "it says HTTPS")
    url = f"https://127.0.0.1:{s.port}"
    code, out, err = curl("--cacert", WORK + "/ca.pem", url + "/healthz")
    ok(code == 0 and out == "ok\n", "curl with the CA", err)
    code, out, err = curl(url + "/healthz")
    ok(code == 60 and out == "", "curl without the CA: refused by curl", (code, err))
    code, out, err = curl("--cacert", WORK + "/ca.pem", "-H", "Authorization: Bearer " + READ, url + "/api/v1/scans")
    ok(json.loads(out) == [], "with a token", out + err)
    for version, want in [("-tls1_3", True), ("-tls1_2", True), ("-tls1_1", False), ("-tls1", False)]:
        text = s_client(s.port, version, "-cipher", "ALL:@SECLEVEL=0")
        good = "Verify return code: 0" in text and "Cipher is (NONE)" not in text
        ok(good == want, f"openssl s_client {version}: {'taken' if want else 'refused'}", text[-600:])
    with socket.create_connection(("127.0.0.1", s.port)) as c:
        c.settimeout(20)
        c.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            got = c.recv(4096)
        except ConnectionError:
            got = b""
        ok(b"200" not in got and b"ok" not in got, "plain HTTP to the TLS port gets nothing of HTTP", got)
    ok(curl("--cacert", WORK + "/ca.pem", url + "/healthz")[1] == "ok\n", "and it goes on")

    # A reload: new connections see the new certificate, one that is open goes on.
    ctx = ssl.create_default_context(cafile=WORK + "/ca.pem")
    held = http.client.HTTPSConnection("127.0.0.1", s.port, context=ctx, timeout=20)
    held.request("GET", "/healthz")
    ok(held.getresponse().read() == b"ok\n" and "CN = one" in subject(s.port), "certificate one")
    make_cert("two")
    shutil.copy(WORK + "/two.pem", WORK + "/cert.pem")
    s.p.send_signal(signal.SIGHUP)
    line = s.p.stderr.readline()
    ok("not reloaded" in line and "cert.pem" in line and "CN = one" in subject(s.port), "certificate without its key: said, nothing changed", line)
    shutil.copy(WORK + "/two.key", WORK + "/key.pem")
    with open(WORK + "/tokens", "w") as f:
        f.write(f"admin ops {ADMIN}\nread other {'n' * 30}\n")
    s.p.send_signal(signal.SIGHUP)
    line = s.p.stderr.readline()
    ok("read again" in line and "CN = two" in subject(s.port), "SIGHUP: certificate two", line)
    held.request("GET", "/healthz")
    ok(held.getresponse().read() == b"ok\n", "the open connection goes on")
    held.close()
    auth = lambda t: curl("--cacert", WORK + "/ca.pem", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Authorization: Bearer " + t,
                          url + "/api/v1/scans")[1]
    ok(auth(READ) == "401" and auth("n" * 30) == "200", "and the tokens were read again")
    t0 = time.time()
    ok(s.end() == 0 and time.time() - t0 < 15, f"ends within {time.time() - t0:.1f} s")

    for what, cert, key, text in [
        ("not PEM", WORK + "/ext", WORK + "/key.pem", "is not PEM"), ("no such file", WORK + "/none.pem", WORK + "/key.pem", "No such file"),
        ("key of another certificate", WORK + "/one.pem", WORK + "/two.key", "belong together"),
        ("damaged", WORK + "/damaged.pem", WORK + "/two.key", "belong together"),
    ]:
        with open(WORK + "/damaged.pem", "w") as f:
            f.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        r = subprocess.run([API, "--listen", "127.0.0.1:0", "--tokens", WORK + "/tokens", "--tls-cert", cert, "--tls-key", key],
                           env={**ENV, "ASAN_OPTIONS": "detect_leaks=0"}, # GnuTLS 3.7 loses a certificate that it cannot read
                           capture_output=True, text=True, timeout=20)
        ok(r.returncode in (1, 2) and text in r.stderr and r.stderr.count("\n") == 1, "certificate: " + what, r.stderr)
    r = subprocess.run([API, "--listen", "127.0.0.1:0", "--tls-cert", WORK + "/two.pem", "--tls-key", WORK + "/two.key"], env=ENV,
                       capture_output=True, text=True, timeout=20)
    ok(r.returncode == 2 and "--tokens" in r.stderr, "TLS does not replace tokens", r.stderr)


class Stream:
    """A reader of Server-Sent Events, as the standard says."""

    def __init__(self, port, job, last=None, token=READ):
        self.c = socket.create_connection(("127.0.0.1", port))
        self.c.settimeout(30)
        head = f"GET /api/v1/scans/{job}/events HTTP/1.0\r\nAuthorization: Bearer {token}\r\n"
        if last is not None:
            head += f"Last-Event-ID: {last}\r\n"
        self.c.sendall(head.encode() + b"\r\n")
        self.f = self.c.makefile("rb")
        self.status = int(self.f.readline().split()[1])
        self.headers = {}
        while (line := self.f.readline().strip()):
            k, v = line.decode().split(": ", 1)
            self.headers[k.lower()] = v

    def next(self):
        """The next event {event, id, data} or {comment}; None at the end."""
        e = {}
        while (line := self.f.readline()):
            line = line.decode().rstrip("\n")
            if line == "" and ("event" in e or "comment" in e):
                return e
            if line.startswith(":"):
                e["comment"] = True
            elif ": " in line:
                k, v = line.split(": ", 1)
                e[k] = json.loads(v) if k == "data" else v
        return None

    def close(self):
        self.f.close()
        self.c.close()


def test_events():
    s = Service()
    c = Client()
    job = c.call("scans.submit", image="app:1")[0]["id"]
    e = Stream(s.port, job[:8])
    ok(e.status == 200 and e.headers["content-type"] == "text/event-stream" and e.headers["cache-control"] == "no-store", "headers", e.headers)
    first = e.next()
    ok(first["event"] == "state" and first["data"]["status"] == "pending" and first["data"]["id"] == job, "the state at once", first)
    t0 = time.time()
    got = c.call("queue.claim", pool="default", worker="h/default-1", leaseMs=60000)[0]
    second = e.next()
    ok(second["event"] == "state" and second["data"]["status"] == "processing", f"claimed: told after {time.time() - t0:.2f} s", second)
    c.call("workers.report", id="h/default-1", pool="default", state="busy", job=job, phase="layers", layer="3 of 7", memory=5 << 20,
           memoryLimit=1 << 30)
    third = e.next()
    ok(third["event"] == "progress" and third["data"]["layer"] == "3 of 7" and "id" not in third, "progress of its worker", third)
    c.call("workers.report", id="h/default-1", pool="default", state="busy", job=job, phase="layers", layer="4 of 7", memory=5 << 20,
           memoryLimit=1 << 30)
    ok(e.next()["data"]["layer"] == "4 of 7", "more progress")
    again = Stream(s.port, job, last=second["id"])
    ok(again.next()["event"] == "progress", "Last-Event-ID: the state is not repeated")
    wrong = Stream(s.port, job, last="nonsense \x80" * 4)
    ok(wrong.next()["event"] == "state", "a Last-Event-ID that is none of ours: the state is told")
    long = Stream(s.port, job, last="x" * 5000)
    ok(long.next()["event"] == "state", "a long one")
    c.call("job.finish", id=job, fence=got["fence"], status="completed", peakBytes=7)
    for name, stream in [("first", e), ("second", again), ("third", wrong), ("fourth", long)]:
        events = []
        while (x := stream.next()):
            events.append(x)
        ok(events and events[-1]["data"].get("status") == "completed", f"{name}: told the end, and ended", events)
        stream.close()
    done = Stream(s.port, job)
    ok(done.next()["data"]["status"] == "completed" and done.next() is None, "of an ended job: its state and the end")
    none = Stream(s.port, "0" * 32)
    ok(none.status == 404, "unknown job: 404")
    ok(Stream(s.port, job, token="x" * 30).status == 401, "without a token: 401")
    # Heartbeat: nothing happens for longer than 15 s.
    quiet = c.call("scans.submit", image="quiet:1", pool="quiet")[0]["id"]
    e = Stream(s.port, quiet)
    e.next()
    t0 = time.time()
    beat = e.next()
    ok("comment" in beat and 12 < time.time() - t0 < 20, f"a comment after {time.time() - t0:.1f} s of silence", beat)
    held = [Stream(s.port, quiet) for _ in range(63)]
    ok(all(h.status == 200 for h in held), "64 streams")
    more = Stream(s.port, quiet)
    ok(more.status == 503 and "retry-after" in more.headers, "one more: 503 with Retry-After", more.headers)
    ok(s.http("GET", "/healthz", READ, raw=True)[0] == 200, "the other routes go on")
    [h.close() for h in held[:32]]
    time.sleep(17)  # those that are gone are seen with the next beat
    fresh = Stream(s.port, quiet)
    ok(fresh.status == 200, "streams of clients that left are free again")
    ok(fresh.next()["data"]["status"] == "pending", "a reader beside it")
    # One that never reads is dropped, and holds up nobody.
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    slow.connect(("127.0.0.1", s.port))
    slow.sendall(f"GET /api/v1/scans/{quiet}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {READ}\r\n\r\n".encode())
    c.call("queue.claim", pool="quiet", worker="h/quiet-1", leaseMs=3600000)
    t0, dropped, n = time.time(), False, 0
    while time.time() - t0 < 40 and not dropped:
        for _ in range(20):
            n += 1
            c.call("workers.report", id="h/quiet-1", pool="quiet", state="busy", job=quiet, phase="x" * 60, layer=str(n) + "y" * 50, memory=n << 20)
        time.sleep(0.5)
        dropped = s.http("GET", "/healthz", READ, raw=True)[0] != 200
    ok(not dropped, "a reader that takes nothing holds up nobody")
    fresh.c.settimeout(10)
    last = fresh.next()
    while last["event"] != "progress":
        last = fresh.next()
    ok(last["event"] == "progress", "the reader beside it gets on")
    t0 = time.time()
    ok(s.end() == 0 and time.time() - t0 < 10, f"SIGTERM with open streams: ended after {time.time() - t0:.1f} s")


def uploads():
    d = ENV["STELLA_HOME"] + "/uploads"
    return sorted(os.listdir(d)) if os.path.isdir(d) else []


def wait_for(f, seconds=20):
    until = time.time() + seconds
    while time.time() < until and not f():
        time.sleep(0.1)
    return f()


TAR = {"Content-Type": "application/x-tar"}


def raw_post(port, head, body=b"", token=SUBMIT, path="/api/v1/scans?spool=1", timeout=20):
    """A request by hand; the answer's first line, or '' when the connection was cut."""
    c = socket.create_connection(("127.0.0.1", port))
    c.settimeout(timeout)
    c.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/x-tar\r\n{head}\r\n".encode())
    try:
        c.sendall(body)
        return c, c.recv(65536).decode()
    except (ConnectionError, socket.timeout):
        return c, ""


def test_upload():
    s = Service()
    c = Client()
    data = os.urandom(3 << 20)
    status, job, h = s.http("POST", "/api/v1/scans?spool=1&name=app-1.tar&priority=high", SUBMIT, data, TAR)
    ok(status == 202 and h["Location"] == "/api/v1/scans/" + job["id"], "202 and Location", job)
    path = job["image"]
    ok(path.startswith(ENV["STELLA_HOME"] + "/uploads/") and path.endswith("/app-1.tar") and job["priority"] == "high" and
       job["size"] == len(data), "the job is of the file", job)
    shown = subprocess.run([STELLA, "scanner", "jobs", "list"], env=ENV, capture_output=True, text=True).stdout
    ok(job["name"] == "app-1.tar" and " app-1.tar " in shown and "uploads/" not in shown, "jobs list calls it by its name", shown)
    ok(open(path, "rb").read() == data and os.stat(path).st_mode & 0o777 == 0o600, "the bytes are those that were sent, mode 0600")
    curl_in = WORK + "/big.tar"
    with open(curl_in, "wb") as f:
        f.write(os.urandom(20 << 20))
    code, out, err = curl("-H", "Authorization: Bearer " + SUBMIT, "-H", "Content-Type: application/octet-stream", "-T", curl_in, "-X", "POST",
                          f"http://127.0.0.1:{s.port}/api/v1/scans?spool=1")
    second = json.loads(out)
    ok(open(second["image"], "rb").read() == open(curl_in, "rb").read(), "curl, 20 MiB, Expect: 100-continue", out + err)
    ok(second["image"].endswith("/image.tar"), "a name of its own", second["image"])
    # Its end.
    got = c.call("queue.claim", pool="default", worker="w", leaseMs=60000)[0]
    ok(got["id"] == job["id"] and got["image"] == path, "the claim has it")
    c.call("job.finish", id=job["id"], fence=got["fence"], status="completed")
    ok(wait_for(lambda: len(uploads()) == 1) and not os.path.exists(path), "completed: the file is removed")
    ok(os.path.exists(second["image"]), "the other one stays")
    got = c.call("queue.claim", pool="default", worker="w", leaseMs=60000)[0]
    c.call("job.finish", id=got["id"], fence=got["fence"], status="failed", reason="crash", exitCode=1)
    time.sleep(6)
    ok(os.path.exists(second["image"]), "failed: it stays, for a retry")
    before = uploads()
    for what, want, args in [
        ("without a token", 401, ("POST", "/api/v1/scans?spool=1", None, b"x" * 100, TAR)),
        ("with the role read", 403, ("POST", "/api/v1/scans?spool=1", READ, b"x" * 100, TAR)),
        ("an empty body", 400, ("POST", "/api/v1/scans?spool=1", SUBMIT, b"", TAR)),
        ("a name that is a path", 400, ("POST", "/api/v1/scans?spool=1&name=..%2Fx", SUBMIT, b"x", TAR)),
        ("a hidden name", 400, ("POST", "/api/v1/scans?spool=1&name=.x", SUBMIT, b"x", TAR)),
        ("a name with a zero", 400, ("POST", "/api/v1/scans?spool=1&name=a%00b%2f", SUBMIT, b"x", TAR)),
        ("a long name", 400, ("POST", "/api/v1/scans?spool=1&name=" + "n" * 101, SUBMIT, b"x", TAR)),
        ("an unknown field", 400, ("POST", "/api/v1/scans?spool=1&nmae=x", SUBMIT, b"x", TAR)),
        ("spool=2", 400, ("POST", "/api/v1/scans?spool=2", SUBMIT, b"x", TAR)),
        ("a bad pool", 400, ("POST", "/api/v1/scans?spool=1&pool=A%20B", SUBMIT, b"x", TAR)),
        ("a path in JSON", 400, ("POST", "/api/v1/scans", SUBMIT, {"image": "/etc/passwd"})),
        ("a path with a scheme in JSON", 400, ("POST", "/api/v1/scans", SUBMIT, {"image": "rootfs:/"})),
        ("standard input in JSON", 400, ("POST", "/api/v1/scans", SUBMIT, {"image": "-"})),
    ]:
        status, answer, _ = s.http(*args)
        ok(status == want and answer["message"] and "\n" not in answer["message"], f"{what}: {want}", (status, answer))
    ok(wait_for(lambda: uploads() == before), "nothing was left", (before, uploads()))
    _, answer = raw_post(s.port, "Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n")
    ok(" 411 " in answer.split("\r\n")[0], "chunked: 411", answer)
    s.http("PUT", "/api/v1/config/uploads.quota", ADMIN, {"value": "30Mi"})
    _, answer = raw_post(s.port, "Content-Length: 99999999999\r\n")
    ok(" 413 " in answer.split("\r\n")[0] and "uploads.quota" in answer, "longer than the quota: 413, before the body", answer)
    _, answer = raw_post(s.port, f"Content-Length: {12 << 20}\r\n")
    ok(" 503 " in answer.split("\r\n")[0] and "Retry-After" in answer, "over what is left of it: 503 with Retry-After", answer)
    _, answer = raw_post(s.port, "Content-Length: -5\r\n")
    ok(" 400 " in answer.split("\r\n")[0], "a negative length: 400", answer)
    # Two at once may not take more than there is.
    one, answer = raw_post(s.port, f"Content-Length: {6 << 20}\r\n", b"x" * 1000, timeout=1)
    ok(answer == "", "one in transfer")
    _, answer = raw_post(s.port, f"Content-Length: {6 << 20}\r\n")
    ok(" 503 " in answer.split("\r\n")[0], "its room is reserved: the next one has none", answer)
    ok(len([u for u in uploads() if u.startswith("part-")]) == 1, "one part")
    one.close()
    ok(wait_for(lambda: uploads() == before), "broken off: the part is removed", uploads())
    # A client that stalls is cut, and its room comes back.
    t0 = time.time()
    stalled, answer = raw_post(s.port, f"Content-Length: {6 << 20}\r\n", b"x" * 1000, timeout=40)
    ok(10 < time.time() - t0 < 30 and " 202 " not in answer, f"stalled: cut after {time.time() - t0:.0f} s", answer)
    ok(wait_for(lambda: uploads() == before), "and nothing is left", uploads())
    status, answer, _ = s.http("POST", "/api/v1/scans?spool=1", SUBMIT, b"y" * (6 << 20), TAR)
    ok(status == 202, "the room is there again", answer)
    # Parts at the start; killed in the middle of a transfer.
    one, _ = raw_post(s.port, f"Content-Length: {2 << 20}\r\n", b"x" * 100000, timeout=1)
    s.end(signal.SIGKILL)
    ok(any(u.startswith("part-") for u in uploads()), "kill -9 leaves a part")
    s = Service()
    ok(not any(u.startswith("part-") for u in uploads()), "the next start removes it")
    ok(os.path.exists(answer["image"]) and s.http("GET", "/api/v1/scans/" + answer["id"])[1]["status"] == "pending", "stored ones are there, with their jobs")
    s.http("PUT", "/api/v1/config/queue.max_pending", ADMIN, {"value": "1"})
    time.sleep(2)
    status, body, h = s.http("POST", "/api/v1/scans?spool=1", SUBMIT, b"y" * 1000, TAR)
    ok(status == 503 and h["Retry-After"] == "5", "the queue is full: 503 with Retry-After", body)
    status, body, h = s.http("POST", "/api/v1/scans", SUBMIT, {"image": "b:1"})
    ok(status == 503 and h["Retry-After"] == "5", "for a reference as well", body)
    ok("not ready" in s.http("GET", "/readyz", None, raw=True)[1] and "queue: full" in s.http("GET", "/readyz", None, raw=True)[1],
       "readyz says so", s.http("GET", "/readyz", None, raw=True))
    held = [raw_post(s.port, f"Content-Length: {1000}\r\n", b"x", timeout=0.1)[0] for _ in range(3)]
    t0 = time.time()
    ok(s.end() == 0 and time.time() - t0 < 10, f"SIGTERM with transfers open: ended after {time.time() - t0:.1f} s")
    [h.close() for h in held]


class Worker(threading.Thread):
    """A supervisor with one slot: reports it idle, waits for a job, reads what comes along with it."""

    def __init__(self, pool="default", chunk=1 << 20, limit=None, pause=0, **verdict):
        super().__init__(daemon=True)
        self.pool, self.chunk, self.limit, self.pause = pool, chunk, limit, pause
        self.data, self.job, self.end = hashlib.sha256(), None, None
        self.verdict = verdict or {"status": "completed"}
        self.n, self.done = 0, threading.Event()
        self.c = Client()
        self.report("idle")
        self.c.s.send(f'queue.claim {{"pool":"{pool}","worker":"h/{pool}-1","leaseMs":60000,"waitMs":30000}}'.encode())
        self.start()

    def report(self, state):
        Client().call("workers.report", id=f"h/{self.pool}-1", pool=self.pool, state=state, memory=1 << 20, memoryLimit=1 << 30)

    def run(self):
        p, fds, _, _ = socket.recv_fds(self.c.s, 1 << 18, 4)
        if p[:1] != b"R":
            return self.done.set()
        self.job = json.loads(p[1:])
        self.c.s.recv(100)
        self.report("busy")
        self.fds = len(fds)
        if fds:
            with os.fdopen(fds[0], "rb", buffering=0) as f:
                while (self.limit is None or self.n < self.limit) and (b := f.read(self.chunk)):
                    self.data.update(b)
                    self.n += len(b)
                    time.sleep(self.pause)
        self.end = self.c.call("job.finish", id=self.job["id"], fence=self.job["fence"], **self.verdict)
        self.report("idle")
        self.done.set()


def test_direct():
    """An archive that goes straight into a worker."""
    s = Service()
    c = Client()
    path = "/api/v1/scans?name=app.tar&options=" + "%7B%22strict%22%3Atrue%7D"
    status, answer, h = s.http("POST", path, SUBMIT, b"x" * 1000, TAR)
    ok(status == 503 and h["Retry-After"] == "5" and "spool=1" in answer["message"], "no worker: 503 with Retry-After", answer)
    ok(c.call("scans.list") == [], "and no job")
    w = Worker()
    data = os.urandom(1 << 20) * 30
    status, job, h = s.http("POST", path, SUBMIT, data, TAR)
    ok(status == 202 and h["Location"] == "/api/v1/scans/" + job["id"] and job["image"] == "app.tar" and job["options"].get("strict"), "202", job)
    ok(w.done.wait(20) and w.n == len(data) and w.data.digest() == hashlib.sha256(data).digest(), f"the worker has every byte ({w.n})")
    ok(w.end == [{"status": "completed"}] and uploads() == [], "the job ends, nothing was stored", w.end)
    w = Worker(chunk=65536, pause=0.004)
    with open(WORK + "/big.tar", "wb") as f:
        f.write(data)
    code, out, err = curl("-H", "Authorization: Bearer " + SUBMIT, "-H", "Content-Type: application/x-tar", "-H", "Transfer-Encoding: chunked",
                          "-T", WORK + "/big.tar", "-X", "POST", f"http://127.0.0.1:{s.port}/api/v1/scans?name=a.tar")
    ok(code == 0 and w.done.wait(30) and w.n == len(data), "chunked, from curl, to a worker that is slow", (code, out, err, w.n))
    # The worker has seen enough: an archive's padding is for nobody.
    w = Worker(limit=5 << 20)
    status, job, _ = s.http("POST", path, SUBMIT, data[:(5 << 20) + 300000], TAR)
    ok(status == 202 and w.done.wait(20), "a worker that stops at the archive's end", job)
    # The sender breaks off: the job is cancelled, not judged.
    torn = {"status": "failed", "reason": "corrupt_layer", "exitCode": 1}
    w = Worker(**torn)
    one, answer = raw_post(s.port, f"Content-Length: {6 << 20}\r\n", b"x" * (2 << 20), path=path, timeout=2)
    ok(answer == "" and w.job, "in transfer", answer)
    one.close()
    ok(w.done.wait(20) and w.end == [{"status": "cancelled"}], "broken off: cancelled", w.end)
    # A job of a pipe cannot be tried again with its bytes.
    c.call("scans.retry", id=w.job["id"])
    again = Worker()
    ok(again.done.wait(20) and again.fds == 0 and again.job["id"] == w.job["id"], "tried again: nothing comes along (the worker says source_gone)", again.job)
    # A stalled sender.
    w = Worker(**torn)
    t0 = time.time()
    stalled, answer = raw_post(s.port, f"Content-Length: {6 << 20}\r\n", b"x" * 1000, path=path, timeout=40)
    ok(10 < time.time() - t0 < 30 and w.done.wait(20) and w.end == [{"status": "cancelled"}], f"stalled: cut after {time.time() - t0:.0f} s", answer)
    # A worker that stalls holds the sender, and nobody else; its death ends the transfer.
    w = Worker(limit=1, pause=15)
    one, answer = raw_post(s.port, f"Content-Length: {20 << 20}\r\n", b"", path=path, timeout=0.2)
    one.settimeout(60)

    def send():
        try:
            for _ in range(20):
                one.sendall(data[:1 << 20])
        except OSError:
            pass
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    time.sleep(1)
    t0 = time.time()
    ok(s.http("GET", "/healthz", READ, raw=True)[0] == 200 and time.time() - t0 < 8 and sender.is_alive(), "a worker that reads nothing: the sender waits, others do not")
    ok(w.done.wait(40), "the worker goes away")
    sender.join(30)
    ok(not sender.is_alive(), "and the transfer ends")
    for what, want, args in [
        ("without a token", 401, ("POST", path, None, b"x", TAR)), ("with the role read", 403, ("POST", path, READ, b"x", TAR)),
        ("a bad name", 400, ("POST", "/api/v1/scans?name=a/b", SUBMIT, b"x", TAR)), ("an empty body", 400, ("POST", path, SUBMIT, b"", TAR)),
        ("bad options", 400, ("POST", "/api/v1/scans?options=%7B%22a%22%3A1%7D", SUBMIT, b"x", TAR)),
        ("a pool without workers", 503, ("POST", path + "&pool=nobody", SUBMIT, b"x", TAR)),
    ]:
        status, answer, _ = s.http(*args)
        ok(status == want and answer["message"], f"{what}: {want}", (status, answer))
    c.call("workers.report", id="h/liar-1", pool="liar", state="idle", memory=1, memoryLimit=1 << 30)
    t0 = time.time()
    status, answer, _ = s.http("POST", path + "&pool=liar", SUBMIT, b"x" * 100, TAR)
    ok(status == 503 and time.time() - t0 < 5, "a worker that is said to be free and takes nothing: 503", answer)
    ok(wait_for(lambda: all(j["status"] == "cancelled" for j in c.call("scans.list", status="pending,cancelled") if j["pool"] == "liar")), "its job is cancelled")
    w = Worker(limit=1, pause=30)
    one, answer = raw_post(s.port, f"Content-Length: {20 << 20}\r\n", data[:4 << 20], path=path, timeout=1)
    t0 = time.time()
    ok(s.end() == 0 and time.time() - t0 < 10, f"SIGTERM with one that waits: ended after {time.time() - t0:.1f} s")


def result(job, fence, **files):
    d = f"{ENV['STELLA_HOME']}/jobs/{job}/{fence}"
    os.makedirs(d, 0o700)
    for name, text in files.items():
        with open(f"{d}/{name.replace('_', '-')}", "w") as f:
            f.write(text)
    return d


def test_results():
    s = Service()
    c = Client()
    job = c.call("scans.submit", image="app:1", digest="sha256:1")[0]["id"]
    url = f"/api/v1/scans/{job}/sbom"
    status, answer, _ = s.http("GET", url, READ)
    ok(status == 409 and "pending" in answer["message"], "pending: 409", answer)
    got = c.call("queue.claim", pool="default", worker="w", leaseMs=60000)[0]
    ok(s.http("GET", url, READ)[0] == 409, "processing: 409")
    result(job, got["fence"], cyclonedx_json='{"bomFormat":"CycloneDX"}\n', purls="pkg:a/b@1\n", unknowns="none of this\n")
    ok(s.http("GET", url, READ)[0] == 409, "written, but not yet the result: 409")
    host = socket.gethostname()
    c.call("job.finish", id=job, fence=got["fence"], status="completed", result="cyclonedx-json,purls", host=host)
    status, text, h = s.http("GET", url, READ, raw=True)
    ok(status == 200 and text == '{"bomFormat":"CycloneDX"}\n' and h["Content-Type"].startswith("application/vnd.cyclonedx+json"), "the SBOM", (text, h["Content-Type"]))
    ok(h["ETag"] and h["Cache-Control"] == "private, no-cache", "ETag", h)
    status, text, h2 = s.http("GET", url, READ, headers={"If-None-Match": h["ETag"]}, raw=True)
    ok(status == 304 and text == "" and h2["ETag"] == h["ETag"], "If-None-Match: 304", h2)
    ok(s.http("GET", url, READ, headers={"If-None-Match": '"x"'}, raw=True)[0] == 200, "another tag: 200")
    ok(s.http("GET", url + "?format=cdx", READ, raw=True)[1] == '{"bomFormat":"CycloneDX"}\n', "a short name of the format")
    status, text, h = s.http("GET", url + "?format=purls", READ, raw=True)
    ok(text == "pkg:a/b@1\n" and h["Content-Type"].startswith("text/plain"), "purls", h)
    status, answer, _ = s.http("GET", url + "?format=spdx-json", READ)
    ok(status == 404 and "cyclonedx-json,purls" in answer["message"], "a format that was not written: 404, naming those that were", answer)
    status, text, _ = s.http("GET", url + "?format=unknowns", READ, raw=True)
    ok(status == 200 and text == "none of this\n", "what could not be read")
    for bad in ("..%2F..%2Fx", "..", "%00", "x" * 2000):
        ok(s.http("GET", url + "?format=" + bad, READ)[0] == 400, f"format {bad[:12]}: 400")
    ok(s.http("GET", url, None)[0] == 401 and s.http("GET", "/api/v1/scans/" + "0" * 32 + "/sbom", READ)[0] == 404, "401, 404")
    r = s.http("HEAD", url, READ, raw=True)
    ok(r[0] == 200 and r[1] == "" and r[2]["Content-Length"] == "26", "HEAD", r)
    # A link in the place of a result is not followed.
    os.symlink("/etc/passwd", f"{ENV['STELLA_HOME']}/jobs/{job}/{got['fence']}/syft-json")
    ok(s.http("GET", url + "?format=syft-json", READ)[0] == 404, "a symbolic link is no result")
    big = os.urandom(1 << 20) * 64
    with open(f"{ENV['STELLA_HOME']}/jobs/{job}/{got['fence']}/spdx-json", "wb") as f:
        f.write(big)
    with open(f"/proc/{s.p.pid}/status") as f:
        before = int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1))
    code, _, err = curl("-H", "Authorization: Bearer " + READ, "-o", WORK + "/out", f"http://127.0.0.1:{s.port}{url}?format=spdx-json")
    with open(f"/proc/{s.p.pid}/status") as f:
        after = int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1))
    ok(code == 0 and open(WORK + "/out", "rb").read() == big and after - before < 4096, f"64 MiB, in {after - before} KiB of memory", err)
    failed = c.call("scans.submit", image="b:1")[0]["id"]
    got = c.call("queue.claim", pool="default", worker="w", leaseMs=60000)[0]
    c.call("job.finish", id=failed, fence=got["fence"], status="failed", reason="corrupt_layer", exitCode=1)
    status, answer, _ = s.http("GET", f"/api/v1/scans/{failed}/sbom", READ)
    ok(status == 404 and "failed" in answer["message"], "failed: 404 that says so", answer)
    # What doctor reads.
    status, a, _ = s.http("GET", "/api/v1/resources/stats", READ)
    ok(set(a) == {"cpu_utilization", "memory_utilization", "memory_used_mb", "active_workers", "total_workers", "idle_workers"}, "resources", a)
    c.call("workers.report", id="h/default-1", pool="default", state="busy", memory=900 << 20, memoryLimit=1000 << 20)
    c.call("workers.report", id="h/default-2", pool="default", state="idle", memory=10 << 20, memoryLimit=1000 << 20)
    time.sleep(2.5)
    a = s.http("GET", "/api/v1/resources/stats", READ)[1]
    ok(a["memory_utilization"] == 90 and a["memory_used_mb"] == 910 and (a["active_workers"], a["idle_workers"], a["total_workers"]) == (1, 1, 2) and
       0 <= a["cpu_utilization"] <= 100, "two workers", a)
    a = s.http("GET", "/api/v1/cache/stats", READ)[1]
    ok({"hit_rate", "hits", "misses", "entry_count", "used_bytes", "eviction_rate"} <= set(a) and a["entry_count"] == 0, "cache", a)
    a = s.http("GET", "/api/v1/deadletter/stats", READ)[1]
    ok(a["failed_jobs"] == 0 and a["most_common_error"] is None, "no dead letters", a)
    s.http("PUT", "/api/v1/config/retry.max_attempts", ADMIN, {"value": "1"})
    dead = c.call("scans.submit", image="c:1")[0]["id"]
    got = c.call("queue.claim", pool="default", worker="w", leaseMs=60000)[0]
    c.call("job.finish", id=dead, fence=got["fence"], status="failed", reason="crash", exitCode=1, again=True)
    a = s.http("GET", "/api/v1/deadletter/stats", READ)[1]
    ok(a["failed_jobs"] == 1 and a["most_common_error"] == "crash" and a["retryable_count"] == 1 and a["oldest_failure"], "one", a)
    ok([j["id"] for j in s.http("GET", "/api/v1/scans?dead=true", READ)[1]] == [dead], "listed by scans?dead=true")
    status, a, _ = s.http("POST", f"/api/v1/scans/{dead}/retry", SUBMIT, {"force": True})
    ok(status == 202 and a["status"] == "pending", "and put back by retry", a)
    for what, want, args in [
        ("a pool", 200, ("PUT", "/api/v1/pools/large", ADMIN, {"memory": 8 << 30, "count": 2})),
        ("a reserved name", 400, ("PUT", "/api/v1/pools/default", ADMIN, {"memory": 8 << 30, "count": 2})),
        ("a name twice", 400, ("PUT", "/api/v1/pools/large", ADMIN, {"name": "other", "memory": 8 << 30, "count": 2})),
        ("a pool by a submitter", 403, ("PUT", "/api/v1/pools/large", SUBMIT, {"memory": 8 << 30, "count": 2})),
        ("removing it", 200, ("DELETE", "/api/v1/pools/large", ADMIN)), ("again", 404, ("DELETE", "/api/v1/pools/large", ADMIN)),
    ]:
        status, answer, _ = s.http(*args)
        ok(status == want, f"{what}: {want}", answer)
    ok(s.end() == 0, "end")


DAY = 86400


def age(job, days):
    """As if it had changed last so many days ago."""
    import sqlite3
    db = sqlite3.connect(ENV["STELLA_HOME"] + "/stella.db")
    with db:
        n = db.execute("UPDATE jobs SET updated_ms = updated_ms - ? WHERE id = ?", (days * DAY * 1000, job)).rowcount
    db.close()
    assert n == 1


def test_retention():
    s = Service(http=False)
    c = Client()
    jobs = {}

    def make(name, end=None, files=True, **more):
        job = c.call("scans.submit", image=name + ":1", pool=name)[0]["id"]
        if end != "pending":
            got = c.call("queue.claim", pool=name, worker="w", leaseMs=3600000)[0]
            if files:
                result(job, got["fence"], purls="x\n")
            if end:
                c.call("job.finish", id=job, fence=got["fence"], status=end, **more)
        jobs[name] = job
        return job
    make("old", "completed")
    make("oldfailed", "failed", reason="crash", exitCode=1)
    make("edge", "completed")
    make("new", "completed")
    make("waiting", "pending")
    make("working")
    os.makedirs(f"{ENV['STELLA_HOME']}/jobs/{jobs['new']}/0")
    for d in ("f" * 32, "e" * 32, "not-an-id", "sha256-" + "a" * 64):
        os.makedirs(f"{ENV['STELLA_HOME']}/jobs/{d}/1")
        with open(f"{ENV['STELLA_HOME']}/jobs/{d}/1/purls", "w") as f:
            f.write("x")
    os.symlink("/etc", f"{ENV['STELLA_HOME']}/jobs/{'f' * 32}/link")
    many = [c.call("scans.submit", image=f"many:{i}", pool="many")[0]["id"] for i in range(450)]
    for m in many:
        c.call("scans.cancel", id=m)
    ok(s.end() == 0, "made")
    for name, days in [("old", 31), ("oldfailed", 31), ("edge", 29.9), ("waiting", 400), ("working", 400)]:
        age(jobs[name], days)
    for m in many:
        age(m, 40)
    old = time.time() - 7200
    for d in ("f" * 32, "not-an-id", "sha256-" + "a" * 64):
        os.utime(f"{ENV['STELLA_HOME']}/jobs/{d}", (old, old))
    s = Service(http=False)
    c = Client()
    there = lambda: {j["id"] for j in c.call("scans.list", limit=10000)}
    ok(wait_for(lambda: len(there()) == 4), "452 old ones are forgotten, in steps", len(there()))
    ok(there() == {jobs[n] for n in ("edge", "new", "waiting", "working")}, "none that has not ended, however old")
    ok(wait_for(lambda: sorted(os.listdir(ENV["STELLA_HOME"] + "/jobs")) == sorted(
        [jobs["edge"], jobs["new"], jobs["working"], "e" * 32, "not-an-id", "sha256-" + "a" * 64, jobs["old"], jobs["oldfailed"]])),
       "orphans are removed after an hour; nothing else", os.listdir(ENV["STELLA_HOME"] + "/jobs"))
    ok(os.path.exists("/etc/passwd"), "links are not followed")
    ok(os.listdir(f"{ENV['STELLA_HOME']}/jobs/{jobs['new']}") == ["1"], "what an earlier claim wrote is removed, the result stays")
    log = c.call("logs.read", filter="forgotten")
    ok(sum(int(l["message"].split()[0]) for l in log) == 452, "and the log says so", log)
    c.call("config.set", key="retention.results", value="1h")
    s.end()
    age(jobs["new"], 0.5)
    old_dir = f"{ENV['STELLA_HOME']}/jobs/{jobs['old']}"
    os.utime(old_dir, (old, old))
    s = Service(http=False)
    c = Client()
    ok(wait_for(lambda: not os.path.exists(f"{ENV['STELLA_HOME']}/jobs/{jobs['new']}")), "retention.results: the SBOM goes")
    ok(c.call("scans.get", id=jobs["new"])[0]["status"] == "completed", "the record stays")
    ok(wait_for(lambda: not os.path.exists(old_dir)), "directories of forgotten jobs go")
    ok(os.path.exists(f"{ENV['STELLA_HOME']}/jobs/{jobs['working']}/1/purls"), "those of a job in work stay")
    bad = c.call("config.set", key="retention.jobs", value="30 days")
    ok(bad.get("error") == "usage" and "retention.jobs" in bad["message"], "a bad value", bad)
    ok(s.end() == 0, "end")


def test_rude():
    """Clients that break the rules of HTTP, or keep them too slowly."""
    s = Service()
    http = lambda: s.http("GET", "/healthz", READ, raw=True)[0]

    def send(data, wait=20):
        c = socket.create_connection(("127.0.0.1", s.port))
        c.settimeout(wait)
        try:
            c.sendall(data)
            return c.recv(4096)
        except (ConnectionError, socket.timeout):
            return b""
        finally:
            c.close()
    for what, data, wants in [
        ("a header of 60,000 bytes", b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"y" * 60000 + b"\r\n\r\n", (b"431", b"413")),
        ("10,000 header lines", b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"h%d: v\r\n" % i for i in range(10000)) + b"\r\n", (b"431", b"413")),
        ("a URL of 60,000 bytes", b"GET /" + b"u" * 60000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (b"414", b"431", b"413")),
        ("no HTTP at all", os.urandom(2000) + b"\r\n\r\n", (b"400", b"")),
        ("a version that is not there", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", (b"505", b"400", b"401", b"404")),
        ("two lengths that differ", b"POST /api/v1/scans HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nabc", (b"400", b"401", b"")),
        ("a chunk size that is none", b"POST /api/v1/scans HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc", (b"400", b"401", b"")),
        ("a chunk of 2^64", b"POST /api/v1/scans HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc", (b"413", b"400", b"401", b"")),
    ]:
        answer = send(data)
        first = answer.split(b"\r\n")[0]
        ok(any(w in first for w in wants) and b"200" not in first, f"{what}: {first.decode('latin-1') or 'cut'}", answer)
    t0 = time.time()
    half = send(b"GET /healthz HTTP/1.1\r\nHost:", 40)
    ok(b"200" not in half and time.time() - t0 < 30, f"half a request: cut after {time.time() - t0:.0f} s", half)
    # Slowloris: more connections than there are, each with a header line now and then.
    held, t0 = [], time.time()
    for _ in range(400):
        c = socket.create_connection(("127.0.0.1", s.port))
        c.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        held.append(c)
    ok(http() == 200, "400 half requests are open: it answers")
    time.sleep(20)
    cut = 0
    for c in held:
        c.setblocking(False)
        try:
            cut += c.recv(10) == b"" or 1
        except BlockingIOError:
            pass
        except OSError:
            cut += 1
        c.close()
    ok(cut >= 390, f"{cut} of 400 were cut after 15 s of silence")
    # All at once: more than are taken, each with a request. Those beyond wait until others have left.
    conns = []
    for _ in range(512):
        c = socket.create_connection(("127.0.0.1", s.port))
        c.settimeout(30)
        conns.append(c)
    time.sleep(1)
    s.p.send_signal(signal.SIGSTOP)
    for c in conns:
        c.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    s.p.send_signal(signal.SIGCONT)
    t0 = time.time()
    statuses = [c.recv(4096).split(b" ")[1] for c in conns]
    took = time.time() - t0
    ok(set(statuses) <= {b"200", b"429"} and took < 10, f"512 requests at once: all answered within {took:.1f} s", statuses)
    [c.close() for c in conns]
    ok(http() in (200, 429) and s.end() == 0, "end")


if __name__ == "__main__":
    main(globals())
