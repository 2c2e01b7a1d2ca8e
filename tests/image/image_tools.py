#!/usr/bin/env python3
"""src/image against the tools that write images: skopeo and umoci (where installed), tar, and archives made here byte by byte.

usage: image_tools.py PROBE SCHEMA    (TAP on standard output)
"""
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile

PROBE, SCHEMA = map(os.path.abspath, sys.argv[1:3])
MUST_WORK = os.environ.get("MUST_WORK") == "1"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
count = failed = 0

try:
    import jsonschema
except ImportError:
    jsonschema = None
schema = json.load(open(SCHEMA))


def ok(cond, name, detail=""):
    global count, failed
    count += 1
    print(f"{'ok' if cond else 'not ok'} {count} - {name}".encode(errors="backslashreplace").decode().replace("\n", " "))
    if not cond:
        failed += 1
        for line in str(detail).splitlines()[:20]:
            print("#", line.encode(errors="backslashreplace").decode())
    sys.stdout.flush()


def skip(name, why):
    global count, failed
    count += 1
    if MUST_WORK:
        failed += 1
        print(f"not ok {count} - {name}: {why}")
    else:
        print(f"ok {count} - {name} # SKIP {why}")


def probe(*args, stdin=None):
    return subprocess.run([PROBE, *args], stdin=stdin, capture_output=True, text=True, errors="surrogateescape")


def image(*args, stdin=None):
    """Inspect output, checked against the schema; None when it fails."""
    r = probe(*args, stdin=stdin)
    if r.returncode:
        print(f"# {' '.join(args)}: {r.stderr.strip()}")
        return None
    doc = json.loads(r.stdout)
    if jsonschema:
        jsonschema.validate(doc, schema)
    return doc


def refused(name, code, word, part, *args):
    r = probe(*args)
    ok(r.returncode == code and r.stderr.startswith(word + ": ") and part in r.stderr and not r.stdout
       and r.stderr.count("\n") == 1, f"{name}: {r.stderr.strip()[:200]}", f"exit {r.returncode}\n{r.stderr}{r.stdout}")


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer_tar(names):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            t.addfile(info, io.BytesIO(name.encode()))
    return out.getvalue()


