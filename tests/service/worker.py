"""The worker process, with this program as its supervisor: worker.py TEST STELLA. Speaks TAP."""
import array, http.server, json, os, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", d) for d in ("e2e", ".")]
import images
import tap
from tap import ok

TEST, STELLA = sys.argv[1:3]
WORK = tempfile.mkdtemp(prefix="stella-worker-")
HOME = WORK + "/home"
os.mkdir(HOME)
ENV = {k: v for k, v in os.environ.items() if not k.startswith("STELLA_")}
ENV["LC_ALL"] = "C.UTF-8"
MIB = 1 << 20
ID = "aaaaaa0000000000000000000000000"



class Worker:
    """A process of one job, and what it said."""

    def __init__(self, send_job=True, fd=None, env=None, **job):
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s = mine
        self.said = []
        self.code = None
        n = theirs.fileno()

        def place():
            os.dup2(n, 3)
            os.set_inheritable(3, True)

        self.p = subprocess.Popen([STELLA, "worker"], close_fds=False, preexec_fn=place, env={**ENV, **(env or {})},
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        theirs.close()
        if send_job:
            self.job = {"id": ID + "1", "fence": 1, "attempt": 1, "home": HOME, "memoryLimit": 256 * MIB, **job}
            self.send("job", self.job, [fd] if fd is not None else [])

    def send(self, kind, record, fds=()):
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.s.sendmsg([f"{kind} {json.dumps(record)}".encode()], anc)

    def take(self, timeout=60):
        self.s.settimeout(timeout)
        try:
            p = self.s.recv(1 << 18)
        except ConnectionResetError:
            p = b""
        if not p:
            return None
        kind, _, rest = p.decode().partition(" ")
        self.said.append((kind, json.loads(rest), time.monotonic()))
        return self.said[-1]

    def until(self, kind, **fields):
        while True:
            m = self.take()
            if not m or (m[0] == kind and all(m[1].get(k) == v for k, v in fields.items())):
                return m and m[1]

    def end(self):
        """The end that it said, {} when it said none; its exit code is then known."""
        while self.take():
            pass
        self.out, self.err = self.p.communicate(timeout=60)
        self.code = self.p.returncode
        ends = [m for k, m, _ in self.said if k == "end"]
        return ends[-1] if ends else {}

    def lines(self, **fields):
        return [m["message"] for k, m, _ in self.said
                if k == "log" and all(m.get(f) == v for f, v in fields.items())]


def local(image, *args):
    r = subprocess.run([STELLA, "scan", "image", image, "--quiet", *args], env={**ENV, "STELLA_HOME": WORK + "/local"},
                       capture_output=True, timeout=120)
    assert r.returncode == 0, r.stderr
    return r.stdout


def run(path, name=None, **job):
    """A job with the file at `path`, which its client calls `name`."""
    name = name or path
    options = {"path": name, "file": True, **job.pop("options", {})}
    fd = os.open(path, os.O_RDONLY)
    w = Worker(image=name, fd=fd, hasFile=True, options=options, **job)
    os.close(fd)
    return w


def result(fence=1, which="1"):
    d = f"{HOME}/jobs/{ID}{which}/{fence}"
    return {n: open(f"{d}/{n}", "rb").read() for n in sorted(os.listdir(d))} if os.path.isdir(d) else {}


def big(n_layers=6, files=400, tail=3000000):
    """Layers that take a while to read and have packages each."""
    return images.Image([images.tar([(f"d{i}/{k}.egg-info", images.egg(f"p{i}-{k}")) for k in range(files)] +
                                    [(f"big{i}", os.urandom(tail))]) for i in range(n_layers)])


def test_life():
    """One job: its messages, its result."""
    img = images.small_image()
    open(WORK + "/app.tar", "wb").write(img.docker_archive())
    w = run(WORK + "/app.tar", options={"formats": "spdx-json,purls,table"})
    end = w.end()
    ok(end.get("reason") is None and end.get("exitCode") == 0 and w.code == 0, "a job ends complete", (end, w.err))
    got = result()
    ok(sorted(got) == ["composition-recipe", "cyclonedx-json", "layers", "profile", "profile-json", "purls", "spdx-json", "table", "unknowns"],
       "its files", list(got))
    for f in ("cyclonedx-json", "purls", "spdx-json", "table"):
        ok(got.get(f) == local(WORK + "/app.tar", "--format", f), f"{f}: the bytes of a local scan")
    ok(end["result"] == "cyclonedx-json,spdx-json,purls,table" and end["unknowns"] == 1 and end["packages"] > 200,
       "the end says what there is", end)
    ok(set(end["phases"]) == {"index", "layers", "merge", "write"} and end["peakBytes"] > MIB, "phases and memory", end)
    ok(b"complete with 1 unknown\n" in got["unknowns"] and b"bad.egg-info" in got["unknowns"], "unknowns for a person",
       got["unknowns"])
    subject = [m for k, m, _ in w.said if k == "subject"]
    ok(len(subject) == 1 and subject[0]["digest"].startswith("sha256:") and subject[0]["size"] > 0, "the subject, once", subject)
    ok(any("layer 1 of 3" in l for l in w.lines(component="sbom", level="debug")), "a debug line for each layer",
       w.lines())
    ok(not any(re.search("out of memory|memory allocation failed|heap exhausted", l) for l in w.lines()),
       "no word of a memory death")
    ok(not [f for f in os.listdir(f"{HOME}/jobs/{ID}1") if f.endswith(".frag")], "no checkpoint is left",
       os.listdir(f"{HOME}/jobs/{ID}1"))
    # The same image by other ways.
    open(WORK + "/app.tar.gz", "wb").write(images.squeeze(img.docker_archive(), "gzip"))
    w = run(WORK + "/app.tar.gz", fence=2)
    ok(w.end().get("exitCode") == 0 and result(2)["cyclonedx-json"] == local(WORK + "/app.tar.gz", "--format", "cdx"),
       "a compressed archive", w.said)
    img.oci_dir(WORK + "/oci")
    w = run(WORK + "/oci", "oci:" + WORK + "/oci", fence=3, options={"path": WORK + "/oci"})
    ok(w.end().get("exitCode") == 0 and result(3)["cyclonedx-json"] == local("oci:" + WORK + "/oci", "--format", "cdx"),
       "a layout directory", w.said)
    r, wr = os.pipe()
    w = Worker(image="-", fd=r, hasFile=True, options={"file": True}, fence=4)
    os.close(r)
    data = img.oci_archive()
    os.set_blocking(wr, True)
    with os.fdopen(wr, "wb") as f:
        f.write(data)
    p = subprocess.run([STELLA, "scan", "image", "-", "--format", "cdx", "-q"], input=data, capture_output=True,
                       env={**ENV, "STELLA_HOME": WORK + "/local"})
    ok(w.end().get("exitCode") == 0 and result(4)["cyclonedx-json"] == p.stdout, "a pipe", w.said)
    # The verdict is against it, the result is there.
    w = run(WORK + "/app.tar", fence=5, options={"strict": True})
    end = w.end()
    ok(end["exitCode"] == 1 and end["reason"] == "strict" and end["result"] == "cyclonedx-json" and w.code == 0 and
       result(5)["cyclonedx-json"] == result(1)["cyclonedx-json"], "--strict: failed, and written", end)


def check_redirect():
    """A registry that may be private sends us to another server of the private network."""
    asked = {}

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.setdefault(self.server.server_port, []).append(self.path)
            away = f"http://127.0.0.1:{other.server_port}/secret" if self.server is first else None
            self.send_response(302 if away else 404)
            if away:
                self.send_header("Location", away)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass
    first, other = (http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) for _ in range(2))
    for s in first, other:
        threading.Thread(target=s.serve_forever, daemon=True).start()
    name, away = f"127.0.0.1:{first.server_port}", f"127.0.0.1:{other.server_port}"
    end = Worker(fence=31, image=name + "/web:1", config={"registry.allow_private": name}).end()
    ok(end.get("reason") == "bad_input" and "registry.allow_private" in end["message"] and asked.get(first.server_port) and
       other.server_port not in asked, "a redirect from there to a host that it does not name is refused: " + end["message"], (end, asked))
    end = Worker(fence=32, image=name + "/web:1", config={"registry.allow_private": f"{away},{name}"}).end()
    ok(end.get("reason") == "not_found" and other.server_port in asked, "unless that is named too", (end, asked))
    for s in first, other:
        s.shutdown()


