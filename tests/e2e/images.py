"""Images for the command line tests, made from nothing but Python, and a way to run stella on them."""
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def sha(data):
    return hashlib.sha256(data).hexdigest()


def egg(name, version="1"):
    return f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n".encode()


def tar(entries, fmt=tarfile.PAX_FORMAT):
    """entries: (path, bytes) files, (path, None) directories, (path, '->target') links, (path, '=target') hard links."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as t:
        for path, what in entries:
            info = tarfile.TarInfo(path)
            if what is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(what, str):
                info.type = tarfile.SYMTYPE if what.startswith("->") else tarfile.LNKTYPE
                info.linkname = what.lstrip("->=")
            else:
                info.size = len(what)
            t.addfile(info, io.BytesIO(what) if isinstance(what, bytes) else None)
    return out.getvalue()


def squeeze(data, codec):
    if codec == "none":
        return data
    if codec == "gzip":
        return gzip.compress(data, mtime=0)
    return subprocess.run([codec, "-c", "-q"] if codec != "zstd" else ["zstd", "-c", "-q"], input=data, check=True,
                          stdout=subprocess.PIPE).stdout


class Image:
    """layers: tar bytes; blobs: what is stored of them."""

    def __init__(self, layers, codec="gzip", blobs=None, diff_ids=None):
        self.layers = layers
        self.blobs = blobs or [squeeze(x, codec) for x in layers]
        self.diff_ids = diff_ids or ["sha256:" + sha(x) for x in layers]
        self.config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                                  "rootfs": {"type": "layers", "diff_ids": self.diff_ids}}).encode()
        self.manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": self.describe(CONFIG, self.config),
                                    "layers": [self.describe(LAYER, b) for b in self.blobs]}).encode()

    @staticmethod
    def describe(kind, data):
        return {"mediaType": kind, "digest": "sha256:" + sha(data), "size": len(data)}

    def oci_files(self):
        files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
                 "index.json": json.dumps({"schemaVersion": 2, "manifests": [
                     dict(self.describe(MANIFEST, self.manifest),
                          platform={"architecture": "amd64", "os": "linux"})]}).encode()}
        for blob in [self.manifest, self.config] + self.blobs:
            files["blobs/sha256/" + sha(blob)] = blob
        return files

    def oci_dir(self, where):
        for path, data in self.oci_files().items():
            full = os.path.join(where, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as f:
                f.write(data)
        return where

    def blob_path(self, where, i):
        return os.path.join(where, "blobs/sha256", sha(self.blobs[i]))

    def oci_archive(self):
        return tar(list(self.oci_files().items()))

    def docker_archive(self):
        names = [sha(x) + "/layer.tar" for x in self.layers]
        config = sha(self.config) + ".json"
        manifest = json.dumps([{"Config": config, "RepoTags": ["t:1"], "Layers": names}]).encode()
        return tar(list(zip(names, self.layers)) + [(config, self.config), ("manifest.json", manifest)])


class Tests:
    """TAP, a directory of its own, and stella with state of its own."""

    def __init__(self, stella):
        self.stella = os.path.abspath(stella)
        self.dir = tempfile.mkdtemp(prefix="stella-e2e-")
        self.home = os.path.join(self.dir, "home")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("STELLA_")}
        self.env["STELLA_HOME"] = self.home
        self.count = self.failed = 0

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)
        return self.path(name)

    def ok(self, good, what, *more):
        self.count += 1
        self.failed += not good
        print(("ok" if good else "not ok"), self.count, "-", what, flush=True)
        if not good:
            for m in more:
                print("#", str(m)[:2000].replace("\n", "\n# "))
        return good

    def skip(self, what, why):
        self.count += 1
        print("ok", self.count, "-", what, "# SKIP", why)

    def argv(self, *args):
        return [self.stella, "scan", "image", "--progress", "off", *args]

    def scan(self, *args, stdin=None, env=None, timeout=240):
        r = subprocess.run(self.argv(*args), input=stdin, env=dict(self.env, **(env or {})), timeout=timeout,
                           stdin=subprocess.DEVNULL if stdin is None else None, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, cwd=self.dir)
        return r.returncode, r.stdout, r.stderr.decode(errors="replace")

    def same(self, want, what, *args, **kw):
        code, out, err = self.scan(*args, **kw)
        return self.ok(code == 0 and out == want, what, f"exit {code}, {len(out)} bytes, wanted {len(want)}", err)

    def done(self):
        with open("/proc/self/mounts") as f:  # skopeo leaves its overlay store mounted
            for point in [line.split()[1] for line in f if line.split()[1].startswith(self.dir + "/")]:
                subprocess.run(["umount", point], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
        print(f"1..{self.count}")
        sys.exit(self.failed != 0)


def small_image(codec="gzip"):
    status = b"".join(b"Package: p%d\nStatus: install ok installed\nVersion: %d\nArchitecture: all\n\n" % (i, i)
                      for i in range(200))
    return Image([
        tar([("etc/os-release", b"ID=debian\nVERSION_ID=12\n"), ("var/lib/dpkg/status", status), ("lib", "->usr/lib"),
             ("usr/lib/a.egg-info", egg("a")), ("data", os.urandom(1) * 300000)]),
        tar([("lib/b.egg-info", egg("b")), ("blob", egg("c")), ("opt/c.egg-info", "=blob"), ("bad.egg-info", b"?")]),
        tar([("lib/.wh.a.egg-info", b""), ("usr/lib/d.egg-info", egg("d"))]),
    ], codec)
