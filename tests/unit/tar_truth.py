#!/usr/bin/env python3
"""What Python's tarfile and GNU tar find in archives made by real tools, against what the reader finds.

tar_truth.py FILE...               the list of each archive, as `test_tar --list` prints it
tar_truth.py --check TEST_TAR      make archives with every tool that is here and compare
tar_truth.py --fixtures DIR        make the committed fixtures and their lists
"""
import hashlib, os, shutil, subprocess, sys, tarfile, tempfile

TYPES = {tarfile.LNKTYPE: "hardlink", tarfile.SYMTYPE: "symlink", tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block",
         tarfile.DIRTYPE: "dir", tarfile.FIFOTYPE: "fifo"}


def escape(b):
    return "".join(chr(c) if 0x20 < c < 0x7f and c != 0x5c else "\\x%02x" % c for c in b)


def normalise(b):
    parts = []
    for p in b.split(b"/"):
        if p == b"..":
            del parts[-1:]
        elif p not in (b"", b"."):
            parts.append(p)
    return b"/".join(parts)


def listing(path):
    lines = []
    with tarfile.open(path, "r:", errors="surrogateescape", encoding="utf-8") as t:
        for i in t:
            kind = TYPES.get(i.type, "file")
            link = os.fsencode(i.linkname) if kind in ("hardlink", "symlink") else b""
            if kind == "hardlink":
                link = normalise(link)
            digest, size = "-", 0
            if kind == "file":
                digest, size, f = hashlib.sha256(), i.size, t.extractfile(i)
                while f:
                    data = f.read(1 << 20)
                    if not data:
                        break
                    digest.update(data)
                digest = digest.hexdigest()
            name = escape(normalise(os.fsencode(i.name)))
            lines.append("%s %04o %d %s %s %s" % (kind, i.mode & 0o7777, size, digest, name or ".", escape(link) or "-"))
    return lines