def test_refused():
    """What no worker does."""
    r = subprocess.run([STELLA, "worker"], capture_output=True, text=True, env=ENV, close_fds=True)
    ok(r.returncode == 2 and "stella serve" in r.stderr, "typed by a person", r.stderr)
    r = subprocess.run([STELLA, "--help"], capture_output=True, text=True, env=ENV)
    ok(r.returncode == 0 and not re.search(r"^  worker ", r.stdout, re.M), "hidden from help", r.stdout)
    open(WORK + "/plain.tar", "wb").write(images.small_image().docker_archive())
    cases = [
        ("a path of the service's machine", "bad_input", dict(image=WORK + "/plain.tar")),
        ("a directory of it", "bad_input", dict(image="rootfs:/")),
        ("standard input", "bad_input", dict(image="-")),
        ("its daemon", "bad_input", dict(image="docker:web:1")),
        ("a file that is gone", "source_gone", dict(image="app.tar", options={"file": True, "path": "app.tar"})),
        ("a limit that is too small", "bad_input", dict(image="web:1", memoryLimit=20 * MIB)),
        ("an unknown option", "bad_input", dict(image="web:1", options={"memry": 1})),
        ("an unknown format", "bad_input", dict(image="web:1", options={"formats": "doc"})),
        ("a bad platform", "bad_input", dict(image="web:1", options={"platform": "linux"})),
        ("an id that is a path", "bad_input", dict(image="web:1", id="../../../../etc/aaaaaaaaaaaaaaaa")),
        ("no network", "bad_input", dict(image="127.0.0.1:1/web:1", options={"offline": True})),
        ("a registry at a private address", "bad_input", dict(image="127.0.0.1:1/web:1")),
    ]
    for i, (what, reason, job) in enumerate(cases):
        w = Worker(**{"fence": 10 + i, **job})
        end = w.end()
        ok(end.get("reason") == reason and end.get("exitCode") and end.get("message") and w.code == 0 and
           not result(10 + i), f"{what}: {reason}: {str(end.get('message'))[:90]}", (end, w.err))
    ok("loopback" in end["message"] or "private" in end["message"] or "address" in end["message"],
       "which says that it is the address", end)
    w = Worker(fence=30, image="127.0.0.1:1/web:1", config={"registry.allow_private": "127.0.0.1:1"})
    end = w.end()
    ok(end.get("reason") == "retryable", "unless registry.allow_private names it", end)
    check_redirect()
    for what, packet in [("noise", b"\xff\xfe"), ("another message first", b'stop {"release":true}'),
                         ("no JSON", b"job {"), ("a descriptor too little", json.dumps({}).encode())]:
        w = Worker(send_job=False)
        w.s.send(packet)
        w.end()
        ok(w.code in (1, 2) and w.err.startswith("stella: "), f"{what}: exit {w.code}: {w.err.strip()[:80]}", w.err)
    w = Worker(send_job=False)
    w.s.close()
    out, err = w.p.communicate(timeout=20)
    ok(w.p.returncode == 1, "a supervisor that goes at once", err)