class Layout:
    """An OCI layout directory, made as the specification says."""

    def __init__(self, path):
        self.path = path
        os.makedirs(f"{path}/blobs/sha256")
        self.write("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')

    def write(self, name, data):
        with open(f"{self.path}/{name}", "wb") as f:
            f.write(data)

    def blob(self, data, media_type, **more):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.write("blobs/sha256/" + digest(data)[7:], data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}

    def image(self, layers, arch="amd64", **more):
        config = {"os": "linux", "architecture": arch, "rootfs": {"type": "layers", "diff_ids": [digest(x) for x in layers]}}
        return self.blob({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": self.blob(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [self.blob(x, "application/vnd.oci.image.layer.v1.tar") for x in layers],
        }, MANIFEST, **more)

    def index(self, *entries):
        self.write("index.json", json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode())

    def pack(self, path, order=None):
        """As one archive; `order` sorts the members."""
        names = [os.path.relpath(os.path.join(d, f), self.path) for d, _, fs in os.walk(self.path) for f in fs]
        with tarfile.open(path, "w") as t:
            for name in sorted(names, key=order):
                t.add(f"{self.path}/{name}", name)


def same_image(a, b):
    """Equal but for what may differ between sources of one image."""
    return a and b and a["config"] == b["config"] and a["platform"] == b["platform"] and a["labels"] == b["labels"] \
        and [x["diffId"] for x in a["layers"]] == [x["diffId"] for x in b["layers"]] \
        and [x["createdBy"] for x in a["layers"]] == [x["createdBy"] for x in b["layers"]]


def truncated(path, n):
    with open(path, "rb") as f:
        data = f.read(n)
    with open(path + ".cut", "wb") as f:
        f.write(data)
    return path + ".cut"


def test_layouts(tmp):
    path = f"{tmp}/layout"
    lay = Layout(path)
    lay.index(lay.image([layer_tar(["a"]), layer_tar(["b"])], annotations={"org.opencontainers.image.ref.name": "v1"}))
    want = image(f"oci:{path}")
    ok(want and want["layerCount"] == 2 and want["tags"] == ["v1"], "layout directory")
    ok(image(path + "/") == {**want, "name": path + "/"}, "layout directory by its path")
    ok(image(f"oci:{path}:v1") is not None, "layout directory and tag")
    for name, order in (("index first", lambda n: n != "index.json"), ("index last", lambda n: n == "index.json")):
        tar = f"{tmp}/a.tar"
        lay.pack(tar, order)
        ok(image(tar) == {**want, "name": tar}, f"archive, {name}")
        ok(image("--stream", tar) == {**want, "name": tar}, f"archive as a stream, {name}")
        for tool in ("gzip", "zstd", "xz", "bzip2"):
            if not shutil.which(tool):
                skip(f"archive, {name}, {tool}", f"no {tool}")
                continue
            packed = tar + ".z"
            with open(packed, "wb") as f:
                subprocess.run([tool, "-c", tar], stdout=f, check=True)
            ok(image(packed) == {**want, "name": packed}, f"archive, {name}, {tool}")
            with open(packed, "rb") as f:
                p = subprocess.Popen(["cat"], stdin=f, stdout=subprocess.PIPE)
                ok(image("-", stdin=p.stdout) == {**want, "name": "-"}, f"standard input, {name}, {tool}")
                p.wait()
    refused("pinned docker-archive", 2, "bad_input", "manifest.json", f"docker-archive:{tmp}/a.tar")
    refused("a directory as docker-archive", 2, "bad_input", "directory", f"docker-archive:{path}")
    refused("truncated archive", 1, "corrupt", "", truncated(f"{tmp}/a.tar", 3000))


def test_hostile_layouts(tmp):
    with open(f"{tmp}/secret", "wb") as f:
        f.write(b"{}")
    path = f"{tmp}/hostile"
    lay = Layout(path)
    m = lay.image([layer_tar(["a"])])
    lay.index({**m, "digest": "sha256:../../etc/passwd"})
    refused("digest that climbs", 1, "corrupt", "bad digest", path)
    lay.index({**m, "digest": "sha256:" + "../" * 21 + "e"})
    refused("digest that climbs, of the right length", 1, "corrupt", "bad digest", path)
    evil = f"{path}/blobs/sha256/{'1' * 64}"
    lay.index({"mediaType": MANIFEST, "digest": "sha256:" + "1" * 64, "size": 2})
    for name, target in (("absolute", f"{tmp}/secret"), ("relative", "../../../secret"), ("to itself", evil),
                         ("magic", "/proc/self/cwd/x")):
        os.symlink(target, evil)
        refused(f"blob is a link out: {name}", 1, "corrupt", "leads out", path)
        os.unlink(evil)
    os.mkfifo(evil)
    refused("blob is a FIFO", 1, "corrupt", "regular file", path)
    os.unlink(evil)
    os.mkdir(evil)
    refused("blob is a directory", 1, "corrupt", "regular file", path)
    os.rmdir(evil)
    with open(evil, "wb") as f:
        f.truncate(8 << 40)
    refused("manifest of 8 TiB", 1, "limit", "manifest is larger than 4 MiB", path)
    os.unlink(evil)
    refused("missing manifest", 1, "corrupt", "missing blob", path)
    at = m
    for _ in range(1000):
        at = lay.blob({"schemaVersion": 2, "manifests": [at]}, INDEX)
    lay.index(at)
    refused("1000 nested indexes", 1, "limit", "nested deeper", path)
    lay.index(*[lay.blob({"manifests": [], "n": i}, INDEX) for i in range(600)])
    refused("600 indexes", 1, "limit", "documents", path)
    lay.index(m)
    with open(f"{path}/blobs/sha256/" + digest(layer_tar(["a"]))[7:], "ab") as f:
        f.write(b"x")
    refused("layer longer than its descriptor", 1, "corrupt", "bytes, not the", path)
    with open(f"{path}/blobs/sha256/{m['digest'][7:]}", "r+b") as f:
        f.write(b"[")
    refused("changed manifest", 1, "corrupt", "wrong digest", path)
    os.unlink(f"{path}/index.json")
    refused("no index", 2, "bad_input", "index.json", path)


def docker_save(path, layers, links=False, extra=(), tags=("web:1",)):
    """A docker-archive as `docker save` wrote it for years: <id>/layer.tar, a later equal layer linked to the first."""
    config = json.dumps({"os": "linux", "architecture": "amd64",
                         "rootfs": {"type": "layers", "diff_ids": [digest(x) for x in layers]}}).encode()
    name = digest(config)[7:] + ".json"
    with tarfile.open(path, "w") as t:
        def add(member, data):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
        seen, members = {}, []
        for i, data in enumerate(layers):
            members.append(f"{i:064x}/layer.tar")
            if links and data in seen:
                info = tarfile.TarInfo(members[-1])
                info.type, info.linkname = tarfile.SYMTYPE, f"../{seen[data]}"
                t.addfile(info)
            else:
                add(members[-1], data)
            seen.setdefault(data, members[-1])
            add(f"{i:064x}/VERSION", b"1.0")
            add(f"{i:064x}/json", b'{"id":"x"}')
        add(name, config)
        add("manifest.json", json.dumps([{"Config": name, "RepoTags": list(tags), "Layers": members}]).encode())
        add("repositories", b'{"web":{"1":"x"}}')
        for member, data in extra:
            add(member, data)


def test_docker(tmp):
    a, b, path = layer_tar(["a"]), layer_tar(["b" * 11000]), f"{tmp}/docker.tar"
    docker_save(path, [a, b, a], links=True)
    want = image(path)
    ok(want and want["kind"] == "docker-archive" and want["tags"] == ["web:1"] and
       [x["size"] for x in want["layers"]] == [len(a), len(b), len(a)], "docker-archive with linked layers", want)
    ok(image("--stream", path) == want, "docker-archive as a stream")
    ok(image(f"docker-archive:{path}:web:1") is not None, "docker-archive and tag")
    refused("no such tag", 2, "bad_input", "there are: web:1", f"docker-archive:{path}:web:2")
    refused("pinned OCI", 2, "bad_input", "index.json", f"oci-archive:{path}")
    docker_save(path, [a], extra=[(f"./{0:064x}/layer.tar", b)])
    got = image(path), image("--stream", path)
    ok(got[0] and got[0] == got[1] and got[0]["layers"][0]["size"] == len(b), "of two members of one name the last one counts", got)
    docker_save(path, [a], extra=[(f"d/{i}", b"") for i in range(70000)])
    refused("70,000 members", 1, "limit", "65536", path)
    info = tarfile.TarInfo("manifest.json")
    info.size = (8 << 60) - 1
    with open(path, "wb") as f:
        f.write(info.tobuf(tarfile.GNU_FORMAT))
    refused("a member of 8 EiB", 1, "corrupt", "", path)
    with open(path, "wb") as f:
        f.write(b"\0" * 10240)
    refused("an empty tar", 2, "bad_input", "", path)
    with open(path, "wb"):
        pass
    refused("an empty file", 2, "bad_input", "empty", path)


def test_skopeo(tmp):
    if not shutil.which("skopeo"):
        return skip("skopeo", "not installed")
    lay = Layout(f"{tmp}/src")
    lay.index(lay.image([layer_tar(["a"]), layer_tar(["b" * 300])], annotations={"org.opencontainers.image.ref.name": "v1"}))
    want = image(f"oci:{tmp}/src:v1")
    for name, to, ref in (
            ("docker-archive", "docker-archive:{}/k.tar:corpus/web:2", "{}/k.tar"),
            ("oci-archive", "oci-archive:{}/k.otar:v2", "oci-archive:{}/k.otar:v2"),
            ("oci", "oci:{}/k.oci:v2", "{}/k.oci"),
            ("oci, zstd", "oci:{}/z.oci:v2", "oci:{}/z.oci:v2")):
        more = ["--dest-compress-format", "zstd", "--dest-compress"] if "zstd" in name else []
        r = subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", *more, f"oci:{tmp}/src:v1", to.format(tmp)],
                           capture_output=True, text=True)
        got = image(ref.format(tmp))
        ok(r.returncode == 0 and same_image(want, got), f"skopeo: {name}", f"{r.stderr}\n{want}\n{got}")
    raw = subprocess.run(["skopeo", "inspect", f"oci:{tmp}/z.oci:v2"], capture_output=True, text=True)
    got = image(f"oci:{tmp}/z.oci:v2")
    ok([x["digest"] for x in got["layers"]] == json.loads(raw.stdout)["Layers"] and
       got["manifest"]["digest"] == json.loads(raw.stdout)["Digest"], "skopeo inspect says the same digests", raw.stderr)


