#!/usr/bin/env python3
"""Layers read by their tables of contents: lazy.py PART STELLA, PART one of same, lies, tools."""
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import zlib

here = os.path.dirname(os.path.abspath(__file__))
sys.path += [here, os.path.join(here, "..", "e2e"), os.path.join(here, "..", "registry"), os.path.join(here, "..", "golden")]

from images import Image, Tests, egg, sha, tar  # noqa: E402
from lying import Registry  # noqa: E402
from make_exe_java import elf  # noqa: E402
from parts import CHECKSUM, POSITION, STARGZ, Layer, image  # noqa: E402

JSON = ("--format", "syft-json")
PURLS = ("--format", "purls")
KINDS = ("estargz", "zstd:chunked")
TAIL = 323  # bytes of a fragment's END record and checksum: the numbers of one run
noise = random.Random(7).randbytes


def crate(name):
    return zlib.compress(json.dumps({"packages": [{"name": name, "version": "1.0.0", "source": "crates.io"}]}).encode())


def status(n):
    return "".join(f"Package: p{i}\nStatus: install ok installed\nVersion: {i}\nArchitecture: amd64\n\n" for i in range(n)).encode()


def lower():
    """What a layer may hold that matters when it is not read from its beginning to its end."""
    return [
        ("etc", None, 0o755), ("etc/os-release", b"ID=debian\nVERSION_ID=12\n"), ("empty", b""),
        ("var/lib/dpkg/status", status(9000)),  # wanted, in several chunks
        ("srv/noise-1", noise(3 << 20)),  # nobody's
        ("opt/a.egg-info", egg("a")), ("opt/twice.egg-info", egg("first")), ("opt/twice.egg-info", egg("second")),
        ("srv/hidden", egg("hidden")), ("opt/linked.egg-info", "=srv/hidden"), ("opt/b.egg-info", "=opt/a.egg-info"),
        ("opt/nowhere.egg-info", "=srv/not-there"), ("opt/sym.egg-info", "->a.egg-info"), ("lib", "->opt"),
        ("usr/bin/small", elf([(".text", 6, noise(40000)), (".dep-v0", 2, crate("small"))]), 0o755),
        ("usr/lib/libmiddle.so.1", elf([(".text", 6, noise(200000)), (".dep-v0", 2, crate("middle"))])),
        ("usr/lib/odd-name", elf([(".text", 6, noise(200000)), (".dep-v0", 2, crate("odd"))])),
        ("usr/bin/large", elf([(".text", 6, noise(3 << 20)), (".dep-v0", 2, crate("large"))]), 0o755),
        # Its table of sections stands behind what it names: a second look.
        ("usr/bin/again", elf([(".text", 6, noise(3 << 20)), (".dep-v0", 2, crate("again")), (".data", 3, noise(2 << 20))]), 0o755),
        ("srv/zeros", bytes(2 << 20)), ("usr/bin/zeros", b"\x7fELF" + bytes(3 << 20), 0o755),
        ("srv/noise-2", noise(4 << 20)), ("opt/\u00e4\u2713.egg-info", egg("umlaut")), ("opt/" + "x" * 180 + "/y.egg-info", egg("far")),
        ("opt/late.egg-info", egg("late")), ("gone/c.egg-info", egg("gone-c")), ("kept/d.egg-info", egg("d")),
    ]


def upper():
    return [("opt/.wh.a.egg-info", b""), ("gone", None, 0o755), ("gone/.wh..wh..opq", b""), ("gone/new.egg-info", egg("new")),
            ("srv/noise-3", noise(3 << 20)), ("kept/d.egg-info", egg("d", "2")), (".wh.srv", b"")]


class Bytes:
    """What a registry was asked for of blobs, by what it answered."""

    def __init__(self, r):
        self.r = r
        del r.log[:]

    def ranges(self):
        got = []
        for _, path, headers in self.r.log:
            if "/blobs/" in path and "Range" in headers:
                a, b = headers["Range"].split("=")[1].split("-")
                got.append((int(a), int(b) + 1 if b else len(self.r.blobs[path.split("/blobs/")[1]])))
        return got

    def sum(self):
        return sum(b - a for a, b in self.ranges())

    def whole(self):
        return sum(1 for _, path, headers in self.r.log if "/blobs/" in path and "Range" not in headers)


