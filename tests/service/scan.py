"""stella scan image with a service: scan.py TEST STELLA STELLA_API. Speaks TAP."""
import json, os, re, shutil, signal, subprocess, sys, tempfile, time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", d) for d in ("e2e", "registry", ".")]
import bolt_file
import images
import tap
from tap import ok

TEST, STELLA, API = [sys.argv[1]] + [os.path.abspath(x) for x in sys.argv[2:4]]
WORK = tempfile.mkdtemp(prefix="stella-scan-")
ENV = {k: v for k, v in os.environ.items() if not k.startswith("STELLA_")}
ENV.update(STELLA_HOME=WORK + "/home", LC_ALL="C.UTF-8")
LOCAL = {**ENV, "STELLA_HOME": WORK + "/local"}
os.makedirs(ENV["STELLA_HOME"])
os.chdir(WORK)



class Serve:
    all = []

    def __init__(self, *argv, ready="ready"):
        Serve.all.append(self)
        self.p = subprocess.Popen(argv or [STELLA, "serve"], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  text=True)
        for line in self.p.stderr:
            if ready in line:
                break
        else:
            raise SystemExit("the service did not start")
        os.set_blocking(self.p.stderr.fileno(), False)

    def end(self, sig=signal.SIGTERM):
        self.p.send_signal(sig)
        self.p.wait(30)


def scan(*args, env=None, stdin=None, timeout=90, **more):
    r = subprocess.run([STELLA, "scan", "image", "--progress", "off", *args], env=env or ENV, input=stdin,
                       stdin=more.get("file", subprocess.DEVNULL if stdin is None else None), capture_output=True, timeout=timeout)
    return r.returncode, r.stdout, r.stderr.decode(errors="replace")


def start(*args, **more):
    return subprocess.Popen([STELLA, "scan", "image", "--progress", "off", *args], env=ENV, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **{"stdin": subprocess.DEVNULL, **more})


def jobs():
    r = subprocess.run([STELLA, "scanner", "jobs", "list", "--format", "json"], env=ENV, capture_output=True, text=True)
    return json.loads(r.stdout)


def until(state, seconds=20):
    for _ in range(seconds * 20):
        j = jobs()
        if j and j[0]["status"] == state:
            return j[0]
        time.sleep(0.05)
    return jobs()[0]


def write(name, data):
    with open(name, "wb") as f:
        f.write(data)