def gnu_listing(path):
    """Names and sizes as `tar --list -v` has them, from lines without newlines in names."""
    out = subprocess.run(["tar", "--numeric-owner", "--quoting-style=literal", "--full-time", "-tvf", path],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    rows = []
    for line in out.split(b"\n")[:-1]:
        mode, _, size, _, _, name = line.split(None, 5)
        sep = {b"l": b" -> ", b"h": b" link to "}.get(mode[:1])
        rows.append((escape(normalise(name.split(sep)[0] if sep else name)) or ".", int(size) if mode[:1] == b"-" else 0))
    return rows


def sparse(path, runs, size):
    with open(path, "wb") as f:
        for at, data in runs:
            f.seek(at)
            f.write(data)
        f.truncate(size)


def tree(top, long_names, odd_names, newline, small):
    os.makedirs(top + "/usr/lib/x")
    sizes = (0, 1, 511, 512, 513) if small else (0, 1, 511, 512, 513, 10240, 100000, 600001)
    for n in sizes:
        with open("%s/usr/lib/f%d" % (top, n), "wb") as f:
            f.write(bytes((i * i + n) & 255 for i in range(min(n, 5000))) * (n // 5000 + 1) if n else b"")
            f.truncate(n)
    os.symlink("../lib/f1", top + "/usr/lib/x/link")
    os.symlink("usr/lib", top + "/lib")
    os.link(top + "/usr/lib/f513", top + "/usr/zhard")
    os.mkfifo(top + "/usr/fifo")
    os.chmod(top + "/usr/lib/f1", 0o4755)
    name90 = top + "/usr/" + "n" * 90
    os.mkdir(name90)
    open(name90 + "/" + "m" * 60, "w").close()  # needs a prefix
    if long_names:
        deep = top + "/usr/" + "/".join(("d%02d" % i) * (30 if small else 8) for i in range(3 if small else 12))
        os.makedirs(deep)
        with open(deep + "/" + "f" * 200, "w") as f:
            f.write("far down\n")
        os.symlink("x" * 250, top + "/usr/longlink")
        os.link(deep + "/" + "f" * 200, top + "/usr/zlonghard")
    if odd_names:
        open(os.fsencode(top) + b"/usr/\xff\xfe latin \xe9", "w").close()
        open(top + "/usr/\u00fcml\u00e4ut", "w").close()
        open(top + "/usr/with blank ", "w").close()
    if newline:
        open(top + "/usr/new\nline", "w").close()


def sparse_tree(top, many):
    os.makedirs(top)
    sparse(top + "/begins", [(0, b"a" * 3000), (200000, b"b" * 700)], 300000)
    sparse(top + "/ends", [(100000, b"c" * 5)], 100005)
    sparse(top + "/hole", [], 70000)
    sparse(top + "/many", [(i * 8192, b"%d " % i * 20) for i in range(many)], many * 8192)
    open(top + "/plain", "w").write("no holes\n")
    open(top + "/" + "s" * 120, "w").write("x")


# v7 cannot say everything that is in the trees: the tools leave it out and fail.
def gnu(fmt, extra=()):
    return lambda out, top: subprocess.run(
        ["tar", "--sort=name", "--mtime=@1", "--owner=0", "--group=0", "--numeric-owner", "--format=" + fmt, *extra,
         "-cf", out, "-C", top, "."], check=fmt != "v7", stderr=subprocess.DEVNULL if fmt == "v7" else None)


def bsd(fmt, *extra):
    return lambda out, top: subprocess.run(["bsdtar", "--format=" + fmt, *extra, "-cf", out, "-C", top, "."],
                                           check=fmt != "v7", stderr=subprocess.DEVNULL if fmt == "v7" else None)


def py(fmt):
    def make(out, top):
        with tarfile.open(out, "w", format=fmt, errors="surrogateescape", encoding="utf-8") as t:
            t.add(top, "/./" if fmt == tarfile.USTAR_FORMAT else ".")
    return make


def cpio(fmt):
    def make(out, top):
        names = subprocess.run(["find", ".", "-print0"], cwd=top, stdout=subprocess.PIPE, check=True).stdout
        with open(out, "wb") as f:
            subprocess.run(["cpio", "-0", "-o", "--quiet", "-H", fmt], input=names, stdout=f, cwd=top, check=True)
    return make


# name, tool, maker, tree: plain (short names), full, or sparse
RECIPES = [
    ("gnu-v7", "tar", gnu("v7"), "plain"), ("gnu-ustar", "tar", gnu("ustar"), "plain"),
    ("gnu-oldgnu", "tar", gnu("oldgnu"), "full"), ("gnu-gnu", "tar", gnu("gnu"), "full"),
    ("gnu-pax", "tar", gnu("pax", ["--pax-option=delete=atime,delete=ctime"]), "full"),
    ("gnu-sparse-oldgnu", "tar", gnu("oldgnu", ["-S", "--hole-detection=raw"]), "sparse"),
    ("gnu-sparse-gnu", "tar", gnu("gnu", ["-S", "--hole-detection=raw"]), "sparse"),
] + [
    ("gnu-sparse-pax" + v, "tar", gnu("pax", ["-S", "--hole-detection=raw", "--sparse-version=" + v,
                                              "--pax-option=delete=atime,delete=ctime"]), "sparse")
    for v in ("0.0", "0.1", "1.0")
] + [
    ("bsd-ustar", "bsdtar", bsd("ustar"), "plain"), ("bsd-v7", "bsdtar", bsd("v7"), "plain"),
    ("bsd-pax", "bsdtar", bsd("pax"), "full"), ("bsd-gnutar", "bsdtar", bsd("gnutar"), "full"),
    ("bsd-restricted", "bsdtar", bsd("paxr"), "full"), ("bsd-sparse", "bsdtar", bsd("pax", "--read-sparse"), "sparse"),
    ("py-ustar", None, py(tarfile.USTAR_FORMAT), "plain"), ("py-gnu", None, py(tarfile.GNU_FORMAT), "full"),
    ("py-pax", None, py(tarfile.PAX_FORMAT), "full"),
    ("cpio-ustar", "cpio", cpio("ustar"), "plain"), ("cpio-tar", "cpio", cpio("tar"), "plain"),
]


def make_all(out, small):
    """Yield (name, path, tree) of every archive that the tools at hand can make."""
    work = tempfile.mkdtemp(prefix="st-tar-")
    try:
        tree(work + "/plain", False, False, False, small)
        tree(work + "/full", True, True, True, small)
        sparse_tree(work + "/sparse", 26 if small else 200)
        for name, tool, make, which in RECIPES:
            if tool and not shutil.which(tool):
                print("ok - %s # SKIP no %s" % (name, tool))
                continue
            path = "%s/%s.tar" % (out, name)
            make(path, "%s/%s" % (work, which))
            yield name, path, which
    finally:
        shutil.rmtree(work)


def check(test_tar):
    failed = 0
    out = tempfile.mkdtemp(prefix="st-tar-")
    try:
        for name, path, which in make_all(out, False):
            got = subprocess.run([test_tar, "--list", path], stdout=subprocess.PIPE, text=True).stdout.split("\n")[:-1]
            want = listing(path)
            good = got == want
            if which != "full" and shutil.which("tar"):  # no newline in a name
                rows = [(r.split(" ")[4], int(r.split(" ")[2])) for r in got]
                good = good and rows == gnu_listing(path)
            print("%s - %s: %d entries" % ("ok" if good else "not ok", name, len(want)))
            for a, b in zip(got + [""] * len(want), want + [""] * len(got)):
                if a != b:
                    print("# reader: %s\n# truth:  %s" % (a, b))
                    break
            failed += not good
    finally:
        shutil.rmtree(out)
    return failed != 0


# The others have nothing that these have not.
COMMITTED = ("gnu-", "bsd-pax", "bsd-gnutar", "py-pax", "cpio-ustar")


def fixtures(out):
    for name, path, which in make_all(out, True):
        if not name.startswith(COMMITTED):
            os.unlink(path)
            continue
        data = open(path, "rb").read()
        end = len(data.rstrip(b"\0"))  # no record padding: two zero blocks are enough
        open(path, "wb").write(data[: (end + 511) // 512 * 512 + 1024])
        open("%s/%s.list" % (out, name), "w").write("".join(l + "\n" for l in listing(path)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        sys.exit(check(sys.argv[2]))
    elif sys.argv[1:2] == ["--fixtures"]:
        fixtures(sys.argv[2])
    else:
        for p in sys.argv[1:]:
            print("\n".join(listing(p)))
