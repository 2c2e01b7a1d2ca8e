#!/usr/bin/env python3
"""Images in stores of this machine, read without their engines: local.py PART STELLA, PART one of containerd, storage, order, real."""
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zlib

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(here, "..", "e2e"), os.path.join(here, "..", "golden"), here]

from bolt_file import containerd  # noqa: E402
from images import Image, Tests, egg, sha, small_image, tar  # noqa: E402
from lying import Registry  # noqa: E402
from make_exe_java import elf  # noqa: E402

PURLS = ("--format", "purls", "--local")
META, CONTENT = "io.containerd.metadata.v1.bolt", "io.containerd.content.v1.content"


def purls(t, im, name):
    code, out, err = t.scan("oci:" + im.oci_dir(t.path(name)), *PURLS)
    assert code == 0 and out, err
    return out


def fails(t, code, words, what, *args, **kw):
    got, out, err = t.scan(*args, *PURLS, **kw)
    return t.ok(got == code and all(w in err for w in words) and not out, f"{what}: {err.strip().splitlines()[-1] if err.strip() else ''}",
                f"exit {got}, wanted {code} and {words}", err)


def put(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "wb") as f:
        f.write(data)
    os.rename(path + ".new", path)


# ---- containerd, its store made by the test ----

def store(t, name, images):
    root = t.path(name)
    os.makedirs(os.path.join(root, META))
    for im in images:
        for blob in [im.manifest, im.config] + im.blobs:
            put(os.path.join(root, CONTENT, "blobs/sha256", sha(blob)), blob)
    return root