def fragments(directory):
    found = {}
    for root, _, names in os.walk(directory):
        for n in names:
            if n.endswith(".frag"):
                with open(os.path.join(root, n), "rb") as f:
                    found[n] = f.read()
    return found


# ---- the same as the whole ----

def part_same(t):
    r = Registry()
    for kind in KINDS:
        layers = [Layer(kind, lower()), Layer(kind, upper())]
        im = image(layers)
        r.add(im, tag="1")
        ref = f"localhost:{r.port}/app:1"
        code, want, err = t.scan(ref, *JSON, "--verify", "full")
        names = [p["name"] for p in json.loads(want)["artifacts"]] if code == 0 else []
        t.ok(code == 0 and {"second", "hidden", "small", "middle", "odd", "large", "again", "late", "new", "umlaut", "far", "p8999"} <= set(names)
             and not {"first", "gone-c"} & set(names), f"{kind}: read whole, by the tar", code, err, names[-40:])
        t.ok("fetched" not in err, f"{kind}: --verify full reads all", err)
        b = Bytes(r)
        code, out, err = t.scan(ref, *JSON, "--threads", "1")
        size = sum(len(x.blob) for x in layers)
        said = [x for x in err.splitlines() if "fetched" in x]
        t.ok(code == 0 and out == want, f"{kind}: the same bytes by the table", code, err)
        layer_asked = sum(1 for _, p, h in r.log if any(sha(x.blob) in p for x in layers) and "Range" not in h)
        t.ok(layer_asked == 0 and 0 < b.sum() < 0.6 * size, f"{kind}: {b.sum()} of {size} bytes were asked for", b.ranges(), layer_asked, err)
        told = float(said[0].split()[2]) if said else 0
        t.ok(abs(told * 1e6 - b.sum()) < 2e5 and f"of {size / 1e6:.1f} MB" in said[0], f"{kind}: and that is said: {said}", b.sum(), err)
        for args in (("--memory", "16Mi"), ("--threads", "4"), ("--verify", "none")):
            t.same(want, f"{kind}: the same with {' '.join(args)}", ref, *JSON, *args)
        code, out, err = t.scan(ref, *PURLS, "--profile-memory")
        t.ok("2 layers by their tables of contents" in err, f"{kind}: --profile-memory", err)
        caches(t, r, kind, ref, want, layers)
    odd_names(t, r)
    r.close()


def caches(t, r, kind, ref, want, layers):
    lazily, whole = t.path("lazily-" + kind), t.path("whole-" + kind)
    t.same(want, f"{kind}: with a cold cache", ref, *JSON, "--cache", lazily)
    t.same(want, f"{kind}: read whole into another", ref, *JSON, "--cache", whole, "--verify", "full")
    a, b = fragments(lazily), fragments(whole)
    t.ok(len(a) == 2 and len(b) == 2 and all(n[1] == "-" for n in a) and all(n[1] != "-" for n in b), f"{kind}: filed by table, filed by blob",
         sorted(a), sorted(b))
    t.ok(sorted(x[:-TAIL] for x in a.values()) == sorted(x[:-TAIL] for x in b.values()), f"{kind}: and the fragments are the same bytes")
    n = Bytes(r)
    t.same(want, f"{kind}: warm", ref, *JSON, "--cache", lazily)
    t.ok(n.sum() == 0 and not any(sha(x.blob) in p for _, p, _ in r.log for x in layers), f"{kind}: and nothing of a layer is fetched", r.log)
    n = Bytes(r)
    t.same(want, f"{kind}: --verify full does not take it", ref, *JSON, "--cache", lazily, "--verify", "full")
    t.ok(any(sha(layers[0].blob) in p for _, p, _ in r.log), f"{kind}: and reads", r.log)


def odd_names(t, r):
    """What a table cannot say of a name is read from the tar."""
    layer = Layer("estargz", [("srv/noise", noise(3 << 20)), ("opt/\udcff.egg-info", egg("bytes"))])
    r.add(image([layer]), tag="bytes")
    code, out, err = t.scan(f"localhost:{r.port}/app:bytes", *PURLS)
    t.ok(code == 0 and b"bytes" in out and "fetched" not in err, "a name that is not UTF-8", code, out, err)


# ---- servers and tables that lie ----

def entry(entries, name, kind="reg"):
    return next(e for e in entries if e["name"] == name and e["type"] == kind)


def change(name, **values):
    return lambda entries: entry(entries, name).update(values)


