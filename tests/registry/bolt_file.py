"""A bbolt file as containerd keeps one, made from nested dictionaries: for seeds and for stores without containerd. bolt_file.py DIRECTORY
writes the seeds of the containerd fuzz target. (tests/registry/local.py runs the real one, too.)"""
import os
import struct
import sys

BRANCH, LEAF, META, FREELIST = 1, 2, 4, 16


def fnv(data):
    h = 0xcbf29ce484222325
    for c in data:
        h = ((h ^ c) * 0x100000001b3) & (2 ** 64 - 1)
    return h


def leaf(items):
    elements, body = b"", b""
    for i, (flags, key, value) in enumerate(items):
        elements += struct.pack("=IIII", flags, 16 * (len(items) - i) + len(body), len(key), len(value))
        body += key + value
    return elements + body


def branch(kids):
    elements, body = b"", b""
    for i, (key, page) in enumerate(kids):
        elements += struct.pack("=IIQ", 16 * (len(kids) - i) + len(body), len(key), page)
        body += key
    return elements + body


class Writer:
    def __init__(self, page_size):
        self.size, self.pages = page_size, []

    def page(self, flags, count, payload):
        n = -(-(16 + len(payload)) // self.size)
        number = 4 + len(self.pages)
        data = (struct.pack("=QHHI", number, flags, count, n - 1) + payload).ljust(n * self.size, b"\0")
        self.pages += [data[i:i + self.size] for i in range(0, len(data), self.size)]
        return number

    def tree(self, items):
        groups = [[]]
        for item in items:
            if groups[-1] and 16 + sum(16 + len(k) + len(v) for _, k, v in groups[-1] + [item]) > self.size:
                groups.append([])
            groups[-1].append(item)
        kids = [(g[0][1] if g else b"", self.page(LEAF, len(g), leaf(g))) for g in groups]
        while len(kids) > 1:
            kids = [(kids[i][0], self.page(BRANCH, len(kids[i:i + 20]), branch(kids[i:i + 20]))) for i in range(0, len(kids), 20)]
        return kids[0][1]

    def bucket(self, tree):
        """The value of a bucket: small ones lie in it."""
        items = self.items(tree)
        if len(leaf(items)) < self.size // 4 and not any(x[0] for x in items):
            return struct.pack("=QQ", 0, 0) + struct.pack("=QHHI", 0, LEAF, len(items), 0) + leaf(items)
        return struct.pack("=QQ", self.tree(items), 0)

    def items(self, tree):
        return [(1, k, self.bucket(v)) if isinstance(v, dict) else (0, k, v) for k, v in sorted(tree.items())]


def database(tree, page_size=1024, transactions=(7, 6)):
    w = Writer(page_size)
    root = w.tree(w.items(tree))
    out = b""
    for i, tx in enumerate(transactions):
        meta = struct.pack("=IIIIQQQQQ", 0xED0CDAED, 2, page_size, 0, root, 0, 2, 4 + len(w.pages), tx)
        out += (struct.pack("=QHHI", i, META, 0, 0) + meta + struct.pack("=Q", fnv(meta))).ljust(page_size, b"\0")
    for i, kind in ((2, FREELIST), (3, LEAF)):
        out += struct.pack("=QHHI", i, kind, 0, 0).ljust(page_size, b"\0")
    return out + b"".join(w.pages)


def image(digest):
    return {b"createdat": b"x", b"target": {b"digest": digest.encode(), b"mediatype": b"m", b"size": b"\x02"}}


def containerd(namespaces, **kw):
    """{namespace: {name: digest}}"""
    tree = {s.encode(): {b"images": {n.encode(): image(d) for n, d in images.items()}} for s, images in namespaces.items()}
    return database({b"v1": {**tree, b"version": b"\x02"}}, **kw)


def main():
    one, two = ("sha256:%064x" % i for i in (1, 2))
    name = "docker.io/library/t:1"
    for file, spaces in (("small", {"default": {name: one}}), ("disagree", {"default": {name: one}, "k8s.io": {name: two}}),
                         ("branches", {"default": {**{f"docker.io/library/x{i:03}:1": two for i in range(60)}, name: one}})):
        with open(os.path.join(sys.argv[1], file), "wb") as f:
            f.write(containerd(spaces))


if __name__ == "__main__":
    main()