def test_same():
    """By the service or here: the same bytes, exit code and last lines."""
    img = images.small_image()
    write("app.tar", img.docker_archive())
    write("app.tar.gz", images.squeeze(img.docker_archive(), "gzip"))
    img.oci_dir("oci")
    img.oci_dir("ct/io.containerd.content.v1.content")
    os.makedirs("ct/io.containerd.metadata.v1.bolt")
    write("ct/io.containerd.metadata.v1.bolt/meta.db",
          bolt_file.containerd({"default": {"docker.io/library/app:1": "sha256:" + images.sha(img.manifest)}}))
    bad = bytearray(img.docker_archive())
    at = bad.find(b"Package: p7")
    bad[at] ^= 1
    write("corrupt.tar", bytes(bad))
    write("text.tar", b"this is no image\n" * 100)
    s = Serve()
    before = len(jobs())
    cases = [
        ("an archive", ["app.tar"]), ("compressed", ["app.tar.gz"]), ("a path", ["./app.tar"]), ("pinned", ["docker-archive:app.tar"]),
        ("a layout", ["oci:oci"]), ("a directory", ["rootfs:oci"]), ("containerd's store", [f"containerd:[{WORK}/ct]app:1"]), ("platform", ["app.tar", "--platform", "linux/amd64"]),
        ("SPDX", ["app.tar", "--format", "spdx"]), ("syft", ["app.tar", "--format", "json"]), ("purls", ["app.tar", "--format", "purls"]),
        ("verify full", ["app.tar", "--verify", "full"]), ("quiet", ["app.tar", "-q"]), ("cache", ["app.tar", "--cache", "on"]),
        ("strict", ["app.tar", "--strict"]), ("strict, quiet", ["app.tar", "--strict", "-q"]), ("damaged", ["corrupt.tar"]),
        ("keep going", ["corrupt.tar", "--keep-going", "--format", "purls"]), ("no image", ["text.tar"]),
        ("no file", ["./nowhere.tar"]), ("wrong tag", ["oci:oci:other"]), ("offline", ["registry:web:1", "--offline"]),
    ]
    for what, args in cases:
        a, b = scan(*args), scan(*args, env=LOCAL)
        last = [[l for l in x[2].splitlines() if "is with the service" not in l][-1:] for x in (a, b)]
        ok(a[:2] == b[:2] and last[0] == last[1], f"{what}: exit {a[0]}, {len(a[1])} bytes", (a[0], b[0], a[2], b[2]))
    ok(len(jobs()) > before + 15, "the service did it")
    for what, more in [("a pipe", dict(stdin=open("app.tar", "rb").read())), ("a file as standard input", dict(file=open("app.tar", "rb")))]:
        a = scan("-", "--format", "cdx", **more)
        if "file" in more:
            more = dict(file=open("app.tar", "rb"))
        b = scan("-", "--format", "cdx", env=LOCAL, **more)
        ok(a[:2] == b[:2] and a[0] == 0, f"{what}: {len(a[1])} bytes", a[2])
    code, out, err = scan("app.tar", "-o", "cdx=s.cdx", "-o", "purls=s.purls", "--output", "s.table")
    scan("app.tar", "-o", "cdx=l.cdx", "-o", "purls=l.purls", "--output", "l.table", env=LOCAL)
    ok(code == 0 and not out and all(open("s." + x).read() == open("l." + x).read() for x in ("cdx", "purls", "table")),
       "three files", err)
    ok(not [f for f in os.listdir(".") if "partial" in f], "nothing is left beside them")
    code, out, err = scan("app.tar", "--output", "nowhere/x")
    ok(code == 1 and "cannot write nowhere/x" in err and jobs()[0]["status"] == "completed", "a wrong name costs no scan", err)
    n = len(jobs())
    for option in (["--creds", "me:secret"], ["--client-cert", "c", "--client-key", "k"], ["--ca-file", "c"], ["--cache", WORK + "/c"]):
        code, _, err = scan("registry:web:1", *option)
        ok(code == 2 and "--local" in err and "secret" not in err, f"{option[0]} does not travel", err)
    ok(len(jobs()) == n and b"secret" not in open(ENV["STELLA_HOME"] + "/stella.db", "rb").read(), "and nothing of it was stored")
    code, _, err = scan("app.tar", "--local", "-q")
    ok(code == 0 and jobs()[0]["pool"] is None, "--local")
    code, _, err = scan("app.tar", "--profile-memory")
    ok(code == 0 and re.search(r"^peak [\d.]+ MiB of 40\d\d MiB", err, re.M) and "analyzers started" in err, "--profile-memory", err)
    code, _, err = scan("app.tar", "--profile-output", "m.json", "-q")
    ok(code == 0 and json.load(open("m.json"))["layers"], "--profile-output", err)
    j = [x for x in jobs() if x["pool"]][0]
    ok(j["unknowns"] == 1 and j["packages"] > 200 and "cyclonedx-json" in j["result"] and j["host"], "the job says what it left", j)
    s.end()
    code, _, err = scan("app.tar", "-q")
    ok(code == 0 and jobs()[0]["pool"] is None, "no service: here", err)