def test_stop():
    """Stop, signals, the end of the supervisor; the next attempt goes on."""
    img = big(8)
    img.oci_dir(WORK + "/oci")
    whole = local("oci:" + WORK + "/oci", "--format", "cdx")
    last = img.blob_path(WORK + "/oci", min(range(8), key=lambda i: len(img.blobs[i]))) # the largest is read first
    keep = open(last, "rb").read()

    def frags():
        d = f"{HOME}/jobs/{ID}1"
        return [f for f in os.listdir(d) if f.endswith(".frag")] if os.path.isdir(d) else []

    # A damaged last layer: what was finished is kept.
    open(last, "r+b").write(b"?")
    w = run(WORK + "/oci", "oci:" + WORK + "/oci", fence=1, options={"path": WORK + "/oci", "threads": 1})
    end = w.end()
    ok(end["reason"] == "corrupt_layer" and len(frags()) >= 1, f"a failed job keeps {len(frags())} finished layers", end)
    n = len(frags())
    open(last, "wb").write(keep)
    w = run(WORK + "/oci", "oci:" + WORK + "/oci", fence=2, options={"path": WORK + "/oci"}, attempt=2, resume=True)
    end = w.end()
    ok(end["exitCode"] == 0 and end["resumedFrom"] == ID + "1" and result(2)["cyclonedx-json"] == whole,
       "the next attempt goes on from them: the same bytes", end)
    total = sum(len(b) for b in img.blobs)
    ok(end["bytesRead"] <= total - n * min(len(b) for b in img.blobs), f"and reads {end['bytesRead']} of {total} bytes")
    ok(not frags(), "after success none is left", frags())
    for what, act, left in [("stop, cancelled", lambda w: w.send("stop", {"release": False}), False),
                            ("stop, released", lambda w: w.send("stop", {"release": True}), True),
                            ("SIGTERM", lambda w: w.p.send_signal(signal.SIGTERM), True)]:
        r, wr = os.pipe()
        w = Worker(image="-", fd=r, hasFile=True, options={"file": True}, fence=9)
        os.close(r)
        os.write(wr, img.oci_archive()[:40000])
        w.until("progress", phase="layers")
        if left is not None:
            os.makedirs(f"{HOME}/jobs/{ID}1", exist_ok=True)
            open(f"{HOME}/jobs/{ID}1/0000.frag", "w").close()
        t0 = time.monotonic()
        act(w)
        end = w.end()
        os.close(wr)
        ok(end.get("reason") == "cancelled" and w.code == 0 and time.monotonic() - t0 < 15,
           f"{what}: ends in {time.monotonic() - t0:.1f} s", (end, w.err))
        ok(bool(frags()) == left, f"{what}: checkpoints are {'kept' if left else 'removed'}", frags())
    # The supervisor dies: so do the worker and all it started.
    script = ("import os,socket,subprocess,sys,json,array,time\n"
              "a,b=socket.socketpair(socket.AF_UNIX,socket.SOCK_SEQPACKET)\n"
              "r,w=os.pipe()\n"
              "n=b.fileno()\n"
              "def f():\n os.dup2(n,3); os.set_inheritable(3,True)\n"
              "p=subprocess.Popen([sys.argv[1],'worker'],close_fds=False,preexec_fn=f)\n"
              "b.close()\n"
              "job=json.loads(sys.argv[2])\n"
              "a.sendmsg([('job '+json.dumps(job)).encode()],[(socket.SOL_SOCKET,socket.SCM_RIGHTS,array.array('i',[r]))])\n"
              "os.write(w,b'x'*10)\n"
              "time.sleep(0.7)\n"
              "print(p.pid,open(f'/proc/{p.pid}/task/{p.pid}/children').read(),flush=True)\n"
              "time.sleep(60)\n")
    job = {"id": ID + "1", "fence": 10, "attempt": 1, "home": HOME, "memoryLimit": 256 * MIB, "image": "-",
           "hasFile": True, "options": {"file": True}}
    p = subprocess.Popen([sys.executable, "-c", script, STELLA, json.dumps(job)], env=ENV, stdout=subprocess.PIPE, text=True)
    pids = [int(x) for x in p.stdout.readline().split()]
    p.kill()
    p.wait()
    time.sleep(0.5)
    alive = [x for x in pids if os.path.exists(f"/proc/{x}") and "Z" not in open(f"/proc/{x}/stat").read().split(")")[1][:3]]
    ok(len(pids) >= 2 and not alive, f"the supervisor is killed: none of {len(pids)} processes is left", (pids, alive))


