#!/usr/bin/env python3
"""Images from registries: registry.py PART STELLA, PART one of pull, auth, lies, tls, real."""
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib

for beside in ("golden", "e2e"):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", beside))

from images import Image, Tests, egg, sha, small_image, tar  # noqa: E402
from lying import Daemon, Registry, Relay, certificate, endless, own_address  # noqa: E402
from make_exe_java import elf  # noqa: E402

INDEX = "application/vnd.oci.image.index.v1+json"
PURLS = ("--format", "purls")


def purls(t, im, name):
    code, out, err = t.scan("oci:" + im.oci_dir(t.path(name)), *PURLS)
    assert code == 0 and out, err
    return out


def fails(t, code, words, what, *args, **kw):
    got, out, err = t.scan(*args, **kw)
    return t.ok(got == code and all(w in err for w in words) and not out, f"{what}: {err.strip().splitlines()[-1] if err.strip() else ''}",
                f"exit {got}, wanted {code} and {words}", err)


def big_image(mib=3):
    """Bytes that do not compress, so that blobs are worth cutting."""
    return Image([tar([("usr/lib/x.egg-info", egg("x")), ("noise", os.urandom(mib << 20)), ("opt/y.egg-info", egg("y"))])])


def executable():
    """Its table of sections stands behind the section that is wanted."""
    audit = zlib.compress(b'{"packages":[{"name":"serde","version":"1.0.0","source":"crates.io"}]}')
    exe = elf([(".text", 6, os.urandom(3 << 20)), (".dep-v0", 2, audit), (".data", 3, os.urandom(2 << 20))])
    return Image([tar([("before", os.urandom(14 << 20)), ("usr/bin/tool", exe), ("behind", os.urandom(3 << 20))])])


# ---- the ordinary way ----

def part_pull(t):
    r = Registry()
    im = small_image()
    digest = r.add(im)
    want = purls(t, im, "small")
    ref = f"localhost:{r.port}/app:1"
    code, out, err = t.scan(ref, *PURLS)
    t.ok(code == 0 and out == want, "the same packages as from a layout", code, err)
    t.ok(f"is {digest}" in err, "the digest that the tag meant is told", err)
    again = [x for x in r.asked("/blobs/") if sum(x[1] == y[1] for y in r.log) > 1]
    t.ok(len(again) == 2 and sha(im.blobs[1]) in again[0][1], "the layer whose hard link is looked up, and no other, twice", r.log)
    t.ok(len(r.asked("/manifests/")) <= 2, "one manifest request, after the one that found no TLS", r.asked("/manifests/"))
    for args in (("--memory", "16Mi"), ("--threads", "4"), ("--verify", "full"), ("--verify", "none")):
        t.same(want, "the same with " + " ".join(args), ref, *PURLS, *args)
    for name in (f"127.0.0.1:{r.port}/app@{digest}", f"localhost:{r.port}/app:1@{digest}", f"docker://localhost:{r.port}/app:1",
                 f"registry:localhost:{r.port}/app:1"):
        t.same(want, "as " + name.replace(str(r.port), "PORT"), name, *PURLS)
    for codec in ("none", "zstd"):
        other = small_image(codec)
        r.add(other, tag=codec)
        t.same(purls(t, other, codec), f"layers stored as {codec}", f"localhost:{r.port}/app:{codec}", *PURLS)
    cache = t.path("cache")
    t.same(want, "cache cold", ref, *PURLS, "--cache", cache)
    del r.log[:]
    t.same(want, "cache warm", ref, *PURLS, "--cache", cache)
    layers = ["sha256:" + sha(b) for b in im.blobs]
    t.ok(not any(any(d in x[1] for d in layers) for x in r.log), "and no layer is fetched", r.log)
    del r.log[:]
    for verb in ("inspect", "layers"):
        p = subprocess.run([t.stella, "image", verb, ref], env=t.env, capture_output=True, text=True)
        t.ok(p.returncode == 0 and layers[0][:19] in p.stdout, f"image {verb}", p.stdout, p.stderr)
    t.ok(not any(any(d in x[1] for d in layers) for x in r.log), "without a layer", r.log)
    del r.log[:]
    fails(t, 5, ["--offline"], "--offline", ref, "--offline")
    t.ok(not r.log, "and no packet")
    t.scan(ref, *PURLS, "-o", "json=" + t.path("a.json"))
    t.ok(json.load(open(t.path("a.json"), encoding="utf-8"))["source"], "an SBOM")
    platforms(t, r, im, want)
    refusals(t, r, im)
    r.reset()
    second_look(t, r)
    t0 = time.time()
    noise = big_image(2)
    r.add(noise, tag="noise")
    code, out, err = t.scan(f"localhost:{r.port}/app:noise", *PURLS, "--bandwidth", "1Mi")
    t.ok(code == 0 and time.time() - t0 > 1.2, "--bandwidth holds back", code, err, time.time() - t0)
    r.close()


def second_look(t, r):
    """An executable whose table of sections stands behind the section that is wanted: read again, by Range from the kept inflate state."""
    im = executable()
    want = purls(t, im, "exe")
    r.add(im, tag="exe")
    del r.log[:]
    t.same(want, "a second look at an executable", f"localhost:{r.port}/app:exe", *PURLS)
    ranges = [int(x[2]["Range"].split("=")[1].split("-")[0]) for x in r.asked(sha(im.blobs[0])) if "Range" in x[2]]
    t.ok(b"serde" in want and len(ranges) == 1 and ranges[0] > 8 << 20, "begins where the inflate state was kept", ranges)