def part_containerd(t):
    im, other = small_image(), small_image("zstd")
    want = purls(t, im, "layout")
    one, two = ("sha256:" + sha(x.manifest) for x in (im, other))
    root = store(t, "ct", [im, other])
    meta = os.path.join(root, META, "meta.db")
    put(meta, containerd({"default": {"docker.io/library/app:1": one, "localhost:5000/team/app:2": one, "docker.io/library/both:1": one,
                                      **{f"docker.io/library/x{i}:1": two for i in range(300)}},
                          "k8s.io": {"docker.io/library/app:1": one, "docker.io/library/both:1": two, "k8s.example/only:here": one,
                                     "docker.io/library/gone:1": "sha256:" + "1" * 64}}))
    for ref in (f"[{root}]app:1", f"[@{root}]docker.io/library/app:1", f"[default@{root}]localhost:5000/team/app:2",
                f"[{root}]k8s.example/only:here", f"[k8s.io@{root}]app:1", f"[default@{root}]both:1", f"[{root}]app:1@{one}"):
        t.same(want, "containerd:" + ref.replace(root, "ROOT"), "containerd:" + ref, *PURLS)
    for args in (("--memory", "16Mi"), ("--verify", "full"), ("--threads", "4"), ("--offline",)):
        t.same(want, "the same with " + " ".join(args), f"containerd:[{root}]app:1", *PURLS, *args)
    cache = t.path("cache")
    t.same(want, "cache cold", f"containerd:[{root}]app:1", *PURLS, "--cache", cache)
    t.same(want, "cache warm", f"containerd:[{root}]app:1", *PURLS, "--cache", cache)
    t.same(want, "CONTAINERD_NAMESPACE", f"containerd:[@{root}]both:1", *PURLS, env={"CONTAINERD_NAMESPACE": "default"})
    p = subprocess.run([t.stella, "image", "inspect", f"containerd:[{root}]app:1"], env=t.env, capture_output=True, text=True)
    t.ok(one in p.stdout, "image inspect tells the digest of the manifest", p.stdout, p.stderr)
    fails(t, 2, ["default, k8s.io", "containerd:[NAMESPACE]both:1"], "namespaces that disagree", f"containerd:[{root}]both:1")
    fails(t, 4, ["no image 'nope:1'"], "no such image", f"containerd:[{root}]nope:1")
    fails(t, 4, ["in namespace nowhere"], "no such namespace", f"containerd:[nowhere@{root}]app:1")
    fails(t, 4, ["no image"], "another digest than the tag's", f"containerd:[{root}]app:1@{two}")
    fails(t, 4, ["has not its content"], "a name without content", f"containerd:[{root}]gone:1")
    fails(t, 4, ["no containerd store"], "no store", f"containerd:[{t.path('none')}]app:1")
    fails(t, 2, ["absolute"], "a root that is no path", "containerd:[default@here]app:1")
    layer = os.path.join(root, CONTENT, "blobs/sha256", sha(im.blobs[0]))
    os.rename(layer, layer + ".away")
    fails(t, 1, ["missing blob"], "a layer that containerd has discarded", f"containerd:[{root}]app:1")
    put(layer, im.blobs[0][:-9] + b"123456789")
    fails(t, 1, [sha(im.blobs[0])], "a layer that was changed", f"containerd:[{root}]app:1")
    os.rename(layer + ".away", layer)
    good = open(meta, "rb").read()
    for what, data in (("no database", b"x" * 5000), ("an empty one", b""), ("one that is cut off", good[:2500]), ("half of one", good[:len(good) // 2])):
        put(meta, data)
        code, out, err = t.scan(f"containerd:[{root}]app:1", *PURLS)
        t.ok(code in (1, 4) and not out, f"{what}: {err.strip()}", code, err)
    put(meta, good)
    busy_writer(t, root, meta, one, two, want)
    unreadable(t, root, meta)


def busy_writer(t, root, meta, one, two, want):
    """Two trees in turn, in place, as fast as it goes: what is read is of one of them."""
    stop = threading.Event()
    trees = [containerd({"default": {"docker.io/library/app:1": one, "docker.io/library/z:1": x}}, transactions=(0, 0)) for x in (one, two)]

    def write():
        n = 10
        while not stop.is_set():
            n += 1
            data = containerd({"default": {"docker.io/library/app:1": one}}, transactions=(n, n - 1))
            with open(meta, "r+b") as f:
                f.write(trees[n % 2][2048:4096])
                f.seek(0)
                f.write(data)
                f.flush()
            time.sleep(0.002)

    w = threading.Thread(target=write)
    w.start()
    got = [t.scan(f"containerd:[{root}]app:1", *PURLS) for _ in range(10)]
    stop.set()
    w.join()
    torn = "no valid meta page"  # as long as the writer stands still in between, that is what the file is
    t.ok(all((c == 0 and out == want) or c == 10 or (c == 1 and not out and torn in err) for c, out, err in got) and any(c == 0 for c, _, _ in got), "a database that is written to all the time",
         [(c, e) for c, _, e in got])


def unreadable(t, root, meta):
    if os.getuid() != 0:
        t.skip("as another user", "not root")
        return
    home = t.path("nobody")
    os.makedirs(home)
    os.chown(home, 65534, 65534)
    os.chmod(t.dir, 0o755)
    os.chmod(os.path.dirname(meta), 0o700)
    try:
        p = subprocess.run(t.argv(f"containerd:[{root}]app:1", *PURLS), env=dict(t.env, STELLA_HOME=home, TMPDIR=home), user=65534, group=65534,
                           capture_output=True, text=True, cwd="/")
    except PermissionError:
        t.skip("as another user", "who may not reach the program here")
        return
    t.ok(p.returncode == 1 and "root" in p.stderr and "sudo" in p.stderr, f"not root: {p.stderr.strip()}", p.returncode)


# ---- containers-storage, made by skopeo ----

def skopeo(t, layout, store, driver, name):
    return subprocess.run(["skopeo", "copy", "-q", "oci:" + layout, f"containers-storage:[{driver}@{store}+{t.path('run')}]{name}"],
                          capture_output=True, text=True)


def executable():
    audit = zlib.compress(b'{"packages":[{"name":"serde","version":"1.0.0","source":"crates.io"}]}')
    exe = elf([(".text", 6, os.urandom(3 << 20)), (".dep-v0", 2, audit), (".data", 3, os.urandom(2 << 20))])
    return Image([tar([("before", os.urandom(14 << 20)), ("usr/bin/tool", exe), ("behind", os.urandom(3 << 20)), ("usr", None)])])


def part_storage(t):
    if not shutil.which("skopeo") or os.getuid() != 0:
        t.skip("containers-storage", "skopeo is not installed, or not root")
        return
    im, exe = small_image(), executable()
    want, digest, config = purls(t, im, "layout"), "sha256:" + sha(im.manifest), sha(im.config)
    exe_want = purls(t, exe, "exe")
    for driver in ("vfs", "overlay"):
        root = t.path(driver)
        q = skopeo(t, t.path("layout"), root, driver, "localhost/app:1")
        if q.returncode:
            t.skip(driver, "its store cannot be written here: " + q.stderr.strip()[-100:])
            continue
        skopeo(t, t.path("exe"), root, driver, "docker.io/library/exe:latest")
        for ref in (f"[{root}]localhost/app:1", f"[{driver}@{root}+/nowhere:o=1]app:1", f"[{root}]{config[:12]}", f"[{root}]{config}",
                    f"[{root}]localhost/app@{digest}", f"[{root}]localhost/app:1@{digest}"):
            t.same(want, f"{driver}: " + ref.replace(root, "ROOT"), "containers-storage:" + ref, *PURLS)
        ref = f"containers-storage:[{root}]app:1"
        for args in (("--memory", "16Mi"), ("--verify", "full"), ("--verify", "none"), ("--threads", "4"), ("--offline",)):
            t.same(want, f"{driver}: the same with " + " ".join(args), ref, *PURLS, *args)
        t.same(exe_want, f"{driver}: a second look at an executable", f"containers-storage:[{root}]exe", *PURLS)
        p = subprocess.run([t.stella, "image", "layers", ref], env=t.env, capture_output=True, text=True)
        t.ok(all(d[:19] in p.stdout for d in im.diff_ids), f"{driver}: image layers", p.stdout, p.stderr)
        fails(t, 4, ["no image 'nope'"], "no such image", f"containers-storage:[{root}]nope")
        fails(t, 4, ["no image"], "another digest", f"containers-storage:[{root}]app:1@sha256:" + "0" * 64)
        damage(t, root, driver, ref)
    fails(t, 4, ["no containers-storage"], "no store", f"containers-storage:[{t.path('none')}]app:1")
    fails(t, 2, ["zfs", "overlay, vfs"], "a driver that is not read", f"containers-storage:[zfs@{root}]app:1")
    fails(t, 2, ["no root directory"], "no root", "containers-storage:[vfs]app:1")


def damage(t, root, driver, ref):
    layers = json.load(open(f"{root}/{driver}-layers/layers.json", encoding="utf-8"))
    base = next(x["id"] for x in layers if not x.get("parent") and x["diff-size"] < 1 << 20)
    files = f"{root}/overlay/{base}/diff" if driver == "overlay" else f"{root}/vfs/dir/{base}"
    status = files + "/var/lib/dpkg/status"
    good = open(status, "rb").read()
    put(status, good.replace(b"Package: p7\n", b"Package: q7\n"))
    fails(t, 1, ["diff ID does not match", "expected sha256:"], f"{driver}: a file that was changed", ref)
    put(status, good + b"x")
    fails(t, 1, ["var/lib/dpkg/status", str(len(good))], f"{driver}: a file that grew", ref)
    os.unlink(status)
    fails(t, 1, ["var/lib/dpkg/status"], f"{driver}: a file that is gone", ref)
    os.symlink("../" * 30 + "etc/passwd", status)
    fails(t, 1, ["var/lib/dpkg/status"], f"{driver}: a link out of the layer", ref)
    os.unlink(status)
    os.mkfifo(status)
    fails(t, 1, ["var/lib/dpkg/status"], f"{driver}: a pipe in its place", ref)
    os.unlink(status)
    put(status, good)
    split = f"{root}/{driver}-layers/{base}.tar-split.gz"
    text = open(split, "rb").read()
    put(split, text[:len(text) // 2])
    fails(t, 1, [], f"{driver}: half a tar-split", ref)
    put(split, b'{"type":1,"name":"../../../../etc/passwd","size":9}\n')
    fails(t, 1, ["etc/passwd"], f"{driver}: a name that leads out", ref)
    os.unlink(split)
    fails(t, 1, ["tar-split", "podman save"], f"{driver}: no tar-split", ref)
    put(split, text)
    images = f"{root}/{driver}-images/images.json"
    good = open(images, "rb").read()
    for what, data in (("images.json that is no JSON", b"{"), ("of another shape", b'{"a":1}'), ("ids that are paths", good.replace(b'"id":"', b'"id":"../'))):
        put(images, data)
        code, out, err = t.scan(ref, *PURLS)
        t.ok(code in (1, 4) and not out, f"{driver}: {what}: {err.strip()}", code)
    put(images, good)


# ---- which of them a reference means ----

def order_with_storage(t, r, name, want, env):
    for what in ("vfs-images", "vfs-layers", "vfs/dir"):
        os.makedirs(t.path("store", what))
    fails(t, 4, ["no image"], "a store without images", name, "--source", "containers-storage", env=env)
    fails(t, 4, ["docker (not running)", "podman (not running)", "containers-storage (no such image)"], "nowhere, and where it was looked for",
          f"localhost:{r.port}/app:nope", env=env)
    shutil.rmtree(t.path("store"))
    q = skopeo(t, t.path("layout"), t.path("store"), "vfs", name)
    if q.returncode:
        t.skip("containers-storage", "its store cannot be written here: " + q.stderr.strip()[-100:])
        return
    del r.log[:]
    code, out, err = t.scan(name, *PURLS, env=env)
    t.ok(code == 0 and out == want and "read from containers-storage" in err and not r.log, "found in containers-storage", code, err, r.log)
    t.same(want, "--source containers-storage", name, *PURLS, "--source", "containers-storage", env=env)
    code, out, err = t.scan(name, *PURLS, "--source", "registry", env=env)
    t.ok(code == 0 and out == want and "read from" not in err and r.log, "--source registry", code, err)
    t.same(want, "registry:REF", "registry:" + name, *PURLS, env=env)
    t.same(want, "$STORAGE_DRIVER", f"containers-storage:{name}", *PURLS, env=dict(env, STORAGE_DRIVER="vfs"))
    fails(t, 4, ["no containers-storage"], "another driver", f"containers-storage:{name}", env=dict(env, STORAGE_DRIVER="overlay"))


def part_order(t):
    im = small_image()
    want = purls(t, im, "layout")
    r = Registry()
    r.add(im)
    name = f"localhost:{r.port}/app:1"
    root = store(t, "ct", [im])
    meta = os.path.join(root, META, "meta.db")
    put(meta, containerd({"default": {name: "sha256:" + sha(im.manifest)}}))
    conf = t.write("storage.conf", f'[storage]\ndriver = "vfs"\ngraphroot = "{t.path("store")}"\n'.encode())
    env = {"DOCKER_HOST": "unix://" + t.path("no.sock"), "CONTAINER_HOST": "unix://" + t.path("no.sock"), "CONTAINERS_STORAGE_CONF": conf}
    where = f"containerd:[{root}]{name}"
    t.same(want, "a scheme says where", where, *PURLS, env=env)
    if shutil.which("skopeo") and os.getuid() == 0:
        order_with_storage(t, r, name, want, env)
    fails(t, 4, ["docker (not running)", "podman (not running)", "containerd ("], "nowhere", f"localhost:{r.port}/nope:1", env=env)
    fails(t, 4, ["containerd"], "--source containerd where there is none", name, "--source", "containerd", env=dict(env, CONTAINERD_NAMESPACE="x"))
    r.close()


# ---- the engines themselves ----

def part_real(t):
    if not os.environ.get("ST_FULL") or os.getuid() != 0 or not all(shutil.which(x) for x in ("containerd", "ctr", "buildah", "skopeo")):
        t.skip("containerd and buildah", "slow (ST_FULL=1), or containerd, buildah or skopeo is not installed, or not root")
        return
    real_containerd(t)
    real_buildah(t)


def real_containerd(t):
    im = small_image()
    want = purls(t, im, "layout")
    sock, root = t.path("c.sock"), t.path("root")
    t.write("config.toml", f'version = 2\nroot = "{root}"\nstate = "{t.path("state")}"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                           f'[grpc]\naddress = "{sock}"\n'.encode())
    with open(t.path("containerd.log"), "wb") as log, \
            subprocess.Popen(["containerd", "-c", t.path("config.toml")], stdout=log, stderr=log) as daemon:
        try:
            def ctr(*args, check=True):
                return subprocess.run(["ctr", "-a", sock, *args], capture_output=True, text=True, check=check)

            for _ in range(100):
                if os.path.exists(sock) and ctr("version", check=False).returncode == 0:
                    break
                time.sleep(0.1)
            ctr("image", "import", "--no-unpack", t.write("docker.tar", im.docker_archive()))
            ctr("-n", "k8s.io", "image", "import", "--no-unpack", "--index-name", "localhost/k8s:1", t.write("oci.tar", im.oci_archive()))
            t.same(want, "an imported docker-archive", f"containerd:[{root}]t:1", *PURLS)
            t.same(want, "an index in another namespace", f"containerd:[{root}]localhost/k8s:1", *PURLS)
            fails(t, 4, ["in namespace default"], "not in this one", f"containerd:[default@{root}]localhost/k8s:1")
            for i in range(300):
                ctr("image", "tag", "docker.io/library/t:1", f"registry.example/a-rather-long-name-of-a-repository/number-{i:03}:latest")
            ok = all(t.scan(f"containerd:[{root}]registry.example/a-rather-long-name-of-a-repository/number-{i:03}", *PURLS)[1] == want
                     for i in range(0, 300, 37))
            t.ok(ok, "a database of several levels: every 37th of 300 names")
            busy = subprocess.Popen(["sh", "-c", f"while :; do ctr -a {sock} image tag --force docker.io/library/t:1 localhost/busy:1; "
                                                 f"ctr -a {sock} image rm localhost/busy:1; done"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            got = [t.scan(f"containerd:[{root}]t:1", *PURLS) for _ in range(30)]
            busy.kill()
            busy.wait()
            t.ok(all(c == 0 and out == want for c, out, _ in got), "while containerd writes", [(c, e) for c, _, e in got if c])
        finally:
            daemon.terminate()
    t.same(want, "after containerd has ended", f"containerd:[{root}]t:1", *PURLS)
    there = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /var/lib && mkdir /var/lib/containerd && mount --bind "$0" /var/lib/containerd && exec "$@"', root]
    if subprocess.run([*there, "true"], capture_output=True).returncode:
        t.skip("at its usual place", "no mount namespace here")
        return
    p = subprocess.run([*there, *t.argv("docker.io/library/t:1", *PURLS)], env=t.env, capture_output=True)
    t.ok(p.returncode == 0 and p.stdout == want and b"is read from containerd" in p.stderr, "at its usual place, without a scheme", p.stderr)


def real_buildah(t):
    """An image that buildah made, layer on layer, against the archive that it packs itself."""
    base = ["buildah", "--root", t.path("b"), "--runroot", t.path("brun"), "--storage-driver", "vfs"]

    def run(*args):
        return subprocess.run([*base, *args], capture_output=True, text=True, check=True).stdout.strip()

    tree = t.path("tree")
    os.makedirs(tree + "/usr/lib")
    put(tree + "/usr/lib/a.egg-info", egg("a"))
    put(tree + "/usr/lib/" + "n" * 150 + "/b.egg-info", egg("b"))
    os.link(tree + "/usr/lib/a.egg-info", tree + "/usr/lib/linked")
    put(tree + "/usr/lib/" + "\u00e9".encode("latin-1").decode("utf-8", "surrogateescape") + ".egg-info", egg("c"))
    c = run("from", "scratch")
    run("add", c, tree, "/")
    run("commit", c, "localhost/base:1")
    d = run("from", "--pull-never", "localhost/base:1")
    m = run("mount", d)
    os.unlink(m + "/usr/lib/a.egg-info")
    put(m + "/opt/d.egg-info", egg("d"))
    run("commit", d, "localhost/top:1")
    run("push", "localhost/top:1", "docker-archive:" + t.path("top.tar"))
    code, want, err = t.scan(t.path("top.tar"), *PURLS)
    t.ok(code == 0 and b"pypi/d@1" in want, "what buildah packs", code, err)
    t.same(want, "what is in its store", f"containers-storage:[{t.path('b')}]localhost/top:1", *PURLS)
    t.same(want, "all digests", f"containers-storage:[{t.path('b')}]top:1", *PURLS, "--verify", "full")


def main():
    part, stella = sys.argv[1:3]
    t = Tests(stella)
    t.env.update(CONTAINERS_REGISTRIES_CONF=t.write("no-rules.conf", b""), REGISTRY_AUTH_FILE=t.write("no-logins.json", b"{}"))
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "CONTAINERD_NAMESPACE", "STORAGE_DRIVER"):
        t.env.pop(name, None)
    globals()["part_" + part](t)
    t.done()


main()