def test_config():
    """The configuration snapshot: what it does, by figures; the bytes stay the same."""
    img = big(6, tail=9000000)
    open(WORK + "/big.tar", "wb").write(img.oci_archive())
    size = len(img.config) + sum(len(b) for b in img.blobs)
    whole = local(WORK + "/big.tar", "--format", "cdx")
    ends = {}
    for i, (what, config, limit) in enumerate([
            ("side by side", {"sbom.streaming_threshold": "2Gi"}, 512),
            ("never", {"sbom.streaming_threshold": "off"}, 512),
            ("by size", {"sbom.streaming_threshold": str(size)}, 512),
            ("just under it", {"sbom.streaming_threshold": str(size + 1)}, 512),
            ("always", {"sbom.streaming_threshold": "0"}, 512),
            ("forced", {"sbom.streaming_threshold": "2Gi"}, 64)]):
        w = run(WORK + "/big.tar", fence=20 + i, config=config, memoryLimit=limit * MIB, options={"threads": 4})
        ends[what] = w.end()
        ok(ends[what].get("exitCode") == 0 and result(20 + i).get("cyclonedx-json") == whole, f"{what}: the same bytes",
           (ends[what], w.err))
        lines = "\n".join(w.lines(component="sbom", level="debug"))
        ok(("streaming: " in lines) == (what in ("by size", "always")) and
           ("streaming forced by memory limit" in lines) == (what == "forced"), f"{what}: said in the log", lines)
        ok(("6 layers, 4 at a time" in lines) == (what not in ("by size", "always", "forced")), f"{what}: layers at a time", lines)
    print("# peak KiB: " + ", ".join(f"{k} {v['peakBytes'] >> 10}" for k, v in ends.items()))
    ok(ends["always"]["peakBytes"] < ends["side by side"]["peakBytes"], "streaming takes less memory")
    # The cache by configuration; the submission has the last word.
    w = run(WORK + "/big.tar", fence=40, config={"cache.layer_dedup": "true"})
    ok(w.end()["layersCached"] == 0, "an empty cache")
    w = run(WORK + "/big.tar", fence=41, config={"cache.layer_dedup": "true"})
    end = w.end()
    ok(end["layersCached"] == 6 and end["bytesRead"] == 0 and result(41)["cyclonedx-json"] == whole,
       "cache.layer_dedup: nothing is read again", end)
    w = run(WORK + "/big.tar", fence=42, config={"cache.layer_dedup": "true"}, options={"cache": False})
    ok(w.end()["layersCached"] == 0, "a submission without")
    w = run(WORK + "/big.tar", fence=43, config={"cache.layer_dedup": "false"}, options={"cache": True})
    ok(w.end()["layersCached"] == 6, "a submission with")
    # The second image of a base, and no other, is the moment to say that the cache would help.
    base, said = images.tar([("etc/os-release", b"ID=debian\n")]), []
    for i in range(4):
        write = images.Image([base, images.tar([(f"app{i}", os.urandom(100))])])
        open(f"{WORK}/h{i}.tar", "wb").write(write.oci_archive())
    for i, which in enumerate([0, 0, 1, 1, 2, 3]):
        w = run(f"{WORK}/h{which}.tar", fence=80 + i, config={"cache.layer_dedup": "true" if which == 3 else "false"})
        w.end()
        said.append(any("cache.layer_dedup true" in l for l in w.lines()))
    ok(said == [False, False, True, False, False, False], "a hint for the second image of a base", said)
    # A deadline: the configuration's, the submission's, the supervisor's.
    for i, (what, job) in enumerate([("timeouts.scan", dict(config={"timeouts.scan": "1s"})),
                                     ("the submission's", dict(config={"timeouts.scan": "20m"}, options={"file": True, "timeoutSeconds": 1})),
                                     ("the supervisor's", dict(config={"timeouts.scan": "20m"}, deadlineMs=1000))]):
        r, wr = os.pipe()
        w = Worker(**{"image": "-", "fd": r, "hasFile": True, "options": {"file": True}, "fence": 50 + i, **job})
        os.close(r)
        t0 = time.monotonic()
        end = w.end()
        os.close(wr)
        ok(end.get("reason") == "timeout" and 0.8 < time.monotonic() - t0 < 4, f"{what} deadline", end)
    # Never more often than twice a second.
    r, wr = os.pipe()
    w = Worker(image="-", fd=r, hasFile=True, options={"file": True}, fence=60)
    os.close(r)
    data, t0 = img.oci_archive(), time.monotonic()
    for i in range(30):
        os.write(wr, data[i * 1000:(i + 1) * 1000])
        time.sleep(0.07)
    spent = time.monotonic() - t0
    w.send("stop", {"release": True})
    w.end()
    os.close(wr)
    n = sum(k == "progress" for k, _, _ in w.said)
    ok(2 <= n <= 2 * spent + 3, f"{n} times progress in {spent:.1f} s")
    # A budget that does not do is a memory death by its words.
    img = images.Image([images.tar([("a", os.urandom(3000000))])], "zstd")
    blob = subprocess.run(["zstd", "-c", "-q", "--long=27", "-"], input=img.layers[0], stdout=subprocess.PIPE, check=True).stdout
    img = images.Image(img.layers, blobs=[blob])
    open(WORK + "/long.tar", "wb").write(img.oci_archive())
    w = run(WORK + "/long.tar", fence=70, memoryLimit=64 * MIB)
    end = w.end()
    ok(end["reason"] == "oom" and end["exitCode"] == 1 and any("heap exhausted" in l for l in w.lines(level="error")),
       "a spent budget: " + str(end["message"])[:100], (end, w.lines()))


