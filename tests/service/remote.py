"""The verbs with STELLA_SERVER=http(s)://...: remote.py TEST STELLA STELLA_API. Speaks TAP.

http, https: every case of service.py's `verbs`, word for word, but through stella-remote. errors: what goes wrong."""
import gzip, hashlib, http.server, json, os, re, signal, socket, subprocess, sys, tarfile, threading, time

import service
import web
from service import ADMIN, ENV, READ, STELLA, SUBMIT, WORK, Client, Service, main, ok, stella


def point_at(s, token=ADMIN):
    """From now on `stella` speaks to this service over HTTP, and has no state directory of its own."""
    ENV["STELLA_SERVER"] = f"http{'s' if s.tls else ''}://127.0.0.1:{s.port}"
    ENV["STELLA_TOKEN_FILE"] = WORK + "/token"
    with open(WORK + "/token", "w") as f:
        f.write(token + "\n")


class Remote(Service):
    """What service.py starts, with `stella` pointed at its HTTP side."""
    tls_args = []

    def __init__(self, *args, **more):
        ENV.pop("STELLA_SERVER", None)
        super().__init__(*self.tls_args, *args, **more)
        point_at(self)


def verbs(tls):
    if tls:
        web.make_ca()
        web.make_cert("one")
        Remote.tls_args = ["--tls-cert", WORK + "/one.pem", "--tls-key", WORK + "/one.key"]
        ENV["STELLA_CA_FILE"] = WORK + "/ca.pem"
    service.Service = Remote
    service.WHO = "ops"
    service.test_verbs()


def test_http():
    verbs(False)


def test_https():
    verbs(True)


class Answer(http.server.BaseHTTPRequestHandler):
    """A server that answers everything with one thing."""
    what = (200, {"Content-Type": "text/html"}, b"<html>hello</html>")
    asked = []

    def do_GET(self):
        Answer.asked.append((self.path, dict(self.headers)))
        status, headers, body = Answer.what() if callable(Answer.what) else Answer.what
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, *args):
        pass


def says(what, want, text, args=("scanner", "jobs", "list"), **env):
    t0 = time.time()
    code, out, err = stella(*args, env=env)
    ok(code == want and re.search(text, err) and err.count("\n") == 1 and out == "", f"{what}: exit {want} ({time.time() - t0:.1f} s)",
       (code, out, err))
    return err