def test_umoci(tmp):
    if not shutil.which("umoci"):
        return skip("umoci", "not installed")
    u = f"{tmp}/u"

    def run(*args):
        subprocess.run(["umoci", *args], check=True, capture_output=True)
    run("init", "--layout", u)
    refused("an empty layout of umoci", 2, "bad_input", "no image", u)
    run("new", "--image", f"{u}:one")
    run("config", "--image", f"{u}:one", "--config.label", "a=b", "--architecture", "arm64", "--os", "linux")
    got = image(u)
    ok(got and got["layerCount"] == 0 and got["labels"] == {"a": "b"} and got["platform"]["architecture"] == "arm64",
       "umoci: no layers, a label", got)
    run("new", "--image", f"{u}:two")
    refused("two images of umoci", 2, "bad_input", "one, two", u)
    ok(image(f"oci:{u}:two") is not None, "umoci: the second image")


def tree(tmp):
    t = f"{tmp}/tree"
    os.makedirs(f"{t}/b/deep")
    os.makedirs(f"{t}/long/" + "d" * 120)
    os.mkdir(f"{t}/closed", 0)

    def write(name, data):
        with open(os.fsencode(f"{t}/") + os.fsencode(name), "wb") as f:
            f.write(data)
    write("a.want", b"wanted")
    write("plain", b"x" * 1000)
    write("byhead", b"MAGIC and more")
    write("empty.want", b"")
    write("b/deep/big.want", b"y" * 300000)
    write("long/" + "d" * 120 + "/f.want", b"long")
    write(b"long/" + b"d" * 120 + b"/\xff\xfe.want", b"raw")
    write("zz\n.want", b"newline")
    os.link(f"{t}/a.want", f"{t}/b/linked.want")
    write("first", b"same inode")
    os.link(f"{t}/first", f"{t}/second.want")
    os.symlink("/etc/passwd", f"{t}/out.want")
    os.symlink("l" * 200, f"{t}/longlink")
    os.mkfifo(f"{t}/fifo.want")
    cwd = os.getcwd()
    os.chdir(t)
    socket.socket(socket.AF_UNIX).bind("sock")
    os.chdir(cwd)
    return t