def test_leak():
    """The leak of the tests, and that a release has none."""
    global STELLA
    leaking = sys.argv[3]
    hook = b"STELLA_TEST_LEAK"
    ok(hook not in open(STELLA, "rb").read(), "stella has no leak for tests")
    ok(hook in open(leaking, "rb").read(), "another program has")
    os.makedirs(WORK + "/bin")
    shutil.copy(leaking, WORK + "/bin/stella")
    shutil.copy(os.path.join(os.path.dirname(STELLA), "stella-analyze"), WORK + "/bin")
    STELLA = WORK + "/bin/stella"
    open(WORK + "/app.tar", "wb").write(images.small_image().docker_archive())
    w = run(WORK + "/app.tar", env={"STELLA_TEST_LEAK": "other"})
    ok(w.end().get("exitCode") == 0, "another image is left alone")
    w = run(WORK + "/app.tar", env={"STELLA_TEST_LEAK": "app=24Mi"}, fence=2)
    end = w.end()
    ok(end.get("exitCode") == 0 and end["peakBytes"] > 24 * MIB, "so much, and no more", end)
    w = run(WORK + "/app.tar", env={"STELLA_TEST_LEAK": "app"}, fence=3)
    time.sleep(1)
    rss = int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{w.p.pid}/status").read())[1]) >> 10
    w.p.kill()
    ok(rss > 60 and w.end() == {} and w.code == -9 and os.listdir(f"{HOME}/jobs/{ID}1"), f"until it is killed: {rss} MiB")
    w = run(WORK + "/app.tar", fence=4, resume=True)
    ok(w.end().get("resumedFrom") == ID + "1", "the next attempt goes on from the layer that was done")
    import resource
    old = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (64 * MIB, old[1]))
    w = run(WORK + "/app.tar", env={"STELLA_TEST_LEAK": "app"}, fence=5)
    resource.setrlimit(resource.RLIMIT_DATA, old)
    end = w.end()
    ok(end.get("reason") == "oom" and any("memory allocation failed" in l for l in w.lines(level="error")),
       "a refused allocation is a memory death by its words", end)