def test_errors():
    s = Service()
    point_at(s)
    ok(stella("scanner", "jobs", "list")[0] == 0, "all is well")
    says("no token", 3, r"STELLA_TOKEN_FILE", STELLA_TOKEN_FILE="")
    says("token file that is not there", 3, r"No such file", STELLA_TOKEN_FILE=WORK + "/none")
    says("wrong token", 3, r"token", STELLA_TOKEN="w" * 30)
    said = says("token with a newline in it", 2, r"one word", STELLA_TOKEN="secret-part\nX: y" + "w" * 30)
    ok("secret-part" not in said, "the token is not shown", said)
    ok(stella("scanner", "jobs", "list", env={"STELLA_TOKEN": READ, "STELLA_TOKEN_FILE": ""})[0] == 0, "STELLA_TOKEN")
    says("role", 3, r"admin.*read", ("scanner", "config", "set", "worker.count", "2"), STELLA_TOKEN=READ)
    says("bad value", 2, r"worker.count", ("scanner", "config", "set", "worker.count", "0"))
    says("unknown job", 4, r"no job", ("scanner", "jobs", "show", "0" * 32))
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    says("nobody listens", 10, r"no service answers at http://127", STELLA_SERVER=f"http://127.0.0.1:{free.getsockname()[1]}")
    says("unknown host", 10, r"no service answers at https://nowhere.invalid", STELLA_SERVER="https://nowhere.invalid")
    for url in ("https://", "http:///x", "https://a b", "https://host/?x", "https://host/#x", "ftp://host", "https://:1"):
        says(f"URL {url}", 2, r"STELLA_SERVER", STELLA_SERVER=url)
    says("password in the URL", 2, r"STELLA_TOKEN_FILE", STELLA_SERVER="https://u:p@host")
    says("plain HTTP to another machine", 2, r"https://", STELLA_SERVER="http://192.0.2.1:80")
    says("CA file without a certificate", 2, r"STELLA_CA_FILE", STELLA_CA_FILE=WORK + "/token")
    says("CA file that is not there", 2, r"No such file", STELLA_CA_FILE=WORK + "/none")
    says("TLS to a plain port", 2, r"TLS", STELLA_SERVER=f"https://127.0.0.1:{s.port}")

    # Operations of the supervisor are not offered, whatever the token.
    r = subprocess.run(["python3", "-c", """
import socket, subprocess, sys
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
p = subprocess.Popen(["bash", "-c", 'exec 3<&0; exec "$0" --serve', sys.argv[1]], stdin=b)
b.close()
for q in (b'queue.claim {"pool":"default","worker":"w","leaseMs":60000}', b'GET / HTTP/1.1', b'scans.list {"x":1}', b'scans.get {}', b'scans.list {}'):
    a.send(q)
    while (x := a.recv(1 << 18))[:1] == b"R":
        pass
    print(x.decode())
a.close()
sys.exit(p.wait(10))
""", os.path.dirname(STELLA) + "/stella-remote"], env=ENV, capture_output=True, text=True, timeout=60)
    lines = r.stdout.splitlines()
    ok(len(lines) == 5 and "not offered over HTTP" in lines[0] and "usage" in lines[0], "a claim is not offered over HTTP", r.stdout + r.stderr)
    ok('"bad_input"' in lines[1] and '"bad_input"' in lines[2] and "'id' is missing" in lines[3], "requests that are none", lines)
    ok(lines[4] == "E" and r.returncode == 0, "and it goes on, and ends when stella does", lines)

    # Servers that are something else, or lie.
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{other.server_port}"
    json_type = {"Content-Type": "application/json"}
    for what, want, text, answer in [
        ("a page", 2, r"not stella", (200, {"Content-Type": "text/html"}, b"<html>")),
        ("a page that is not found", 4, r"404", (404, {"Content-Type": "text/html"}, b"<html>")),
        ("another JSON", 2, r"not one of stella's", (200, json_type, b'{"a":1}')),
        ("rows that are no objects", 2, r"not one of stella's", (200, json_type, b"[1]")),
        ("JSON that ends early", 1, r".", (200, json_type, b'[{"id":')),
        ("more after the end", 1, r".", (200, json_type, b"[] []")),
        ("a row of 200,000 bytes", 1, r"limit", (200, json_type, b'[{"image":"' + b"x" * 200000 + b'"}]')),
        ("deep JSON", 1, r".", (200, json_type, b"[" + b'{"a":' * 5000)),
        ("forbidden by a proxy", 3, r"403", (403, {"Content-Type": "text/plain"}, b"no")),
        ("an unknown error word", 1, r"because", (400, json_type, b'{"error":"strange","message":"because"}')),
        ("terminal codes in a message", 1, r"because", (400, json_type, b'{"error":"strange","message":"\\u001b[31mbecause\\nof"}')),
    ]:
        Answer.what = answer
        err = says(what, want, text, STELLA_SERVER=url)
        ok("\x1b" not in err, "and no control character", err)
    times = []

    def busy():
        times.append(time.time())
        if len(times) < 3:
            return 503, {"Retry-After": "1", **json_type}, b'{"error":"retryable","message":"busy"}'
        return 200, json_type, b"[]"
    Answer.what = busy
    code, out, err = stella("scanner", "jobs", "list", env={"STELLA_SERVER": url})
    ok(code == 0 and len(times) == 3 and all(b - a >= 0.9 for a, b in zip(times, times[1:])), "503 with Retry-After: asked again after it", times)
    Answer.what = (302, {"Location": "http://192.0.2.1/api/v1/scans"}, b"")
    Answer.asked.clear()
    code, out, err = stella("scanner", "jobs", "list", env={"STELLA_SERVER": url + "/prefix/"})
    ok(code != 0 and len(Answer.asked) == 1 and Answer.asked[0][0].startswith("/prefix/api/v1/scans?"), "a path before /api", Answer.asked)
    ok(Answer.asked[0][1]["Authorization"] == "Bearer " + ADMIN, "the token goes there")
    ok(ADMIN not in " ".join(open(f"/proc/{p}/cmdline").read() for p in os.listdir("/proc") if p.isdigit() and os.path.exists(f"/proc/{p}/cmdline")),
       "and is on no command line")

    # TLS.
    web.make_ca()
    web.make_cert("one")
    web.make_cert("elsewhere", san="DNS:other.example")
    t = Service("--socket", WORK + "/tls.sock", "--tls-cert", WORK + "/one.pem", "--tls-key", WORK + "/one.key")
    https = f"https://127.0.0.1:{t.port}"
    says("an authority that is not known", 1, r"STELLA_CA_FILE", STELLA_SERVER=https)
    ok(stella("scanner", "status", env={"STELLA_SERVER": https, "STELLA_CA_FILE": WORK + "/ca.pem"})[0] == 0, "with STELLA_CA_FILE")
    says("plain HTTP to a TLS port", 10, r"https://", STELLA_SERVER=https.replace("https", "http"))
    t.end()
    t = Service("--socket", WORK + "/tls.sock", "--tls-cert", WORK + "/elsewhere.pem", "--tls-key", WORK + "/elsewhere.key")
    says("a certificate of another name", 1, r".", STELLA_SERVER=f"https://127.0.0.1:{t.port}", STELLA_CA_FILE=WORK + "/ca.pem")
    t.end()
    # The service goes away in the middle.
    follow = subprocess.Popen([STELLA, "scanner", "logs", "--follow"], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    s.end()
    out, err = follow.communicate(timeout=60)
    ok(follow.returncode == 10 and "no service answers" in err, "logs --follow when the service ends: exit 10", (follow.returncode, err))
    r = subprocess.run([os.path.dirname(STELLA) + "/stella-remote"], capture_output=True, text=True, timeout=10)
    ok(r.returncode == 2 and "started by stella" in r.stderr, "by hand: exit 2", r.stderr)


class Helper:
    """stella-remote, as stella speaks to it."""

    def __init__(self):
        self.s, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        self.p = subprocess.Popen(["bash", "-c", 'exec 3<&0; exec "$0" --serve', os.path.dirname(STELLA) + "/stella-remote"], stdin=theirs, env=ENV)
        theirs.close()
        self.s.settimeout(60)

    def call(self, op, fd=None, **fields):
        """The rows, or the error; and what came along."""
        packet = f"{op} {json.dumps(fields)}".encode()
        socket.send_fds(self.s, [packet], [fd] if fd is not None else [])
        rows, came = [], None
        while True:
            p, fds, _, _ = socket.recv_fds(self.s, 1 << 18, 4)
            came = fds[0] if fds else came
            if p[:1] == b"R":
                rows.append(json.loads(p[1:]))
            elif p[:1] == b"E":
                return rows, came
            elif not p:
                return None, None
            else:
                return json.loads(p[1:]), came

    def end(self):
        self.s.close()
        return self.p.wait(10)


def test_files():
    """Files that go along: an archive with a submission, an SBOM with its answer."""
    s = Service()
    point_at(s, SUBMIT)
    c = Client()
    h = Helper()
    data = os.urandom(1 << 20) * 40
    with open(WORK + "/app image.tar", "wb") as f:
        f.write(data)
    with open(WORK + "/app image.tar", "rb") as f:
        rows, _ = h.call("scans.submit", f.fileno(), image=WORK + "/app image.tar", options={"formats": "purls", "strict": True, "path": "x"},
                         size=5, priority="high", digest=None, fresh=True)
        ok(isinstance(rows, list) and rows[0]["status"] == "pending", "an archive of 40 MiB goes along", rows)
        job = rows[0]
        ok(job["image"].endswith("/appimage.tar") and open(job["image"], "rb").read() == data, "its bytes are there, under its name", job["image"])
        ok(job["size"] == len(data) and job["priority"] == "high" and job["options"] == {"strict": True, "formats": "purls"}, "size, priority, options", job)
        rows, _ = h.call("scans.retry", f.fileno(), id=job["id"])
        ok(rows.get("error") == "usage", "a file with anything else is refused", rows)
        rows, _ = h.call("scans.submit", f.fileno(), image="x.tar", options={"stirct": True})
        ok(rows.get("error") == "bad_input" and "stirct" in rows["message"], "options that are none", rows)
    r, w = os.pipe()
    rows, _ = h.call("scans.submit", r, image="-")
    ok(rows.get("error") == "usage" and "--local" in rows["message"], "a pipe cannot be sent", rows)
    d = os.open(WORK, os.O_RDONLY)
    ok(h.call("scans.submit", d, image=WORK)[0].get("error") == "usage", "a directory neither")
    with open(WORK + "/empty", "w+b") as f:
        ok(h.call("scans.submit", f.fileno(), image="x")[0].get("error") == "bad_input", "an empty file neither")
    rows, came = h.call("scans.sbom", id=job["id"], format="purls")
    ok(rows.get("error") == "conflict" and came is None, "no SBOM yet", rows)
    got = c.call("queue.claim", pool="default", worker=socket.gethostname() + "/default-1", leaseMs=60000)[0]
    sbom = ("pkg:deb/debian/base-files@12\n" * 400000).encode()
    web.result(got["id"], got["fence"], purls=sbom.decode(), unknowns="one\n")
    end = c.call("job.finish", id=got["id"], fence=got["fence"], status="completed", result="cyclonedx-json,purls", host=socket.gethostname())
    ok(end == [{"status": "completed"}], "done", end)
    rows, came = h.call("scans.sbom", id=job["id"][:8], format="purls")
    ok(rows == [{"format": "purls", "size": len(sbom)}] and os.fdopen(came, "rb").read() == sbom, f"the SBOM, {len(sbom) >> 20} MiB", str(rows)[:200])
    rows, came = h.call("scans.sbom", id=job["id"], format="unknowns")
    ok(rows == [{"format": "unknowns", "size": 4}] and os.fdopen(came, "rb").read() == b"one\n", "unknowns", rows)
    rows, came = h.call("scans.sbom", id=job["id"], format="spdx-json")
    ok(rows.get("error") == "not_found" and came is None, "a format that was not written", rows)
    ok(h.call("scans.sbom", id=job["id"], format="pdf")[0].get("error") == "bad_input", "one that is none")
    ok(h.call("scans.list")[0][0]["id"] == job["id"], "and all else goes on")
    fds = len(os.listdir(f"/proc/{h.p.pid}/fd"))
    for _ in range(20):
        rows, came = h.call("scans.sbom", id=job["id"], format="purls")
        os.close(came)
    ok(len(os.listdir(f"/proc/{h.p.pid}/fd")) == fds, f"no descriptor is left: {fds}")
    # The service goes away in the middle of a transfer.
    with open(WORK + "/app image.tar", "rb") as f:
        os.kill(s.p.pid, signal.SIGSTOP)
        t = threading.Timer(2, s.p.kill)
        t.start()
        rows, _ = h.call("scans.submit", f.fileno(), image="x.tar")
        ok(isinstance(rows, dict) and rows["error"] == "retryable", "killed in the middle: retryable", rows)
    ok(h.end() == 0, "ends with stella")


def test_same():
    """Verbs that change nothing say the same over HTTP as over the socket; digits aside, which are times."""
    s = Service()
    c = Client()
    for i in range(3):
        c.call("scans.submit", image=f"app:{i}", pool="default" if i else "large")
    c.call("pools.put", name="large", memory=8 << 30, count=2)
    got = c.call("queue.claim", pool="default", worker="h/default-1", leaseMs=600000, memoryLimit=1 << 30)[0]
    c.call("job.finish", id=got["id"], fence=got["fence"], status="failed", reason="crash", exitCode=1)
    c.call("workers.report", id="h/default-1", pool="default", state="idle", memory=5 << 20, memoryLimit=4 << 30, enforced="cgroup")
    c.call("logs.add", level="error", component="worker", message="out of memory: killed", job=got["id"])
    c.call("config.set", key="worker.count", value="3")
    verbs = [v for v in """scanner status|scanner jobs list|scanner jobs list --status failed,oom --last 1h|scanner jobs show ID|scanner jobs show nothing
        scanner jobs list --status fialed|scanner queue status|scanner stats|scanner stats --sbom-metrics --last 2h|scanner deadletter list
        scanner config list|scanner config get worker.count|scanner config get worker|scanner config get nothing|scanner config history
        scanner config set worker.count many|scanner logs|scanner logs --filter memory --level error --tail 3|scanner logs --filter ( --regex
        scanner workers list|scanner workers stats|scanner workers inspect|obs metrics|obs metrics --filter scanner_jobs|doctor run --check check.scanner.queue
        scanner jobs cancel nothing|scanner jobs retry ffffffff|scanner workers remove --pool nobody""".replace("\n", "|").split("|")]
    plain = {k: v for k, v in ENV.items()}
    n = 0
    for verb in verbs:
        args = [a.replace("ID", got["id"]) for a in verb.split()]
        for extra in ([], ["--format", "json"]):
            here = stella(*args, *extra)
            if extra and "unknown option" in here[2]:
                continue
            point_at(s)
            there = stella(*args, *extra)
            ENV.clear()
            ENV.update(plain)
            # The host's CPUs are known from the second look on: in the text a line, in JSON an object.
            without_cpu = lambda t: re.sub(r'(?m)^scanner_host_cpu_.*\n|^  \{\n    "name": "scanner_host_cpu_[^}]*\},?\n', "", t)
            text = lambda t: re.sub(r"[0-9.]+", "0", without_cpu(t))
            strip = lambda r: (r[0], text(r[1]), text(r[2]))
            n += 1
            ok(strip(here) == strip(there), " ".join([*args, *extra]) + f": {here[0]}", f"{here}\n{there}")
    ok(n >= 40, f"{n} commands")


def test_scan():
    """A whole scan by a service elsewhere: stella serve with real workers, the archive and the SBOM over HTTPS."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
    import images
    img = images.small_image()
    os.chdir(WORK)
    with open("app.tar", "wb") as f:
        f.write(img.docker_archive())
    with open("app.tar.gz", "wb") as f:
        f.write(images.squeeze(img.docker_archive(), "gzip"))
    with open("text.tar", "wb") as f:
        f.write(b"this is no image\n" * 100)
    img.oci_dir("oci")
    web.make_ca()
    web.make_cert("one")
    with open("tokens", "w") as f:
        f.write(f"submit ci {SUBMIT}\n")
    os.chmod("tokens", 0o600)
    serve = subprocess.Popen([STELLA, "serve", "--listen", "127.0.0.1:0", "--tokens", WORK + "/tokens", "--tls-cert", WORK + "/one.pem",
                              "--tls-key", WORK + "/one.key"], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seen, port = "", 0
    for line in serve.stderr:
        seen += line
        m = re.search(r"HTTPS port (\d+)", line)
        port = int(m.group(1)) if m else port
        if "ready" in line and port:
            break
    ok(port, "stella serve answers on HTTPS", seen)
    threading.Thread(target=serve.stderr.read, daemon=True).start()
    with open("token", "w") as f:
        f.write(SUBMIT)
    here = {**ENV, "STELLA_HOME": WORK + "/local"}
    away = {**here, "STELLA_SERVER": f"https://127.0.0.1:{port}", "STELLA_TOKEN_FILE": WORK + "/token", "STELLA_CA_FILE": WORK + "/ca.pem"}

    def scan(env, *args, stdin=subprocess.DEVNULL):
        r = subprocess.run([STELLA, "scan", "image", "--progress", "off", *args], env=env, stdin=stdin, capture_output=True, timeout=90)
        return r.returncode, r.stdout, r.stderr.decode(errors="replace")
    try:
        for name in ("app.tar", "app.tar.gz"):
            for form in ("cyclonedx-json", "spdx-json", "table", "purls"):
                a, b = scan(here, "--local", name, "--format", form), scan(away, name, "--format", form)
                ok(a[0] == b[0] == 0 and a[1] == b[1] and len(a[1]) > 100, f"{name} as {form}: the same bytes as here",
                   (a[0], b[0], a[2], b[2], a[1][:700], b[1][:700]))
        a, b = scan(here, "--local", "text.tar"), scan(away, "text.tar")
        ok(a[0] == b[0] == 2 and b[1] == b"", "no image: the same exit code", (a, b))
        b = scan(away, "oci")
        ok(b[0] == 2 and "--local" in b[2], "a directory does not travel: said", b)
        with open("app.tar", "rb") as f:
            cat = subprocess.Popen(["cat"], stdin=f, stdout=subprocess.PIPE)
            b = scan(away, "-", stdin=cat.stdout)
        ok(b[0] == 2 and "--local" in b[2], "nor does a pipe", b)
        r = subprocess.run(["curl", "-sS", "--noproxy", "*", "--cacert", "ca.pem", "-H", "Authorization: Bearer " + SUBMIT, "-H",
                            "Content-Type: application/x-tar", "--data-binary", "@app.tar", f"https://127.0.0.1:{port}/api/v1/scans?name=app.tar"],
                           capture_output=True, text=True, timeout=60)
        job = json.loads(r.stdout)
        ok("id" in job, "curl: straight into a worker", r.stdout + r.stderr)
        r = subprocess.run(["curl", "-sSN", "--noproxy", "*", "--cacert", "ca.pem", "-H", "Authorization: Bearer " + SUBMIT,
                            f"https://127.0.0.1:{port}/api/v1/scans/{job.get('id')}/events"], capture_output=True, text=True, timeout=60)
        ok('"status":"completed"' in r.stdout, "its events end with completed", r.stdout[-600:])
        r = subprocess.run(["curl", "-sS", "--noproxy", "*", "--cacert", "ca.pem", "-H", "Authorization: Bearer " + SUBMIT,
                            f"https://127.0.0.1:{port}/api/v1/scans/{job.get('id')}/sbom"], capture_output=True, timeout=60)
        # As from every pipe: one hard link cannot be read again, as in a compressed archive.
        same = scan(here, "--local", "app.tar.gz", "--format", "cyclonedx-json")[1].replace(b'"app.tar.gz"', b'"app.tar"')
        ok(r.stdout == same and len(same) > 1000, "and its SBOM has the bytes of a scan from a pipe", (r.stdout[:500], same[:500]))
        get = lambda what: json.loads(subprocess.run(["curl", "-sS", "--noproxy", "*", "--cacert", "ca.pem", "-H", "Authorization: Bearer " + SUBMIT,
                                                      f"https://127.0.0.1:{port}/api/v1/scans/{what}"], capture_output=True, timeout=60).stdout)
        jobs = [j["id"] for j in json.loads(stella("scanner", "jobs", "list", "--status", "completed", "--format", "json")[1])]
        layers, recipes = get(jobs[0] + "/layers"), [get(j + "/composition-recipe") for j in jobs]
        manifest = json.loads(tarfile.open("app.tar").extractfile("manifest.json").read())[0]
        blobs = [tarfile.open("app.tar").extractfile(n).read() for n in manifest["Layers"]]
        diff_ids = ["sha256:" + hashlib.sha256(b if b[:2] != b"\x1f\x8b" else gzip.decompress(b)).hexdigest() for b in blobs]
        ok([l["diffId"] for l in layers] == diff_ids and [l["index"] for l in layers] == list(range(len(blobs))) and
           all(l["uncompressedSize"] and l["fileCount"] is not None and l["state"] == "scanned" for l in layers), "layers", layers)
        over_socket = Client()
        ok(over_socket.must("scans.layers", id=jobs[0]) == layers, "the same over the socket")
        gone = over_socket.call("scans.layers", id="f" * 32)
        ok(gone.get("error") == "not_found", "no such job", gone)
        ok(len(recipes) >= 8 and len({json.dumps(r["layers"]) for r in recipes if len(r["layers"]) == 3}) <= 2, "recipes", recipes[:2])
        r = recipes[0]
        ok([x["layerDigest"] for x in r["layers"]] == sorted(x["layerDigest"] for x in r["layers"]) and len(r["layers"]) == len(set(diff_ids)),
           "by digest", r)
        sha = lambda *parts: hashlib.sha256(b"".join(parts)).digest()

        def merkle(leaves):  # as RFC 6962 defines it
            if len(leaves) == 1:
                return sha(b"\0", leaves[0])
            k = 1 << (len(leaves) - 1).bit_length() - 1
            return sha(b"\1", merkle(leaves[:k]), merkle(leaves[k:]))
        for r in recipes:
            leaves = [f"{x['layerDigest']}\n{x['fragmentSha256']}".encode() for x in r["layers"]]
            if merkle(leaves).hex() != r["merkleRoot"]:
                ok(False, "the Merkle root", r)
                break
        else:
            ok(True, f"the Merkle roots of {len(recipes)} recipes")
        by_image = {}
        for j in jobs:
            by_image.setdefault(os.path.basename(get(j)["image"]), set()).add(json.dumps(get(j + "/composition-recipe"), sort_keys=True))
        ok(len(by_image["app.tar.gz"]) == 1 and len(by_image) == 2, "each run of an image gives the same recipe", {k: len(v) for k, v in by_image.items()})
        end = time.time() + 20
        d = ENV["STELLA_HOME"] + "/uploads"
        while time.time() < end and any(not x.startswith(".") for x in os.listdir(d)):
            time.sleep(0.5)
        left = os.listdir(d)
        jobs = json.loads(stella("scanner", "jobs", "list", "--format", "json")[1])
        ok(len(left) == sum(j["status"] == "failed" for j in jobs), "stored archives are gone, but of the failed one", (left, [j["status"] for j in jobs]))
    finally:
        serve.send_signal(signal.SIGTERM)
        ok(serve.wait(30) == 0, "end")


if __name__ == "__main__":
    main(globals())
