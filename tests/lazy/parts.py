"""Layers that can be read in parts, made from nothing but Python and zstd: eStargz and zstd:chunked, honest or not.

The formats' own tools make them in convert/ (lazy.py tools); these are for what no tool would write.
"""
import gzip
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from images import Image, sha  # noqa: E402

STARGZ = "containerd.io/snapshot/stargz/toc.digest"
CHECKSUM = "io.github.containers.zstd-chunked.manifest-checksum"
POSITION = "io.github.containers.zstd-chunked.manifest-position"
TYPES = {tarfile.REGTYPE: "reg", tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink"}


def info_of(path, what, mode):
    i = tarfile.TarInfo(path)
    i.mode = mode
    if what is None:
        i.type = tarfile.DIRTYPE
    elif isinstance(what, str):
        i.type = tarfile.SYMTYPE if what.startswith("->") else tarfile.LNKTYPE
        i.linkname = what.lstrip("->=")
    else:
        i.size = len(what)
    return i


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c", "-1"], input=data, check=True, stdout=subprocess.PIPE).stdout


def digest(data):
    return "sha256:" + sha(data)


class Layer:
    """entries as for images.tar, with a mode as third where it matters. `edit` may change the list of the table's entries,
    `table` the JSON text itself; `hidden` are paths that stand in the tar and not in the table."""

    def __init__(self, kind, entries, chunk=256 << 10, edit=None, table=None, hidden=()):
        self.estargz = kind == "estargz"
        self.squeeze = (lambda b: gzip.compress(b, mtime=0)) if self.estargz else zstd
        self.blob, self.tar, self.entries, self.pending = bytearray(), bytearray(), [], b""
        for path, what, *mode in entries:
            self.add(info_of(path, what, mode[0] if mode else 0o644), what, chunk, path in hidden)
        self.finish(edit, table)

    def member(self, data):
        if data:
            self.blob += self.squeeze(data)
            self.tar += data

    def add(self, i, what, chunk, hidden):
        self.pending += i.tobuf(tarfile.PAX_FORMAT)
        e = {"type": TYPES[i.type], "name": i.name, "mode": i.mode, "size": i.size}
        if i.linkname:
            e["linkName"] = i.linkname
        own = [e]
        if i.size:
            self.member(self.pending)
            e["digest"] = digest(what)
            for at in range(0, len(what), chunk):
                part = what[at:at + chunk]
                c = e if at == 0 else {"type": "chunk", "name": i.name, "chunkOffset": at}
                c.update(offset=len(self.blob), chunkSize=len(part), chunkDigest=digest(part))
                if not self.estargz and not any(part):
                    c["chunkType"] = "zeros"
                if at:
                    own.append(c)
                self.member(part)
            e["endOffset"] = len(self.blob)
            self.pending = b"\0" * (-i.size % 512)
        if not hidden:
            self.entries += own

    def finish(self, edit, table):
        if edit:
            edit(self.entries)
        text = json.dumps({"version": 1, "entries": self.entries}, ensure_ascii=False)
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").encode()  # as Go writes what is not UTF-8
        text = table(text) if table else text
        if self.estargz:
            self.member(self.pending)
            at = len(self.blob)
            index = info_of("stargz.index.json", text, 0)
            self.member(index.tobuf() + text + b"\0" * (-len(text) % 512) + b"\0" * 1024)
            self.blob += bytes.fromhex("1f8b08040000000000ff1a0053471600") + b"%016xSTARGZ" % at + bytes.fromhex("010000ffff") + b"\0" * 8
            self.annotations = {STARGZ: digest(text)}
        else:
            self.member(self.pending + b"\0" * 1024)
            packed = zstd(text)
            self.annotations = {CHECKSUM: digest(packed), POSITION: f"{len(self.blob) + 8}:{len(packed)}:{len(text)}:1"}
            self.blob += b"\x50\x2a\x4d\x18" + struct.pack("<I", len(packed)) + packed
        self.blob, self.tar = bytes(self.blob), bytes(self.tar)


def image(layers, annotations=None):
    """An Image of such layers; annotations: instead of their own, a list."""
    im = Image([x.tar for x in layers], blobs=[x.blob for x in layers])
    m = json.loads(im.manifest)
    for d, x, a in zip(m["layers"], layers, annotations or [x.annotations for x in layers]):
        d["annotations"] = a
        d["mediaType"] += "+gzip" if x.estargz else "+zstd"
    im.manifest = json.dumps(m).encode()
    return im