def test_incremental():
    """sbom.incremental_mode: checkpoints within a layer, and going on from them; the same bytes in any case."""
    def entries(n, lo=0, changed=None):
        out = []
        for i in range(lo, n):
            d = f"app/node_modules/m{i // 10}"
            if i % 10 == 0:
                version = "9.9.9" if i == changed else f"1.0.{i}"
                out.append((d + "/package.json", json.dumps({"name": f"m{i // 10}", "version": version}).encode()))
            elif i % 1000 == 1:
                out.append((f"l{i}.egg-info", "=" + f"app/node_modules/m{i // 10}/package.json"))
            elif i % 1000 == 2:
                out.append((f"usr/lib/e{i}.egg-info", images.egg(f"e{i}")))
            elif i % 1000 == 3:
                out.append((f"usr/lib/f{i}.egg-info", f"=usr/lib/e{i - 1}.egg-info"))
            elif i % 1000 == 4:
                out.append((f"opt/n{i}.egg-info", f"=plain{i - 1000}")) # read in the second pass
            elif i % 1000 == 5:
                out.append((f"plain{i - 1}", images.egg(f"late{i}")))
            else:
                out.append((f"{d}/f{i}.js", b"x"))
        return out
    base = images.tar([("etc/os-release", b"ID=debian\nVERSION_ID=12\n")])
    n = 125000
    data = images.tar(entries(n))
    for codec in ("gzip", "none", "zstd"):
        img = images.Image([base, data], codec)
        d = WORK + "/" + codec
        img.oci_dir(d)
        whole = local("oci:" + d, "--format", "cdx")
        blob = img.blob_path(d, 1)
        good = open(blob, "rb").read()
        on = {"sbom.incremental_mode": "true"}
        job = dict(path=d, name="oci:" + d, options={"path": d})
        f = {"gzip": 100, "none": 200, "zstd": 300}[codec]
        w = run(**job, fence=f, config=on)
        end = w.end()
        ok(end.get("exitCode") == 0 and result(f).get("cyclonedx-json") == whole and not end["resumedFrom"],
           f"{codec}: with checkpoints within, the same bytes", (end, w.err))
        ok(all(x.isdigit() for x in os.listdir(f"{HOME}/jobs/{ID}1")),
           "none is left when it is done", os.listdir(f"{HOME}/jobs/{ID}1"))
        bad = good[:-3000] + bytes(x ^ 0x55 for x in good[-3000:])
        open(blob, "wb").write(bad)
        w = run(**job, fence=f + 1, config=on)
        end = w.end()
        part = f"{HOME}/jobs/{ID}1/0001.part"
        ok(end.get("reason") == "corrupt_layer" and os.path.exists(part), f"{codec}: a damaged end keeps them", end)
        size = os.path.getsize(part)
        open(blob, "wb").write(good)
        keep = open(part, "rb").read()
        w = run(**job, fence=f + 2, config=on, resume=True, attempt=2)
        end = w.end()
        lines = [l for l in w.lines(component="sbom") if "were known from a checkpoint" in l]
        ok(end.get("exitCode") == 0 and end["resumedFrom"] == ID + "1" and result(f + 2)["cyclonedx-json"] == whole,
           f"{codec}: gone on with, the same bytes; {size} bytes of checkpoints", (end, w.lines()))
        ok(len(lines) == 1 and "100000 entries" in lines[0] and not os.path.exists(part), "from entry 100,000 on", w.lines())
        # A torn end, a flipped bit, another version, rubbish: what is whole counts.
        for what, text, known in [("torn", keep[:-100], 50000), ("flipped", keep[:-5000] + b"\x00" + keep[-4999:], 50000),
                                  ("of another version", keep[:8] + b"\x09" + keep[9:], 0), ("empty", b"", 0),
                                  ("rubbish", os.urandom(5000), 0)][:5 if codec == "gzip" else 1]:
            open(part, "wb").write(text)
            w = run(**job, fence=f + 3, config=on, resume=True, attempt=2)
            end = w.end()
            lines = [l for l in w.lines(component="sbom") if "were known from a checkpoint" in l]
            ok(end.get("exitCode") == 0 and result(f + 3)["cyclonedx-json"] == whole and
               (f"{known} entries" in lines[0] if known else not lines), f"{codec}, {what}: {known} entries are known",
               (end, w.lines()))
    # Another layer behind the same name: its own bytes are read.
    other = images.Image([base, images.tar(entries(n, changed=500))], "gzip")
    shutil.rmtree(WORK + "/gzip")
    other.oci_dir(WORK + "/gzip")
    whole = local("oci:" + WORK + "/gzip", "--format", "cdx")
    open(part, "wb").write(open(part, "rb").read() if os.path.exists(part) else keep)
    w = run(path=WORK + "/gzip", name="oci:" + WORK + "/gzip", options={"path": WORK + "/gzip"}, fence=400, config=on, resume=True)
    end = w.end()
    ok(end.get("exitCode") == 0 and result(400)["cyclonedx-json"] == whole and b"9.9.9" in whole and not end["resumedFrom"],
       "a checkpoint of other bytes is not used", (end, w.lines()))


globals()["test_" + TEST]()
shutil.rmtree(WORK, ignore_errors=True)
tap.done()