def platforms(t, r, im, want):
    arm = small_image("none")
    arm.config = arm.config.replace(b"amd64", b"arm64")
    arm.manifest = json.dumps({"schemaVersion": 2, "mediaType": json.loads(im.manifest)["mediaType"],
                               "config": Image.describe("application/vnd.oci.image.config.v1+json", arm.config),
                               "layers": json.loads(arm.manifest)["layers"]}).encode()
    r.add(arm, tag=None)
    entries = [dict(Image.describe(json.loads(i.manifest)["mediaType"], i.manifest), platform={"os": "linux", "architecture": a})
               for i, a in ((im, "amd64"), (arm, "arm64"))]
    entries.append(dict(Image.describe(json.loads(im.manifest)["mediaType"], b"{}"), platform={"os": "plan9", "architecture": "386"}))
    r.add_manifest(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode(), INDEX, tag="multi")
    del r.log[:]
    t.same(want, "one platform of an index", f"localhost:{r.port}/app:multi", *PURLS, "--platform", "linux/amd64")
    t.ok(not any(sha(arm.config) in x[1] or sha(arm.manifest) in x[1] for x in r.log), "the others are not fetched", r.log)
    p = subprocess.run([t.stella, "image", "inspect", f"localhost:{r.port}/app:multi", "--platform", "linux/arm64"], env=t.env,
                       capture_output=True, text=True)
    t.ok("linux/arm64" in p.stdout, "another platform", p.stdout, p.stderr)
    fails(t, 2, ["linux/amd64", "linux/arm64"], "no such platform", f"localhost:{r.port}/app:multi", "--platform", "linux/s390x")
    fails(t, 1, ["missing blob"], "a platform whose manifest is not there", f"localhost:{r.port}/app:multi", "--platform", "plan9/386")


