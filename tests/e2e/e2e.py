#!/usr/bin/env python3
"""The same bytes whatever the budget, the threads, the cache and the source; kills; crashes. e2e.py PART STELLA [ANALYZER]"""
import glob
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from images import Image, Tests, egg, small_image, tar


def packages(out):
    d = json.loads(out)
    return [(a["purl"], sorted(str(x.get("path")) for x in a["locations"])) for a in d["artifacts"]]


def same_bytes(t, ref, name):
    code, want, err = t.scan(ref, "--format", "json", "--cache", "off")
    if not t.ok(code == 0 and len(want) > 1000, f"{name}: reads", code, err):
        return
    for memory in ("16Mi", "1Gi"):
        t.same(want, f"{name}: --memory {memory}", ref, "--format", "json", "--memory", memory)
    for threads in ("1", "2", "4"):
        t.same(want, f"{name}: --threads {threads}", ref, "--format", "json", "--threads", threads)
    cache = t.path("cache-" + name)
    t.same(want, f"{name}: cache cold", ref, "--format", "json", "--cache", cache)
    t.same(want, f"{name}: cache warm", ref, "--format", "json", "--cache", cache)
    frags = glob.glob(cache + "/layers/*.frag")
    t.ok(len(frags) > 0, f"{name}: cache holds layers")
    for i, f in enumerate(frags):
        with open(f, "r+b") as h:
            size = os.path.getsize(f)
            if i % 2:
                h.truncate(size // 2)
            else:
                h.seek(size // 2)
                c = h.read(1)
                h.seek(size // 2)
                h.write(bytes([c[0] ^ 1]))
    t.same(want, f"{name}: damaged cache entries are dropped", ref, "--format", "json", "--cache", cache)
    t.same(want, f"{name}: and made again", ref, "--format", "json", "--cache", cache)


def part_bytes(t):
    im = small_image()
    same_bytes(t, "oci:" + im.oci_dir(t.path("oci")), "own")
    for name in ("small", "web") if os.environ.get("ST_FULL") else ("small",):
        ref = os.path.join(os.environ.get("ST_CORPUS", os.path.join(os.path.dirname(__file__), "../../../corpus")), "oci", name)
        if os.path.isdir(ref):
            same_bytes(t, "oci:" + ref, name)
        else:
            t.skip(name, "corpus is not there")


def part_sources(t):
    im = small_image()
    ref = "oci:" + im.oci_dir(t.path("oci"))
    code, out, err = t.scan(ref, "--format", "json")
    want = packages(out) if code == 0 else None
    t.ok(code == 0 and len(want) == 203, "OCI directory", code, err, len(want or []))
    docker, oci = im.docker_archive(), im.oci_archive()
    zst = subprocess.run(["zstd", "-q", "-c"], input=docker, stdout=subprocess.PIPE, check=True).stdout
    for name, data in (("docker-archive", docker), ("oci-archive", oci), ("docker.gz", gzip.compress(docker)),
                       ("oci.gz", gzip.compress(oci)), ("docker.zst", zst)):
        for stdin in (False, True):
            path = t.write("archive", data)
            code, out, err = t.scan("-" if stdin else path, "--format", "json", stdin=data if stdin else None)
            got = packages(out) if code == 0 else None
            # What cannot be read twice leaves the hard link to a file of no interest as a named unknown.
            once = stdin or not name.endswith("-archive")
            need = [p for p in want if not (once and "/c@" in p[0])]
            t.ok(not once or "opt/c.egg-info: link" in err, f"{name}: what is missing is named", err)
            t.ok(got == need, f"{name}{' on standard input' if stdin else ''}: same packages", code, err)
    for codec in ("none", "zstd", "xz", "bzip2"):
        other = Image(im.layers, codec)
        shutil.rmtree(t.path("c"), ignore_errors=True)
        code, out, err = t.scan("oci:" + other.oci_dir(t.path("c")), "--format", "json")
        t.ok(code == 0 and packages(out) == want, f"layers in {codec}: same packages", code, err)


def part_forged(t):
    clean = Image([tar([("a.egg-info", egg("clean"))])])
    evil_tar = tar([("a.egg-info", egg("evil"))])
    cache = t.path("cache")
    t.scan("oci:" + clean.oci_dir(t.path("clean")), "--cache", cache)
    forged = Image([evil_tar], diff_ids=clean.diff_ids)
    code, out, err = t.scan("oci:" + forged.oci_dir(t.path("forged")), "--format", "purls", "--cache", cache)
    t.ok(code == 0 and b"evil" in out and b"clean" not in out, "a forged diff ID borrows nothing", code, out, err)
    archive = t.write("forged.tar", forged.docker_archive())
    code, out, err = t.scan(archive, "--format", "purls", "--cache", cache)
    t.ok(b"clean" not in out, "nor in a docker-archive", code, out, err)
    code, out, err = t.scan("oci:" + t.path("forged"), "--format", "purls", "--verify", "full")
    t.ok(code == 1 and not out and "diff ID" in err, "--verify full tells", code, err)
    code, out, err = t.scan("oci:" + t.path("forged"), "--format", "purls", "--verify", "full", "--cache", cache)
    t.ok(code == 1 and not out and "diff ID" in err, "also when the layer is in the cache", code, err)
    code, out, err = t.scan("-", "--format", "purls", "--verify", "full", stdin=forged.oci_archive())
    t.ok(code == 1 and not out and "diff ID" in err, "and from a pipe", code, err)
    code, out, err = t.scan("-", "--format", "purls", "--verify", "full", stdin=clean.oci_archive())
    t.ok(code == 0 and b"clean" in out, "where an honest one passes", code, err)
    # A blob under the clean blob's name.
    path = clean.blob_path(t.path("clean"), 0)
    with open(path, "wb") as f:
        f.write(forged.blobs[0])
    code, out, err = t.scan("oci:" + t.path("clean"), "--format", "purls", "--cache", t.path("other"))
    t.ok(code == 1 and not out, "a blob with another digest fails", code, out, err)
    code, out, err = t.scan("oci:" + t.path("clean"), "--format", "purls", "--verify", "none", "--cache", cache)
    t.ok(b"clean" not in out or b"evil" not in out, "--verify none mixes nothing", out)
    code, out, err = t.scan("oci:" + forged.oci_dir(t.path("f2")), "--format", "purls", "--cache", cache)
    t.ok(code == 0 and b"evil" in out and b"clean" not in out, "and files nothing under a name it did not check", out)


def part_many(t):
    ref = "oci:" + small_image().oci_dir(t.path("oci"))
    want = t.scan(ref, "--format", "json")[1]
    cache = t.path("cache")
    procs = [subprocess.Popen(t.argv(ref, "--format", "json", "--cache", cache), env=t.env, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) for _ in range(12)]
    results = [(p.communicate(timeout=200), p.returncode) for p in procs]
    bad = [r for r in results if r[1] or r[0][0] != want]
    t.ok(not bad, "twelve processes on one cache and one state directory", [(r[1], r[0][1]) for r in bad])
    s = json.loads(verb(t, "scanner", "cache", "stats", "--cache", cache, "--format", "json")[1])
    t.ok(s["entryCount"] == 3 and s["hits"] + s["misses"] == 36, "no count is lost", s)


def verb(t, *args):
    r = subprocess.run([t.stella, *args], env=t.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return r.returncode, r.stdout, r.stderr.decode(errors="replace")


def part_cache(t):
    """The limits of the layer cache as scans keep them, and the verbs."""
    cache, now = t.path("cache"), time.time()
    stats = lambda: json.loads(verb(t, "scanner", "cache", "stats", "--cache", cache, "--format", "json")[1])
    frags = lambda: sorted(glob.glob(cache + "/layers/*.frag"))
    t.ok(stats()["entryCount"] == 0 and not os.path.exists(cache), "no cache: nothing is there, nothing is made", stats())
    first = "oci:" + Image([tar([(f"{i}.egg-info", egg(f"a{i}"))]) for i in range(4)]).oci_dir(t.path("first"))
    want = t.scan(first, "--format", "json", "--cache", cache)[1]
    t.same(want, "a warm scan", first, "--format", "json", "--cache", cache)
    s = stats()
    t.ok((s["entryCount"], s["hits"], s["misses"], s["evictions"]) == (4, 4, 4, 0), "stats count what scans did", s)
    t.ok(s["usedBytes"] == sum(os.stat(f).st_blocks * 512 for f in frags()) > 0, "and what is on the disk", s)
    old, stale = frags()[:2]
    os.utime(old, (now - 46 * 86400,) * 2)
    os.rename(stale, stale[:-21] + "0123456789abcdef.frag")
    t.ok(stats()["staleCount"] == 1, "what another version filed is stale", stats())
    code, out, _ = t.scan("oci:" + Image([tar([("x.egg-info", egg("x"))])]).oci_dir(t.path("x")), "--format", "purls",
                          "--cache", cache)
    t.ok(code == 0 and not os.path.exists(old) and stats()["entryCount"] == 4, "a scan evicts what is too old", stats())
    t.same(want, "what was evicted is read again", first, "--format", "json", "--cache", cache)
    t.ok(stats()["staleCount"] == 1, "another version's layers are left to it", stats())
    code, out, err = verb(t, "scanner", "cache", "prune", "--stale", "--cache", cache)
    t.ok(code == 0 and out.startswith(b"removed 1 layers") and stats()["staleCount"] == 0, "prune --stale", out, err)
    for i, f in enumerate(frags()):
        os.utime(f, (now - 3600 * i,) * 2)
    keep = frags()[:2]
    room = sum(os.stat(f).st_blocks * 512 for f in keep)
    code, out, err = verb(t, "scanner", "cache", "prune", "--max-bytes", str(room), "--cache", cache)
    t.ok(code == 0 and frags() == keep, "prune --max-bytes keeps what was used last", out, frags(), keep)
    code, out, err = verb(t, "scanner", "cache", "prune", "--max-age", "30m", "--format", "json", "--cache", cache)
    t.ok(json.loads(out)["removed"] == 1 and frags() == keep[:1], "prune --max-age", out, err)
    code, out, err = verb(t, "scanner", "cache", "prune", "--all", "--cache", cache)
    t.ok(code == 0 and not frags() and stats()["entryCount"] == 0, "prune --all", out, err)
    t.same(want, "and it fills again", first, "--format", "json", "--cache", cache)
    # What the configuration says, for the verbs and for scans.
    for key, value in (("cache.max_bytes", "1Gi"), ("cache.ttl", "2h")):
        code, out, err = verb(t, "scanner", "config", "set", key, value)
        t.ok(code == 0, f"{key} is set", out, err)
    t.ok((stats()["maxBytes"], stats()["maxAgeSeconds"]) == (1 << 30, 7200), "stats tell the limits that are set", stats())
    os.utime(frags()[0], (now - 3 * 3600,) * 2)
    code, out, err = verb(t, "scanner", "cache", "prune", "--max-age", "4h", "--format", "json", "--cache", cache)
    t.ok(json.loads(out)["removed"] == 0, "an option is over cache.ttl", out, err)
    old = frags()[0]
    t.scan("oci:" + Image([tar([("y.egg-info", egg("y"))])]).oci_dir(t.path("y")), "--cache", cache)
    t.ok(not os.path.exists(old), "a scan keeps cache.ttl", stats())
    os.utime(frags()[0], (now - 4000 * 86400,) * 2)
    verb(t, "scanner", "config", "set", "cache.ttl", "off")
    t.scan("oci:" + Image([tar([("z.egg-info", egg("z"))])]).oci_dir(t.path("z")), "--cache", cache)
    code, out, err = verb(t, "scanner", "cache", "prune", "--format", "json", "--cache", cache)
    t.ok(json.loads(out)["removed"] == 0 and stats()["maxAgeSeconds"] is None, "cache.ttl off: nothing is too old", out, stats())
    t.env["STELLA_CACHE"] = "on"
    code, out, err = verb(t, "scanner", "cache", "stats", "--format", "json")
    t.ok(code == 0 and json.loads(out)["directory"] == t.home + "/cache", "the standing cache", out, err)


def part_checkpoint(t):
    """A checkpoint helps the image that it was made of, and no other with the same configuration."""
    layers = [tar([("a.egg-info", egg("old"))]), tar([("b.egg-info", egg("b"))])]
    good = Image(layers)
    ref = "oci:" + good.oci_dir(t.path("oci"))
    with open(good.blob_path(t.path("oci"), 1), "r+b") as f:
        f.write(b"?")
    code, _, err = t.scan(ref, "--format", "purls", "--threads", "1")
    t.ok(code == 1 and glob.glob(t.home + "/jobs/*/*.frag"), "a failed scan keeps its finished layer", code, err)
    other = Image([tar([("a.egg-info", egg("new"))]), layers[1]], diff_ids=good.diff_ids)
    t.ok(other.config == good.config and other.manifest != good.manifest, "the same configuration over another layer")
    shutil.rmtree(t.path("oci"))
    other.oci_dir(t.path("oci"))
    code, out, err = t.scan(ref, "--format", "purls", "--retry")
    t.ok(code == 0 and b"/new@" in out and b"/old@" not in out, "is not given the checkpoint of the first", code, out, err)


def left_over(t, out):
    """What a finished scan leaves: the store, an empty jobs/, and its output."""
    jobs = [x for x in glob.glob(t.home + "/jobs/**", recursive=True) if os.path.isfile(x)]
    return jobs + glob.glob(out + "*.stella-partial*") + glob.glob(t.path("tmp") + "/*")


def part_kill(t):
    rounds = 40 if os.environ.get("ST_FULL") else 8
    layers = [tar([(f"d{i}/{k}.egg-info", egg(f"p{i}-{k}")) for k in range(150)] + [(f"big{i}", bytes(6000000))])
              for i in range(6)]
    ref = "oci:" + Image(layers).oci_dir(t.path("oci"))
    os.makedirs(t.path("tmp"))
    t.env["TMPDIR"] = t.path("tmp")
    want, out = t.scan(ref, "--format", "json")[1], t.path("out.json")
    start = time.monotonic()
    t.scan(ref, "--format", "json", "--threads", "1")
    length = time.monotonic() - start
    rnd, killed, bad, left, strange = random.Random(7), 0, 0, [], []
    for _ in range(rounds):
        p = subprocess.Popen(t.argv(ref, "--format", "json", "--threads", "1", "--output", out), env=t.env,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rnd.random() * length * 1.1)
        p.send_signal(signal.SIGKILL)
        killed += p.wait() == -signal.SIGKILL
        time.sleep(0.1)
        strange += [x for x in glob.glob(t.path("*")) if os.path.basename(x) not in ("oci", "home", "tmp", "out.json")
                    and not x.endswith(".stella-partial")]
        strange += glob.glob(t.path("tmp") + "/*")
        code, _, err = t.scan(ref, "--format", "json", "--threads", "1", "--output", out, "--retry", "--force")
        got = open(out, "rb").read() if os.path.exists(out) else b""
        if code or got != want:
            bad += 1
            print(f"# after a kill: exit {code}, {len(got)} bytes, {err.strip()}")
        left += left_over(t, out)
        if os.path.exists(out):
            os.unlink(out)
    t.ok(killed > 0, f"{killed} of {rounds} scans were killed")
    t.ok(bad == 0, "--retry gives the same bytes")
    t.ok(not strange, "a kill leaves only the job and the partial output", strange[:5])
    t.ok(not left, "the next run leaves nothing", left[:5])


def part_crash(t, analyzer):
    os.makedirs(t.path("bin"))
    shutil.copy(t.stella, t.path("bin/stella"))
    shutil.copy(analyzer, t.path("bin/stella-analyze"))
    t.stella = t.path("bin/stella")
    one = tar([("a.egg-info", egg("a")), ("d/crash-1.egg-info", egg("b")), ("e/z.egg-info", egg("z"))])
    two = tar([("a.egg-info", egg("a")), ("d/crash-1.egg-info", egg("b")), ("e/crash-2.egg-info", egg("z"))])
    code, out, err = t.scan("oci:" + Image([one]).oci_dir(t.path("one")), "--format", "purls")
    t.ok(code == 0 and b"/a@1" in out and b"/z@1" in out and b"/b@" not in out, "a crash costs one file", code, out, err)
    t.ok("complete with 1 unknown" in err, "and says so", err)
    code, out, err = t.scan("oci:" + t.path("one"), "--format", "json")
    t.ok("crash-1" in out.decode(), "the file is named in the document")
    code, out, err = t.scan("oci:" + t.path("one"), "--strict", "--format", "purls")
    t.ok(code == 1, "--strict exits 1", code, err)
    code, out, err = t.scan("oci:" + Image([two]).oci_dir(t.path("two")), "--format", "purls")
    t.ok(code == 1 and not out and "crash-2" in err, "a second crash fails the scan and names the path", code, out, err)
    code, out, err = t.scan("-", "--format", "purls", stdin=Image([one]).docker_archive())
    t.ok(code == 1 and not out and "crash-1" in err, "a pipe cannot start again: fails, names the path", code, out, err)


def part_sandbox(t, analyzer):
    r = subprocess.run([analyzer, "--self-test"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines = r.stdout.decode().splitlines()
    if not lines:
        t.skip("sandbox", "self-test says nothing here: " + r.stderr.decode()[:100].replace("\n", " "))
        return
    for line in lines:
        t.ok(line.endswith("refused"), line)
    t.ok(r.returncode == -signal.SIGSYS, "exec is the death of it", r.returncode, r.stderr)


if __name__ == "__main__":
    tests = Tests(sys.argv[2])
    globals()["part_" + sys.argv[1]](tests, *sys.argv[3:])
    tests.done()