def test_stop():
    """Ctrl-C; a service that goes and comes."""
    img = images.small_image()
    write("app.tar", img.docker_archive())
    s = Serve()
    p = start("-", stdin=subprocess.PIPE)
    until("processing")
    p.send_signal(signal.SIGINT)
    p.wait(timeout=60)  # its input stays open: the end of it would fail the job before the client can cancel it
    err = p.communicate()[1]
    ok(p.returncode == 1 and "is cancelled" in err, "Ctrl-C", err)
    j = until("cancelled")
    ok(j["status"] == "cancelled", "cancels the job", j)
    p = start("-", stdin=subprocess.PIPE)
    j = until("processing")
    subprocess.run([STELLA, "scanner", "jobs", "cancel", j["id"]], env=ENV, capture_output=True, text=True)
    err = p.communicate()[1]
    ok(p.returncode == 1 and "was cancelled" in err, "cancelled by somebody else", err)
    s.end()
    # Nobody works: the job waits and says so; a service that is killed loses what was passed to it.
    a = Serve(API, ready="answers at")
    p = start("app.tar")
    j = until("pending")
    time.sleep(2.5)
    q = start("app.tar", "--retry")
    time.sleep(1)
    q.send_signal(signal.SIGINT)
    err = q.communicate()[1]
    ok(q.returncode == 1 and "is pending already" in err and "goes on" in err and len([x for x in jobs() if x["status"] == "pending"]) == 1,
       "--retry joins a pending job and leaves it when interrupted", err)
    a.end(signal.SIGKILL)
    s = Serve()
    err = p.communicate(timeout=60)[1]
    ok(p.returncode == 4 and "has no worker" in err and "is gone" in err, "the file is gone with the service", err)
    ok(jobs()[0]["reason"] == "source_gone", "and the job says why", jobs()[0])
    code, out, err = scan("app.tar", "--retry", "--format", "purls")
    ok(code == 0 and "retry of job" in err and out == scan("app.tar", "--format", "purls", env=LOCAL)[1],
       "--retry passes it again, for another format", (code, err))
    ok(jobs()[0]["id"] == j["id"] and jobs()[0]["attempt"] == 2, "the same job, its second attempt", jobs()[0])
    code, _, err = scan("app.tar", "--retry")
    ok(code == 2 and "completed; --force" in err, "--retry of one that completed", err)
    code, _, err = scan("never.tar", "--retry")
    ok(code == 4 and "no failed scan of never.tar" in err, "--retry of none", err)
    s.end()
    # Submissions that mean the same are one job, while it is not done.
    a = Serve(API, ready="answers at")
    p, q = start("registry:web:1"), start("registry:web:1", "--progress", "off", "--verify", "blob")
    time.sleep(1.5)
    same = [x for x in jobs() if x["image"] == "registry:web:1"]
    ok(len(same) == 1, "two that ask the same are one job", same)
    for x in (p, q):
        x.send_signal(signal.SIGTERM)
    errs = sorted(x.communicate()[1].strip().splitlines()[-1] for x in (p, q))
    ok("goes on" in "".join(errs) and "is cancelled" in "".join(errs) or "could not be" in "".join(errs),
       "only whose job it is cancels it", errs)
    a.end()


def test_resume():
    """A failed job is mended and goes on where it was."""
    img = images.Image([images.tar([(f"d{i}/{k}.egg-info", images.egg(f"p{i}-{k}")) for k in range(50)] + [(f"b{i}", os.urandom(2000000))])
                        for i in range(5)])
    img.oci_dir("oci")
    last = img.blob_path("oci", min(range(5), key=lambda i: len(img.blobs[i]))) # the largest is read first
    keep = open(last, "rb").read()
    write(last, b"?" + keep[1:])
    s = Serve()
    code, _, err = scan("oci:oci", "--threads", "1")
    j = jobs()[0]
    ok(code == 1 and j["reason"] == "corrupt_layer" and j["attempt"] == 1, "a damaged layer, once", (err, j))
    write(last, keep)
    code, out, err = scan("oci:oci", "--retry", "--threads", "1")
    j = jobs()[0]
    ok(code == 0 and j["resumedFrom"] == j["id"] and j["attempt"] == 2, "--retry goes on from its checkpoints", (err, j))
    ok(out == scan("oci:oci", env=LOCAL)[1], "the same bytes")
    s.end()


try:
    globals()["test_" + TEST]()
finally:
    for x in Serve.all:
        if x.p.poll() is None:
            x.end(signal.SIGTERM)
shutil.rmtree(WORK, ignore_errors=True)
tap.done()