def drop(name):
    return lambda entries: entries.remove(entry(entries, name))


def simple():
    return [("srv/noise-1", noise(2 << 20)), ("opt/a.egg-info", egg("a")), ("srv/noise-2", noise(2 << 20)), ("opt/b.egg-info", egg("b"))]


ODD_TABLES = [
    ("a chunk's digest is another", "has another digest", dict(edit=change("opt/a.egg-info", chunkDigest="sha256:" + "0" * 64, digest="sha256:" + "0" * 64))),
    ("a chunk begins elsewhere", "where none can be", dict(edit=change("opt/a.egg-info", offset=5))),
    ("two files in one place", "where none can be", dict(edit=lambda e: entry(e, "opt/b.egg-info").update(offset=entry(e, "opt/a.egg-info")["offset"]))),
    ("a negative size", "negative", dict(edit=change("opt/a.egg-info", size=-1))),
    ("a huge size", "do not make up", dict(edit=change("opt/a.egg-info", size=1 << 62))),
    ("a huge chunk", "a chunk is short", dict(edit=change("opt/a.egg-info", chunkSize=1 << 62, size=1 << 62))),
    ("an offset behind the end", "where none can be", dict(edit=change("opt/a.egg-info", offset=1 << 40))),
    ("a size that is too small", "do not make up", dict(edit=change("opt/a.egg-info", size=3))),
    ("no digests", "no SHA-256", dict(edit=lambda e: [x.pop(k, None) for x in e for k in ("digest", "chunkDigest")])),
    ("an unknown type", "unknown type of entry", dict(edit=change("opt/a.egg-info", type="door"))),
    ("version 2", "another version", dict(table=lambda s: s.replace(b'"version": 1', b'"version": 2'))),
    ("100,000 deep", "nested deeper", dict(table=lambda s: s[:-1] + b', "x": ' + b"[" * 100000 + b"]" * 100000 + b"}")),
    ("half a table", "ends too early", dict(table=lambda s: s[:len(s) // 2])),
    ("an empty table", "too early", dict(table=lambda s: b" ")),
    ("no table but noise", "syntax error", dict(table=lambda s: noise(5000))),
]


def part_lies(t):
    """All of it for both formats with ST_FULL=1; what is the same code for both is tried with one otherwise."""
    r = Registry()
    for kind in KINDS if os.environ.get("ST_FULL") else KINDS[1:]:
        for what, why, how in ODD_TABLES:
            falls_back(t, r, kind, what, image([Layer(kind, simple(), **how)]), why)
        annotations(t, r, kind)
        servers(t, r, kind)
    for kind in KINDS:
        table_against_tar(t, r, kind)
    r.close()


def falls_back(t, r, kind, what, im, why, fault=None):
    """The whole blob is read, without being asked for, and the answer is that of the tar. why: words of what -v tells; None:
    the annotations make no sense, and the table is not asked for."""
    ref = f"localhost:{r.port}/app:lie"
    r.fault = None
    r.add(im, tag="lie")
    b = Bytes(r)
    r.fault = fault
    code, out, err = t.scan(ref, *PURLS, "-v")
    r.fault = None
    said = [x for x in err.splitlines() if "read whole, not by its table of contents: " in x]
    layer = sha(im.blobs[0])
    whole = [h for _, p, h in r.log if layer in p and ("Range" not in h or h["Range"] == "bytes=0-")]
    good = code == 0 and out == b"pkg:pypi/a@1\npkg:pypi/b@1\n" and whole and "fetched" not in err
    told = not said and not b.ranges() if why is None else len(said) == 1 and why in said[0]
    t.ok(good and told, f"{kind}: {what}: the blob is read whole", code, out, err, b.ranges(), len(whole))


def annotations(t, r, kind):
    layer = Layer(kind, simple())
    none = None
    for what, why, a in (
            ("no annotation", none, {}), ("another digest", "not the one that the manifest names", {k: "sha256:" + "1" * 64 if "sha256" in v else v for k, v in layer.annotations.items()}),
            ("a digest that is none", none, {STARGZ: "sha256:12", CHECKSUM: "x", POSITION: "1:1:1:1"}),
            ("the other format's", "zstd" if layer.estargz else "no footer",
             {CHECKSUM: "sha256:" + "1" * 64, POSITION: "100:200:300:1"} if layer.estargz else {STARGZ: "sha256:" + "1" * 64}),
            ("numbers", none, {STARGZ: 5, CHECKSUM: [], POSITION: None})):
        falls_back(t, r, kind, what, image([layer], [a]), why)
    if layer.estargz:
        return
    at, packed, unpacked, _ = layer.annotations[POSITION].split(":")
    for what, why, p in (("a table of a terabyte", "too large", f"{at}:{packed}:{1 << 40}:1"), ("a table behind the end", "behind the blob", f"{1 << 50}:{packed}:{unpacked}:1"),
                    ("a table that is longer", "another size", f"{at}:{packed}:{int(unpacked) + 1}:1"), ("a table that is shorter", "another size", f"{at}:{packed}:{int(unpacked) - 1}:1"),
                    ("a table of an unknown kind", none, f"{at}:{packed}:{unpacked}:3")):
        falls_back(t, r, kind, what, image([layer], [dict(layer.annotations, **{POSITION: p})]), why)


def servers(t, r, kind):
    layer = Layer(kind, simple())
    im = image([layer])

    def ranged(answer):
        def fault(h, path):
            rng = h.headers.get("Range")
            if "/blobs/" not in path or not rng or sha(layer.blob) not in path:
                return False
            a, b = rng.split("=")[1].split("-")
            answer(h, int(a), int(b) + 1 if b else len(layer.blob))
            return True
        return fault

    def partial(h, body, first, last, length=None):
        Registry.send(h, 206, body, [("Content-Range", f"bytes {first}-{last - 1}/{len(layer.blob)}")], length)

    def cut(h, a, b):
        partial(h, layer.blob[a:b - 10], a, b, b - a)
        h.close_connection = True

    data_end = len(layer.blob) * 9 // 10  # the table stands behind it
    flipped = bytes(x ^ 1 for x in layer.blob)
    for what, fault in (
            ("a server without Range", ranged(lambda h, a, b: r.send_blob(h, layer.blob) if h.headers.replace_header("Range", "bytes=0-") else
                                              Registry.send(h, 200, layer.blob))),
            ("other bytes in ranges", ranged(lambda h, a, b: partial(h, flipped[a:b], a, b))),
            ("other bytes in ranges of chunks", ranged(lambda h, a, b: partial(h, (layer.blob if b > data_end else flipped)[a:b], a, b))),
            ("another range than was asked for", ranged(lambda h, a, b: partial(h, layer.blob[:b - a], 0, b - a))),
            ("416 for every range", ranged(lambda h, a, b: r.error(h, 416, "RANGE_INVALID"))),
            ("404 for every range", ranged(lambda h, a, b: r.error(h, 404, "BLOB_UNKNOWN"))),
            ("more than was asked for", ranged(lambda h, a, b: partial(h, flipped[a:b] + noise(1 << 20), a, b))),
            ("ranges that end early", ranged(cut))):
        falls_back(t, r, kind, what, im, "", fault)


def table_against_tar(t, r, kind):
    """A table that leaves a file out: the image's author says two things. docs/adr/0014 has what then holds."""
    honest, lying = Layer(kind, simple()), Layer(kind, simple(), hidden=("opt/b.egg-info",))
    r.add(image([lying]), tag="hides")
    ref = f"localhost:{r.port}/app:hides"
    a, b = b"pkg:pypi/a@1\n", b"pkg:pypi/b@1\n"
    cache = t.path("cache-of-lies-" + kind)
    code, out, err = t.scan(ref, *PURLS, "--cache", cache)
    t.ok(code == 0 and out == a and "fetched" in err, f"{kind}: a table without a file: what the table says", code, out, err)
    t.same(a + b, f"{kind}: --verify full says what the tar says", ref, *PURLS, "--verify", "full", "--cache", cache)
    # The blob of another image, under a manifest that names a table of the attacker's: nobody's fragment but his own.
    cache = t.path("cache-of-others-" + kind)
    im = image([honest])
    r.add(im, tag="honest")
    stolen = image([honest], [lying.annotations])

    def fault(h, path):  # the attacker's registry gives his own table for ranges
        rng = h.headers.get("Range")
        if sha(honest.blob) not in path or not rng:
            return False
        first, last = (int(x) for x in rng.split("=")[1].split("-"))
        first, last = (first - len(honest.blob), last - len(honest.blob)) if kind == "estargz" else (first, last)
        part = lying.blob[first:last + 1 if last != -1 else None]
        Registry.send(h, 206, part, [("Content-Range", f"bytes {rng.split('=')[1]}/{len(honest.blob)}")])
        return True

    r.add(stolen, tag="stolen")
    r.fault = fault
    code, out, err = t.scan(f"localhost:{r.port}/app:stolen", *PURLS, "--cache", cache)
    r.fault = None
    t.ok(code == 0 and out in (a, a + b), f"{kind}: a stolen blob under another table is what that table says, or read whole", code, out, err)
    t.same(a + b, f"{kind}: and the blob's own image is not told by it", f"localhost:{r.port}/app:honest", *PURLS, "--cache", cache)


# ---- the formats' own tools ----

def part_tools(t):
    if not os.environ.get("ST_FULL") or not all(shutil.which(x) for x in ("go", "docker-registry", "skopeo")):
        t.skip("tools", "slow (ST_FULL=1), or go, docker-registry or skopeo is not installed")
        return
    made = subprocess.run(["go", "build", "-o", t.path("convert"), "."], cwd=os.path.join(here, "convert"), capture_output=True, text=True)
    if made.returncode:
        t.skip("tools", "the converter does not build (is a Go module proxy reachable?): " + made.stderr.strip()[-200:])
        return
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    t.write("config.yml", f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {t.path('store')}}}}}\n"
                          f"http: {{addr: '127.0.0.1:{port}'}}\n".encode())
    with open(t.path("registry.log"), "wb") as log, \
            subprocess.Popen(["docker-registry", "serve", t.path("config.yml")], stdout=log, stderr=log) as p:
        try:
            for _ in range(100):
                with socket.socket() as s:
                    if s.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            tools(t, port)
        finally:
            p.terminate()