def read_tar(data):
    return tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape")


def rootfs(path, *before):
    return subprocess.run([*before, PROBE, "--rootfs", path], capture_output=True)


def test_rootfs(tmp):
    t = tree(tmp)
    r = rootfs(t)
    ok(r.returncode == 0, "directory as a stream", r.stderr.decode())
    ok(r.stdout == rootfs(t).stdout, "the same bytes again")
    tar = read_tar(r.stdout)
    got = {m.name: m for m in tar.getmembers()}
    want = set()
    for d, ds, fs in os.walk(t):
        want |= {os.path.relpath(os.path.join(d, n), t) for n in ds + fs}
    want.remove("sock")
    ok(set(got) == want, "every name but the socket's", set(got) ^ want)
    ok(list(got) == sorted(got, key=lambda n: [os.fsencode(p) for p in n.split("/")]), "in order")
    d = "long/" + "d" * 120

    def text(name):
        return tar.extractfile(got[name]).read()
    ok(text("a.want") == b"wanted" and text("b/deep/big.want") == b"y" * 300000 and text(d + "/f.want") == b"long"
       and text(d + "/\udcff\udcfe.want") == b"raw" and text("zz\n.want") == b"newline", "content of what is wanted")
    ok(text("byhead") == b"MAGIC and more", "wanted by its head")
    ok(got["plain"].size == 0 and got["plain"].pax_headers["STELLA.size"] == "1000", "the size of what is not")
    ok(got["b/linked.want"].islnk() and got["b/linked.want"].linkname == "a.want", "hard link")
    ok(got["first"].size == 0 and text("second.want") == b"same inode", "a wanted link to an unwanted name")
    ok(got["out.want"].issym() and got["out.want"].linkname == "/etc/passwd" and
       got["longlink"].linkname == "l" * 200, "symbolic links are not followed")
    ok(got["fifo.want"].isfifo() and got["closed"].isdir(), "FIFO and directory")
    listing = subprocess.run(["tar", "-tf", "-"], input=r.stdout, capture_output=True)
    ok(listing.returncode == 0 and listing.stdout.count(b"\n") == len(got), "GNU tar reads it", listing.stderr)
    if os.geteuid() == 0 and shutil.which("setpriv"):
        os.chmod(os.path.dirname(tmp), 0o755)
        r = rootfs(t, "setpriv", "--reuid", "65534", "--clear-groups")
        err = read_tar(r.stdout).getmember("closed").pax_headers.get("STELLA.error") if r.stdout else None
        ok(r.returncode == 0 and err == "Permission denied" and b"errors 1" in r.stderr, "unreadable directory", r.stderr)
    r = rootfs("/proc")
    ok(r.returncode == 2 and b"kernel interface" in r.stderr, "/proc is no root file system")
    os.mkdir(f"{tmp}/deep")
    fd = os.open(f"{tmp}/deep", os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d", dir_fd=fd)
        fd, old = os.open("d", os.O_RDONLY, dir_fd=fd), fd
        os.close(old)
    os.close(fd)
    r = rootfs(f"{tmp}/deep")
    ok(r.returncode == 0 and b"entries 512 " in r.stderr and b"errors 1 " in r.stderr, "600 directories deep", r.stderr)
    subprocess.run(["rm", "-rf", f"{tmp}/deep"], check=False)


def test_many(tmp):
    n = int(os.environ.get("ST_MANY", 40000))
    for i in range(n):
        os.close(os.open(f"{tmp}/{'n' * 150}{i}", os.O_CREAT))
    r = rootfs(tmp)
    said = r.stderr.decode().split()
    ok(r.returncode == 0 and f"entries {n} files {n}" in r.stderr.decode() and int(said[-1]) <= 4 << 20,
       f"{n} files in one directory in 4 MiB: {r.stderr.decode().strip()}")


if not jsonschema:
    skip("schema", "no python jsonschema")
with tempfile.TemporaryDirectory() as top:
    for test in (test_layouts, test_hostile_layouts, test_docker, test_skopeo, test_umoci, test_rootfs, test_many):
        where = f"{top}/{test.__name__}"
        os.mkdir(where)
        try:
            test(where)
        except Exception as e:  # a broken test is a failed one, and the others still run
            ok(False, test.__name__, f"{e!r} at line {e.__traceback__.tb_next.tb_lineno if e.__traceback__.tb_next else 0}")
    subprocess.run(["chmod", "-R", "u+rwX", top], check=False)
print(f"1..{count}")
sys.exit(failed != 0)