def refusals(t, r, im):
    fails(t, 4, ["no such image"], "no such tag", f"localhost:{r.port}/app:nope")
    fails(t, 4, ["no such repository"], "no such repository", f"localhost:{r.port}/nowhere:1")
    v1 = json.dumps({"schemaVersion": 1, "name": "app", "tag": "old", "architecture": "amd64", "fsLayers": [], "history": [],
                     "signatures": []}).encode()
    r.add_manifest(v1, "application/vnd.docker.distribution.manifest.v1+prettyjws", tag="old")
    fails(t, 1, ["schema 1 is not supported"], "schema 1", f"localhost:{r.port}/app:old")
    chart = json.dumps({"schemaVersion": 2, "mediaType": json.loads(im.manifest)["mediaType"],
                        "config": Image.describe("application/vnd.cncf.helm.config.v1+json", b"{}"),
                        "layers": [Image.describe("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"x")]}).encode()
    r.blobs["sha256:" + sha(b"{}")] = b"{}"
    r.add_manifest(chart, json.loads(im.manifest)["mediaType"], tag="chart")
    fails(t, 2, ["not an image", "helm"], "an artifact that is no image", f"localhost:{r.port}/app:chart")


# ---- registries.conf ----

def part_mirrors(t):
    one, two, r = Registry(), Registry(), Registry()
    im = big_image(1)
    want = purls(t, im, "layout")
    digest = r.add(im)
    name = f"localhost:{r.port}/app:1"

    def conf(text, ref=name, *args):
        for x in (one, two, r):
            del x.log[:]
        with open(t.path("registries.conf"), "w", encoding="utf-8") as f:
            f.write(text.replace("ONE", f"localhost:{one.port}").replace("TWO", f"localhost:{two.port}").replace("REG", f"localhost:{r.port}"))
        return t.scan(ref, *PURLS, *args, env={"CONTAINERS_REGISTRIES_CONF": t.path("registries.conf")})

    def good(got, what, *conditions):
        t.ok(got[0] == 0 and got[1] == want and all(conditions), what, got, one.log, two.log)

    mirrors = '[[registry]]\nprefix = "REG"\nlocation = "REG"\n[[registry.mirror]]\nlocation = "ONE/m"\n[[registry.mirror]]\nlocation = "TWO"\n'
    got = conf(mirrors)
    good(got, "two mirrors that have nothing, then the registry", one.asked("/v2/m/app/manifests/1"), two.asked("/v2/app/manifests/1"), r.log)
    one.add(im, repo="m/app")
    got = conf(mirrors)
    good(got, "a mirror that has it", one.log, not two.log, not r.log)
    layer = "sha256:" + sha(im.blobs[0])
    kept = one.blobs.pop(layer)
    got = conf(mirrors)
    good(got, "a mirror without the layer", one.log, r.asked(layer) or two.asked(layer))
    one.blobs[layer] = kept
    one.auth = "basic"
    got = conf(mirrors, name, "--creds", "user:secret-password")
    good(got, "a mirror gets no login that was typed for the registry", one.log, not any("Authorization" in x[2] for x in one.log), r.log)
    one.reset()
    got = conf(mirrors.replace('location = "ONE/m"', 'location = "ONE/m"\npull-from-mirror = "digest-only"'))
    good(got, "a mirror for digests only, and a tag", not one.log)
    one.close()
    got = conf(mirrors)
    good(got, "a mirror that is down", r.log)
    two.add(im, repo="hub/library/web", tag="latest")
    got = conf('[[registry]]\nprefix = "docker.io"\nlocation = "TWO/hub"\n', "web")
    good(got, "a short name, rewritten", two.asked("/v2/hub/library/web/manifests/latest"))
    got = conf('[[registry]]\nprefix = "*.example"\nlocation = "TWO/hub/library"\n[[registry]]\nprefix="docker.io"\nblocked=true', "a.b.example/web")
    good(got, "a wildcard", two.log)
    for text, words in (('[[registry]]\nprefix = "REG"\nblocked = true\n', "blocks"), ("[[registry", "registries.conf: line 1"),
                        ("[registries.search]\nregistries = []\n", "first form"), ("[[registry]]\n", "neither prefix nor location"),
                        ('[[registry]]\nprefix="REG/app"\nlocation="REG"\n', "has no repository")):
        code, out, err = conf(text)
        t.ok(code == 2 and words in err and not r.log, f"refused: {err.strip()}", code, err)
    code, out, err = conf('[[registry]]\nprefix = "REG/app"\nlocation = "REG/app"\ninsecure = true\n', f"localhost:{r.port}/app@{digest}")
    t.ok(code == 0 and out == want, "a rule for one repository", code, err)
    two.close()
    r.close()


def part_failover(t):
    """A mirror that dies in the middle of a layer: the next one goes on at the byte where it stopped."""
    im = Image([tar([("usr/lib/x.egg-info", egg("x")), ("noise", os.urandom(4 << 20))]), tar([("opt/y.egg-info", egg("y")), ("noise2", os.urandom(2 << 20))])])
    want = purls(t, im, "layout")
    layers = ["sha256:" + sha(b) for b in im.blobs]
    for how in ("refuses connections", "says nothing more", "answers 503"):
        one, two, r = Registry(), Registry(), Registry()
        for x in (one, two, r):
            x.add(im)
        dead = []

        def fault(h, path, one=one, dead=dead, how=how):
            if layers[0] in path and not dead:
                one.send_blob(h, im.blobs[0], 1 << 20)
                dead.append(time.time())
                if how == "refuses connections":
                    one.server.socket.close()
                return True
            if dead and how == "answers 503":
                one.send(h, 503, b"")
            elif dead:
                h.close_connection = True
            return bool(dead)

        one.fault = fault
        with open(t.path("registries.conf"), "w", encoding="utf-8") as f:
            f.write(f'[[registry]]\nprefix = "localhost:{r.port}"\nlocation = "localhost:{r.port}"\n[[registry.mirror]]\nlocation = "localhost:{one.port}"\n'
                    f'[[registry.mirror]]\nlocation = "localhost:{two.port}"\n')
        t0 = time.time()
        code, out, err = t.scan(f"localhost:{r.port}/app:1", *PURLS, "--threads", "1", env={"CONTAINERS_REGISTRIES_CONF": t.path("registries.conf")})
        took = time.time() - t0
        t.ok(code == 0 and out == want and dead, f"a mirror that dies and {how}", code, err)
        ranges = [x[2].get("Range") for x in two.asked(layers[0])]
        t.ok(len(ranges) == 1 and ranges[0] and int(ranges[0][6:].split("-")[0]) > 900000, "the next one goes on where it stopped", ranges)
        t.ok(len(one.asked(layers[1])) <= 1 and not r.asked("/blobs/"), "and is the first to be asked for the rest", one.asked(layers[1]), r.log)
        t.ok(took < 12, f"within seconds ({took:.1f})")
        two.close()
        r.close()
        if how != "refuses connections":
            one.close()


def part_foreign(t):
    """Layers that a manifest places on other servers."""
    r, other = Registry(), Registry()
    im = Image([tar([("usr/lib/x.egg-info", egg("x"))]), tar([("noise", os.urandom(1 << 20)), ("opt/y.egg-info", egg("y"))])])
    want = purls(t, im, "layout")
    layer, data = "sha256:" + sha(im.blobs[1]), im.blobs[1]
    url = f"http://localhost:{other.port}/x/layer.tar.gz"

    def push(*urls, tag="1"):
        m = json.loads(im.manifest)
        m["layers"][1].update(mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", urls=list(urls))
        r.add(im)
        r.add_manifest(json.dumps(m).encode(), m["mediaType"], tag=tag)
        r.blobs.pop(layer, None)
        del r.log[:], other.log[:]
        return f"localhost:{r.port}/app:{tag}"

    def elsewhere(h, path):
        if path == "/x/layer.tar.gz":
            other.send_blob(h, data)
        elif path == "/x/wrong":
            other.send_blob(h, data[:-9] + b"123456789")
        elif path == "/x/half":
            other.send_blob(h, data, 300000 if not h.headers.get("Range") else 1000)
        elif path == "/x/away":
            other.send(h, 307, b"", [("Location", f"http://localhost:{r.port}/v2/app/blobs/stolen")])
        else:
            other.send(h, 404, b"")
        return True

    other.fault = elsewhere
    ref = push(url)
    code, out, err = t.scan(ref, *PURLS)
    t.ok(code == 0 and b"pypi/x@1" in out and b"pypi/y@1" not in out and "--foreign-layers" in err and not other.log, "not asked: an unknown, no packet", err)
    t.same(want, "--foreign-layers", ref, *PURLS, "--foreign-layers")
    t.ok(r.asked(layer) and other.log, "the registry first, then the URL", r.log, other.log)
    r.auth = "basic"
    t.same(want, "with a login for the registry", ref, *PURLS, "--foreign-layers", "--creds", "user:secret-password")
    t.ok(not any("Authorization" in x[2] for x in other.log), "which the other server does not get", other.log)
    r.auth = None
    r.blobs[layer] = data
    del other.log[:]
    t.same(want, "a registry that has it", ref, *PURLS, "--foreign-layers")
    t.ok(not other.log, "is enough")
    base = f"http://localhost:{other.port}/x/"
    t.same(want, "the second of two URLs", push(base + "missing", url), *PURLS, "--foreign-layers")
    t.same(want, "a URL that gives half of it, the next the rest", push(base + "half", url), *PURLS, "--foreign-layers")
    fails(t, 1, ["foreign layer", "404"], "a URL that leads nowhere", push(base + "missing"), "--foreign-layers")
    fails(t, 1, [layer, "does not match"], "other bytes", push(base + "wrong"), "--foreign-layers")
    fails(t, 1, ["blob"], "no web address", push("file:///etc/passwd"), "--foreign-layers")
    ref = push(base + "away")
    r.auth = "basic"
    fails(t, 1, ["401"], "a redirect back to the registry", ref, "--foreign-layers", "--creds", "user:secret-password")
    t.ok(not any("Authorization" in x[2] for x in r.asked("stolen")), "carries no login", r.asked("stolen"))
    r.close()
    other.close()


# ---- who we are ----

def part_auth(t):
    r = Registry()
    im = big_image()
    r.add(im)
    want = purls(t, im, "layout")
    ref = f"localhost:{r.port}/app:1"
    host = f"localhost:{r.port}"
    config = t.path("docker")
    os.makedirs(config)
    env = {"DOCKER_CONFIG": config, "XDG_RUNTIME_DIR": t.path("run"), "HOME": t.dir, "XDG_CONFIG_HOME": t.path("cfg")}

    def write(where, data):
        os.makedirs(os.path.dirname(where), exist_ok=True)
        with open(where, "w", encoding="utf-8") as f:
            json.dump(data, f)
        return where

    def login(user="user", password="secret-password"):
        return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}

    good, bad = {"auths": {host: login()}}, {"auths": {host: login(password="secret-wrong")}}
    seen = []

    def same(what, *args, **kw):
        code, out, err = t.scan(*args, *PURLS, "-v", **kw)
        seen.append(err)
        t.ok(code == 0 and out == want, what, code, err)

    for mode in ("basic", "token"):
        r.reset()
        r.auth = mode
        if os.path.exists(config + "/config.json"):
            os.unlink(config + "/config.json")
        fails(t, 3, [f"docker login {host}"], f"{mode}: no login", ref, env=env)
        write(config + "/config.json", good)
        same(f"{mode}: ~/.docker/config.json", ref, env=env)
        write(config + "/config.json", bad)
        fails(t, 3, ["user", "config.json"], f"{mode}: a wrong password says where it is from", ref, env=env)
        same(f"{mode}: --creds", ref, "--creds", "user:secret-password", env=env)
        same(f"{mode}: REGISTRY_AUTH_FILE", ref, env=dict(env, REGISTRY_AUTH_FILE=write(t.path("auth.json"), good)))
        write(t.path("run/containers/auth.json"), {"auths": {host + "/app": login(), host: login(password="x")}})
        same(f"{mode}: Podman's auth.json, the longest name first", ref, env=env)
        shutil.rmtree(t.path("run"))
    write(config + "/config.json", {"auths": {f"https://{host}/v1/": login()}})
    same("an old spelling of the host", ref, env=env)

    helper = t.path("bin/docker-credential-test")
    os.makedirs(t.path("bin"))
    with open(helper, "w", encoding="utf-8") as f:
        f.write('#!/bin/sh\nread -r server\n[ "$1" = get ] || exit 2\ncase "$server" in\n'
                f'{host}) echo \'{{"ServerURL":"\'"$server"\'","Username":"\'"${{HUSER-user}}"\'","Secret":"\'"${{HSECRET-secret-password}}"\'"}}\' ;;\n'
                '*) echo "credentials not found in native keychain"; exit 1 ;;\nesac\n')
    os.chmod(helper, 0o755)
    henv = dict(env, PATH=t.path("bin") + ":" + os.environ["PATH"])
    write(config + "/config.json", {"credHelpers": {host: "test"}})
    same("a credential helper of the host", ref, env=henv)
    write(config + "/config.json", {"credsStore": "test", "auths": {host: {}}})
    same("a credential store", ref, env=henv)
    same("an identity token", ref, env=dict(henv, HUSER="<token>", HSECRET="secret-identity"))
    t.ok(r.asked("/token")[-1][0] == "POST", "is sent by POST")
    write(config + "/config.json", {"credHelpers": {host: "missing"}})
    fails(t, 3, ["docker-credential-missing"], "a helper that is not there", ref, env=henv)
    write(config + "/config.json", {"credHelpers": {host: "../../bin/sh"}})
    fails(t, 3, ["cannot be"], "a helper's name that is a path", ref, env=henv)
    with open(config + "/config.json", "w", encoding="utf-8") as f:
        f.write("{")
    fails(t, 3, ["config.json"], "a damaged file of logins", ref, env=env)
    os.unlink(config + "/config.json")

    r.reset()
    r.auth = "anonymous-token"
    same("a token without a login", ref, env=env)
    r.tokens["secret-fixed"] = 10 ** 9
    r.auth = "token"
    same("STELLA_REGISTRY_TOKEN", ref, env=dict(env, STELLA_REGISTRY_TOKEN="secret-fixed"))
    fails(t, 3, ["STELLA_REGISTRY_TOKEN"], "a wrong one", ref, env=dict(env, STELLA_REGISTRY_TOKEN="secret-other"))

    # The token ends in the middle of the layer: cut, 401, a new one, and on from there.
    r.reset()
    r.auth = "token"
    r.token_uses = 3
    layer = "sha256:" + sha(im.blobs[0])

    def cut(h, path):
        if layer in path and r.allowed(h):
            r.send_blob(h, im.blobs[0], 1 << 20)
            return True
        return False

    r.fault = cut
    same("the token expires while the layer is on its way", ref, "--creds", "user:secret-password", env=env)
    t.ok(len(r.tokens) >= 2, "a second token was asked for", r.tokens)

    r.reset()
    r.auth = "token"
    other = Registry()
    r.realm = f"http://localhost:{other.port}/elsewhere"
    fails(t, 3, [], "a token server that refuses", ref, "--creds", "user:secret-password", env=env)
    other.close()
    everything = "".join(seen)
    t.ok("secret" not in everything, "no secret in what -v says", everything[-2000:])
    leaked = subprocess.run(["grep", "-rla", "secret-", t.home], capture_output=True, text=True).stdout
    t.ok(not leaked, "nor in the state directory", leaked)
    r.close()


# ---- servers that lie ----

def part_lies(t):
    r, other = Registry(), Registry()
    im = big_image()
    r.add(im)
    layer, config = "sha256:" + sha(im.blobs[0]), "sha256:" + sha(im.config)
    data = im.blobs[0]
    want = purls(t, im, "layout")
    ref = f"localhost:{r.port}/app:1"

    def on(what, act):
        r.reset()

        def fault(h, path):
            return bool(what in path and act(h))
        r.fault = fault

    def sent(h, data, upto):
        r.send_blob(h, data, upto)
        return True

    total = [0]

    def cutting(h):
        first = int((h.headers.get("Range") or "=0-").split("=")[1].split("-")[0])
        total[0] += min(len(data) - first, 400000)
        return sent(h, data, 400000)

    on(layer, cutting)
    t.same(want, "cut every 400 kB", ref, *PURLS)
    t.ok(total[0] <= len(data) * 1.02, f"and hardly a byte is sent twice ({total[0]} of {len(data)})")
    count = [0]

    def once(h, *answers):
        count[0] += 1
        if count[0] > len(answers):
            return False
        status, headers = answers[count[0] - 1]
        r.send(h, status, b"", headers)
        return True

    for status, headers in ((429, [("Retry-After", "1")]), (503, []), (500, [])):
        count[0] = 0
        on(layer, lambda h, a=(status, headers): once(h, a))
        t.same(want, f"{status} once", ref, *PURLS)
    on("/manifests/", lambda h: once(h, (503, [("Retry-After", "99999")])))
    count[0] = 0
    fails(t, 10, ["503"], "a server that is away until tomorrow", ref)
    on("/manifests/", lambda h: (r.send(h, 429, b"", [("Retry-After", "3000")]), True)[1])
    fails(t, 10, ["too many requests", "login"], "a limit that lasts", ref)

    wrong = bytes(data[:-9]) + b"123456789"
    on(layer, lambda h: sent(h, wrong, None))
    out = t.path("never.json")
    code, _, err = t.scan(ref, "--format", "json", "--output", out)
    t.ok(code == 1 and layer in err and "sha256:" + sha(wrong) in err and not os.path.exists(out),
         "another blob under its digest: both are named, nothing is written", code, err)
    on(layer, lambda h: sent(h, b"<html>" + bytes(len(data) - 6), None))
    fails(t, 1, [layer, "does not match"], "something that is no layer", ref)
    on(layer, lambda h: sent(h, data[:-100], None))
    fails(t, 1, [str(len(data))], "a blob that is too short", ref)
    on(layer, lambda h: sent(h, data + b"x", None))
    fails(t, 1, [str(len(data))], "a blob that is too long", ref)
    on(layer, lambda h: (endless(h), True)[1])
    fails(t, 1, ["more than"], "a blob without an end", ref)
    on(config, lambda h: (endless(h), True)[1])
    fails(t, 1, ["larger than 4 MiB"], "a config without an end", ref)
    on("/manifests/", lambda h: (r.send(h, 200, b"{", [], 10 ** 10), True)[1])
    fails(t, 1, ["larger than 4 MiB"], "a manifest of 10 GB", ref)
    on("/manifests/", lambda h: (r.send(h, 200, b"not json"), True)[1])
    fails(t, 1, [], "a manifest that is no JSON", ref)
    on(config, lambda h: sent(h, im.config + b" ", None))
    fails(t, 1, ["config"], "a config of another digest", ref)
    r.reset()
    digest = "sha256:" + sha(im.manifest)
    on("/manifests/", lambda h: (r.send(h, 200, im.manifest + b" "), True)[1])
    fails(t, 1, [digest, sha(im.manifest + b" ")], "another manifest under its digest", f"localhost:{r.port}/app@{digest}")
    on(layer, lambda h: (r.error(h, 404, "BLOB_UNKNOWN"), True)[1])
    fails(t, 1, [layer], "a layer that is not there", ref)

    # Redirects: followed, and without credentials.
    other.blobs[layer] = data

    def away(h):
        r.send(h, 307, b"", [("Location", f"http://localhost:{other.port}/v2/x/blobs/{layer}?signature=secret-signature")])
        return True

    on(layer, away)
    r.auth = "basic"
    code, out, err = t.scan(ref, *PURLS, "-v", "--creds", "user:secret-password")
    t.ok(code == 0 and out == want, "a blob on another host", code, err)
    t.ok(other.log and all("Authorization" not in x[2] for x in other.log), "which gets no credentials", other.log)
    t.ok("secret" not in err, "and its signature is not shown", err)
    on(layer, lambda h: (r.send(h, 307, b"", [("Location", h.path)]), True)[1])
    fails(t, 1, ["redirects"], "a redirect loop", ref)
    on(layer, lambda h: (r.send(h, 307, b"", [("Location", "file:///etc/passwd")]), True)[1])
    fails(t, 1, ["redirects"], "a redirect to a file", ref)
    on("/manifests/", lambda h: (r.send(h, 200, b"x" * 100, [("X", "y" * 1000)] * 90), True)[1])
    fails(t, 1, ["headers"], "headers without an end", ref)
    r.reset()
    r.close()
    fails(t, 10, [f"localhost:{r.port}"], "nobody there", ref)
    try:
        socket.getaddrinfo("stella-test.invalid", 443)
    except socket.gaierror as e:
        if e.args[0] == socket.EAI_NONAME:
            t0 = time.time()
            fails(t, 4, ["no host of this name", "spelled right?"], "a host that does not exist", "stella-test.invalid/app:1", "--source", "registry")
            t.ok(time.time() - t0 < 10, "is not asked for again")
        else:
            fails(t, 10, ["is there a network"], "a host that cannot be looked up", "stella-test.invalid/app:1", "--source", "registry")
    fails(t, 4, ["not a registry"], "a web server that is no registry", f"localhost:{web(t)}/app:1")
    other.close()


def web(t):
    r = Registry()
    r.fault = lambda h, path: (r.send(h, 404, b"<html>no</html>"), True)[1]
    return r.port


# ---- time ----

def children(pid, name):
    """Processes of that name below pid."""
    found = []
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                with open(f"/proc/{d}/stat", encoding="utf-8") as f:
                    stat = f.read()
            except OSError:
                continue
            comm, rest = stat.split("(", 1)[1].rsplit(")", 1)
            if comm == name and int(rest.split()[1]) == pid:
                found.append(int(d))
    return found


def part_slow(t):
    """A parser that stands still: the server loses patience, and the layer goes on where it stopped."""
    r = Registry()
    im = big_image(24)
    r.add(im)
    want = purls(t, im, "layout")
    layer, data = "sha256:" + sha(im.blobs[0]), im.blobs[0]
    sent = [0]

    def impatient(h, path):
        if layer not in path:
            return False
        first = int((h.headers.get("Range") or "=0-").split("=")[1].split("-")[0])
        h.connection.settimeout(1)
        h.send_response(206 if first else 200)
        if first:
            h.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        h.send_header("Content-Length", str(len(data) - first))
        h.end_headers()
        h.close_connection = True
        try:
            for i in range(first, len(data), 65536):
                h.wfile.write(data[i:i + 65536])
                sent[0] += len(data[i:i + 65536])
        except OSError:
            pass
        return True

    r.fault = impatient
    p = subprocess.Popen(t.argv(f"localhost:{r.port}/app:1", *PURLS), env=t.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stopped = []
    end = time.time() + 20
    while not stopped and time.time() < end and p.poll() is None:
        if r.asked(layer):
            stopped = children(p.pid, "stella-analyze")
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
    time.sleep(4)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    out, err = p.communicate(timeout=120)
    t.ok(p.returncode == 0 and out == want, "a parser that stands still for 4 s", p.returncode, err)
    t.ok(stopped and len(r.asked(layer)) >= 2, "the server had closed the connection", len(r.asked(layer)))

    # Whoever kills it: what came of a layer till then is no evidence against the layer.
    def half(h, path):
        if layer not in path:
            return False
        h.send_response(200)
        h.send_header("Content-Length", str(len(data)))
        h.end_headers()
        h.close_connection = True
        try:
            h.wfile.write(data[:len(data) // 2])
            h.connection.settimeout(20)
            h.rfile.read(1)
        except OSError:
            pass
        return True

    said = []
    for _ in range(12):
        r.reset()
        r.fault = half
        p = subprocess.Popen(t.argv(f"localhost:{r.port}/app:1", *PURLS), env=t.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until = time.time() + 20
        while time.time() < until and not (r.asked(layer) and children(p.pid, "stella-fetch")):
            time.sleep(0.01)
        time.sleep(0.05)
        for pid in children(p.pid, "stella-fetch"):
            os.kill(pid, signal.SIGKILL)
        said.append((p.communicate(timeout=60)[1].strip(), p.returncode))
    t.ok(all(code and "match" not in err and "stella-fetch" in err for err, code in said), "stella-fetch killed twelve times: nobody blames the layer", said)

    # Nothing outlives a scan that is interrupted.
    r.reset()
    r.fault = lambda h, path: layer in path and (endless(h, b"\x1f\x8b\x08" + bytes(65533)), True)[1]
    p = subprocess.Popen(t.argv(f"localhost:{r.port}/app:1", *PURLS), env=t.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.time() + 20
    fetch = []
    while time.time() < end and not (fetch and r.asked(layer)):
        fetch = children(p.pid, "stella-fetch")
        time.sleep(0.02)
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=60)
    time.sleep(0.2)
    t.ok(p.returncode != 0 and fetch and not any(os.path.exists(f"/proc/{x}") for x in fetch), "nothing outlives an interrupted scan", p.returncode)
    r.close()


def part_sandbox(t):
    p = subprocess.run([os.path.join(os.path.dirname(t.stella), "stella-fetch"), "--self-test"], capture_output=True, text=True)
    lines = p.stdout.splitlines()
    if not lines:
        t.skip("sandbox", "self-test says nothing here: " + p.stderr[:100].replace("\n", " "))
    for line in lines:
        t.ok(line.endswith("refused"), line)


# ---- TLS ----

def part_tls(t):
    address = own_address()
    if not address or not shutil.which("openssl"):
        t.skip("TLS", "no address but loopback, or no openssl")
        return
    im = small_image()
    want = purls(t, im, "layout")
    cert, key = certificate(t.dir, "good", address)
    r = Registry((cert, key), address)
    r.add(im)
    ref = f"{r.host}/app:1"
    fails(t, 1, ["--ca-file", f"--insecure {r.host}"], "a certificate that nobody vouches for", ref)
    t.same(want, "--ca-file", ref, *PURLS, "--ca-file", cert)
    t.same(want, "--insecure", ref, *PURLS, "--insecure", r.host)
    t.same(want, "SSL_CERT_FILE", ref, *PURLS, env={"SSL_CERT_FILE": cert})
    certs = t.path("cfg/containers/certs.d/" + r.host)
    os.makedirs(certs)
    shutil.copy(cert, certs + "/ca.crt")
    t.same(want, "certs.d", ref, *PURLS, env={"XDG_CONFIG_HOME": t.path("cfg")})
    fails(t, 1, ["--ca-file"], "--insecure of another host", ref, "--insecure", "other.example")
    r.close()
    old = certificate(t.dir, "old", address, expired=True)
    r = Registry(old, address)
    fails(t, 1, ["expired", "--insecure"], "an expired certificate", f"{r.host}/app:1", "--ca-file", old[0])
    r.close()
    wrong = certificate(t.dir, "wrong", "192.0.2.7")
    r = Registry(wrong, address)
    fails(t, 1, ["no alternative certificate subject name"], "a certificate of another host", f"{r.host}/app:1", "--ca-file", wrong[0])
    r.close()
    client = certificate(t.dir, "client", address)
    r = Registry((cert, key, client[0]), address)
    r.add(im)
    fails(t, 10, [r.host], "no client certificate", f"{r.host}/app:1", "--ca-file", cert)
    t.same(want, "a client certificate", f"{r.host}/app:1", *PURLS, "--ca-file", cert, "--client-cert", client[0], "--client-key", client[1])
    fails(t, 2, ["go together"], "a client certificate without its key", f"{r.host}/app:1", "--client-cert", client[0])
    r.close()
    r = Registry(None, address)
    r.add(im)
    fails(t, 1, [f"--insecure {r.host}"], "plain HTTP elsewhere", f"{r.host}/app:1")
    t.ok(not r.log, "is not tried")
    t.same(want, "unless --insecure says so", f"{r.host}/app:1", *PURLS, "--insecure", r.host)
    r.close()


# ---- daemons on this machine ----

def part_daemon(t):
    docker, podman, r = Daemon(t.path("docker.sock")), Daemon(t.path("podman.sock")), Registry()
    im = big_image(1)
    r.add(im)
    want = purls(t, im, "layout")
    env = {"DOCKER_HOST": "unix://" + t.path("docker.sock"), "CONTAINER_HOST": "unix://" + t.path("podman.sock")}
    name = f"localhost:{r.port}/app:1"
    docker.images[name] = podman.images[name] = im.docker_archive()
    t.same(want, "docker:REF", "docker:" + name, *PURLS, env=env)
    t.same(want, "podman:REF", "podman:" + name, *PURLS, env=env)
    t.ok("/libpod/" in podman.log[-1] and "/libpod/" not in docker.log[-1], "each by its own interface", podman.log, docker.log)
    t.same(want, "with --offline: nothing leaves the machine", "docker:" + name, *PURLS, "--offline", env=env)
    for code, what, fault in ((1, "an archive that is cut off", lambda h: (h.send_response(200), h.send_header("Content-Length", "1000000"),
                                                                           h.end_headers(), h.wfile.write(im.docker_archive()[:9000]))),
                              (1, "an error", lambda h: Registry.send(h, 500, b'{"message":"the disk is full"}')),
                              (1, "an empty answer", lambda h: Registry.send(h, 200, b"")),
                              (1, "an answer that is no archive", lambda h: Registry.send(h, 200, b"x" * 5000))):
        docker.fault = lambda h, name, f=fault: (f(h), setattr(h, "close_connection", True), True)[2]
        got, out, err = t.scan("docker:" + name, *PURLS, env=env)
        t.ok(got in (1, 2, 10) and not out, f"{what}: {err.strip()}", got, err)
    docker.fault = None
    fails(t, 4, ["docker has no image"], "no such image", "docker:nothere", env=env)
    fails(t, 4, ["no docker answers", "may you use it"], "no daemon", "docker:x", env=dict(env, DOCKER_HOST="unix:///nowhere.sock"))
    fails(t, 2, ["unix://"], "a daemon elsewhere", "docker:x", env=dict(env, DOCKER_HOST="tcp://192.0.2.1:2375"))
    # Without a scheme: docker, podman, the registry.
    del docker.log[:], podman.log[:], r.log[:]
    code, out, err = t.scan(name, *PURLS, env=env)
    t.ok(code == 0 and out == want and "read from docker" in err and not podman.log and not r.log, "docker first", code, err)
    del docker.images[name]
    code, out, err = t.scan(name, *PURLS, env=env)
    t.ok(code == 0 and out == want and "read from podman" in err and not r.log, "then podman", code, err)
    del podman.images[name]
    code, out, err = t.scan(name, *PURLS, env=env)
    t.ok(code == 0 and out == want and "read from" not in err and r.log, "then the registry", code, err)
    podman.images[name] = im.docker_archive()
    del podman.log[:]
    t.same(want, "--source registry", name, *PURLS, "--source", "registry", env=env)
    t.same(want, "registry:REF", "registry:" + name, *PURLS, env=env)
    t.ok(not podman.log, "ask no daemon", podman.log)
    t.same(want, "--source podman", name, *PURLS, "--source", "podman", env=env)
    fails(t, 4, ["docker has no image"], "--source docker", name, "--source", "docker", env=env)
    r.close()


def part_podman(t):
    """Podman's own API service, on a store of the test's own."""
    if not os.environ.get("ST_FULL") or not shutil.which("podman") or not shutil.which("skopeo") or os.getuid() != 0:
        t.skip("podman", "slow (ST_FULL=1), or podman or skopeo is not installed, or not root")
        return
    im = big_image(1)
    want = purls(t, im, "layout")
    store = ["--root", t.path("store"), "--runroot", t.path("run"), "--storage-driver", "vfs"]
    q = subprocess.run(["skopeo", "copy", "-q", "oci:" + t.path("layout"), f"containers-storage:[vfs@{t.path('store')}+{t.path('run')}]localhost/app:1"],
                       capture_output=True, text=True)
    if q.returncode:
        t.skip("podman", "its store cannot be written here: " + q.stderr.strip()[-100:])
        return
    sock = t.path("podman.sock")
    with subprocess.Popen(["podman", *store, "system", "service", "-t", "0", "unix://" + sock], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as p:
        try:
            for _ in range(100):
                if subprocess.run(["curl", "-s", "--unix-socket", sock, "http://p/_ping"], capture_output=True).returncode == 0:
                    break
                time.sleep(0.1)
            env = {"CONTAINER_HOST": "unix://" + sock, "DOCKER_HOST": "unix://" + sock}
            t.same(want, "a short name in podman", "podman:app:1", *PURLS, env=env)
            t.same(want, "a full name", "podman:localhost/app:1", *PURLS, env=env)
            t.same(want, "its Docker-compatible interface", "docker:localhost/app:1", *PURLS, env=env)
            t.same(want, "without a scheme", "localhost/app:1", *PURLS, env=env)
            fails(t, 4, ["podman has no image"], "no such image", "podman:nothere", env=env)
        finally:
            p.terminate()


# ---- docker-registry, skopeo ----

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listening(port):
    for _ in range(100):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


def real_pulls(t, port, creds=(), push=()):
    """Images of every codec and manifest that skopeo pushes there."""
    for codec in ("none", "gzip", "zstd"):
        im = small_image(codec)
        want = purls(t, im, "layout-" + codec)
        for fmt in ("oci", "v2s2"):
            if codec == "zstd" and fmt == "v2s2":
                continue
            q = subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", "--format", fmt, *push, "oci:" + t.path("layout-" + codec),
                                f"docker://localhost:{port}/t/{codec}:{fmt}"], capture_output=True, text=True)
            t.ok(q.returncode == 0, f"skopeo pushes {codec} as {fmt}", q.stderr)
            ref = f"localhost:{port}/t/{codec}:{fmt}"
            t.same(want, f"{codec} as {fmt}", ref, *PURLS, *creds)
            q = subprocess.run(["skopeo", "inspect", "--tls-verify=false", *creds, "docker://" + ref, "--format", "{{.Digest}}"],
                               capture_output=True, text=True)
            _, _, err = t.scan(ref, *PURLS, *creds)
            t.ok(q.stdout.strip() and q.stdout.strip() in err, "the digest is skopeo's", q.stdout, q.stderr, err)
    fails(t, 4, ["no such"], "no such image", f"localhost:{port}/t/nothing:1", *creds)
    # A second look, which begins with a range, and a connection that is cut: what a server makes of ranges.
    im = executable()
    want = purls(t, im, "exe")
    subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", *push, "oci:" + t.path("exe"), f"docker://localhost:{port}/t/exe:1"], check=True)
    t.same(want, "a second look at an executable", f"localhost:{port}/t/exe:1", *PURLS, *creds)
    cut = Relay(port, 5 << 20)
    t.same(want, "through a relay that cuts each connection after 5 MiB", f"localhost:{cut.port}/t/exe:1", *PURLS, *creds)
    t.ok(cut.bytes < (20 << 20) * 1.6, f"without reading all again ({cut.bytes} bytes)")
    cut.close()


def part_real(t):
    if not shutil.which("docker-registry") or not shutil.which("skopeo"):
        t.skip("docker-registry", "docker-registry or skopeo is not installed")
        return
    port = free_port()
    users = shutil.which("htpasswd")
    auth = ""
    if users:
        line = subprocess.run([users, "-Bbn", "user", "secret-password"], capture_output=True, text=True, check=True).stdout
        t.write("htpasswd", line.encode())
        auth = f"auth: {{htpasswd: {{realm: r, path: {t.path('htpasswd')}}}}}\n"
    t.write("config.yml", f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {t.path('store')}}}}}\n"
                          f"http: {{addr: '127.0.0.1:{port}'}}\n{auth}".encode())
    with open(t.path("registry.log"), "wb") as log:
        p = subprocess.Popen(["docker-registry", "serve", t.path("config.yml")], stdout=log, stderr=log)
    try:
        listening(port)
        real_pulls(t, port, ["--creds", "user:secret-password"] if users else [], ["--dest-creds", "user:secret-password"] if users else [])
        if users:
            fails(t, 3, ["login"], "without a login", f"localhost:{port}/t/gzip:oci")
            fails(t, 3, ["--creds"], "with a wrong one", f"localhost:{port}/t/gzip:oci", "--creds", "user:no")
    finally:
        p.terminate()
        p.wait()


def part_second(t):
    """Another registry implementation: go-containerregistry's, from the Go module proxy."""
    if not os.environ.get("ST_FULL") or not shutil.which("go") or not shutil.which("skopeo"):
        t.skip("go-containerregistry", "slow (ST_FULL=1), or go or skopeo is not installed")
        return
    q = subprocess.run([os.path.join(os.path.dirname(os.path.abspath(__file__)), "second", "build")], capture_output=True, text=True)
    if q.returncode:
        t.skip("go-containerregistry", "it does not build here: " + q.stderr.strip()[-150:].replace("\n", " "))
        return
    port = free_port()
    with open(t.path("registry.log"), "wb") as log, subprocess.Popen([q.stdout.strip(), str(port)], stdout=log, stderr=log) as p:
        try:
            listening(port)
            real_pulls(t, port)
        finally:
            p.terminate()


def part_nginx(t):
    """docker-registry behind nginx, which throttles, limits requests and cuts connections; TLS with HTTP/2."""
    address = own_address()
    if not os.environ.get("ST_FULL") or not address or not all(shutil.which(x) for x in ("docker-registry", "nginx", "skopeo", "openssl")):
        t.skip("nginx", "slow (ST_FULL=1), or nginx, docker-registry, skopeo or openssl is not installed")
        return
    ports = []
    for _ in range(2):
        with socket.socket() as s:
            s.bind((address, 0))
            ports.append(s.getsockname()[1])
    back, front = ports
    cert, key = certificate(t.dir, "front", address)
    t.write("config.yml", f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {t.path('store')}}}}}\n"
                          f"http: {{addr: '127.0.0.1:{back}'}}\n".encode())
    t.write("nginx.conf", f"""daemon off; user root; pid {t.path('nginx.pid')}; error_log {t.path('nginx.log')}; events {{}}
http {{ access_log {t.path('access.log')}; client_body_temp_path {t.path('b')}; proxy_temp_path {t.path('p')}; fastcgi_temp_path {t.path('f')};
  uwsgi_temp_path {t.path('u')}; scgi_temp_path {t.path('s')};
  limit_req_zone $binary_remote_addr zone=one:1m rate=60r/m; limit_req_status 429;
  server {{ listen {address}:{front} ssl http2; ssl_certificate {cert}; ssl_certificate_key {key}; keepalive_requests 3;
    location / {{ proxy_pass http://127.0.0.1:{back}; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto https;
      limit_req zone=one burst=1 nodelay; limit_rate 2m; }} }} }}""".encode())
    im = big_image(4)
    want = purls(t, im, "layout")
    with open(t.path("log"), "wb") as log, \
            subprocess.Popen(["docker-registry", "serve", t.path("config.yml")], stdout=log, stderr=log) as registry, \
            subprocess.Popen(["nginx", "-c", t.path("nginx.conf"), "-p", t.dir], stdout=log, stderr=log) as nginx:
        try:
            time.sleep(1.5)
            q = subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:" + t.path("layout"), f"docker://127.0.0.1:{back}/app:1"],
                               capture_output=True, text=True)
            t.ok(q.returncode == 0, "skopeo pushes", q.stderr)
            for i in range(4):
                t.same(want, f"through nginx, {i}", f"{address}:{front}/app:1", *PURLS, "--ca-file", cert)
            with open(t.path("access.log"), encoding="utf-8") as f:
                text = f.read()
            t.ok("HTTP/2.0" in text and '" 429 ' in text, "with HTTP/2, and in spite of 429", text)
        finally:
            nginx.terminate()
            registry.terminate()


def main():
    part, stella = sys.argv[1:3]
    t = Tests(stella)
    t.env.update(CONTAINERS_REGISTRIES_CONF=t.write("no-rules.conf", b""), REGISTRY_AUTH_FILE=t.write("no-logins.json", b"{}"))
    if part == "auth":
        del t.env["REGISTRY_AUTH_FILE"]
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        t.env.pop(name, None)
    globals()["part_" + part](t)
    t.done()


main()