def tools(t, port):
    # Both tools refuse, or mend, a layer that has a path twice.
    plain = Image([tar([x[:2] for x in layer if x[1] != egg("first")]) for layer in (lower(), upper())])
    plain.oci_dir(t.path("plain"))
    code, want, err = t.scan("oci:" + t.path("plain"), *PURLS)
    t.ok(code == 0 and want, "as it was", code, err)
    for name, args in (("estargz", ["estargz"]), ("estargz-256k", ["estargz", str(256 << 10)]), ("estargz-members", ["estargz", "65536", "100000"]),
                       ("zstd", ["zstd:chunked"])):
        to = t.path(name)
        q = subprocess.run([t.path("convert"), args[0], t.path("plain"), to, *args[1:]], capture_output=True, text=True, env=dict(os.environ, TMPDIR=t.dir))
        t.ok(q.returncode == 0, f"{name}: made", q.stderr)
        q = subprocess.run(["skopeo", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false", "oci:" + to, f"docker://localhost:{port}/t/{name}:1"],
                           capture_output=True, text=True)
        t.ok(q.returncode == 0, f"{name}: skopeo pushes", q.stderr)
        ref = f"localhost:{port}/t/{name}:1"
        code, full, err = t.scan(ref, *JSON, "--verify", "full")
        t.ok(code == 0 and "fetched" not in err, f"{name}: read whole", code, err)
        code, out, err = t.scan(ref, *JSON)
        t.ok(code == 0 and out == full, f"{name}: the same bytes by the table", code, err)
        if name != "estargz":  # chunks of 4 MiB: nearly all of it is wanted, so it is read whole
            t.ok("fetched" in err, f"{name}: {[x for x in err.splitlines() if 'fetched' in x]}", err)
        code, out, err = t.scan(ref, *PURLS)
        t.ok(code == 0 and out == want, f"{name}: the packages of the image that it was made from", code, err)
        for kind, cache in (("blob", t.path(name + "-lazily")), ("full", t.path(name + "-whole"))):
            t.scan(ref, *PURLS, "--cache", cache, "--verify", kind)
        a, b = (sorted(x[:-TAIL] for x in fragments(t.path(name + k)).values()) for k in ("-lazily", "-whole"))
        t.ok(len(a) == 2 and a == b, f"{name}: the same fragments", len(a), len(b))


def main():
    part, stella = sys.argv[1:3]
    t = Tests(stella)
    t.env.update(CONTAINERS_REGISTRIES_CONF=t.write("no-rules.conf", b""), REGISTRY_AUTH_FILE=t.write("no-logins.json", b"{}"))
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        t.env.pop(name, None)
    globals()["part_" + part](t)
    t.done()


main()
