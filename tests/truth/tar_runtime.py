#!/usr/bin/env python3
"""Layers as container runtimes read them: our reader against Go's archive/tar on thousands of odd and damaged archives.

usage: tar_runtime.py TEST_TAR [SEED [COUNT]]

Where both read an archive to its end, the lists (types, names, links, sizes, contents) must be equal. Either may refuse what the
other takes: a refusal is a failed scan, never another list. Go must be installed. TAP on standard output.
"""
import glob, io, os, random, shutil, struct, subprocess, sys, tarfile, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = ['a', './b', '/c', '../d', 'e/', 'x/../y', 'é' * 60, 'd' * 150 + '/f', 'k\udcff', 'l//m', './', '.wh.x', '.wh..wh..opq']
PAX = ['path', 'linkpath', 'size', 'uid', 'mtime', 'comment', 'hdrcharset', 'SCHILY.xattr.x'] + \
      ['GNU.sparse.' + k for k in ('major', 'minor', 'name', 'realsize', 'map', 'size', 'numblocks', 'offset', 'numbytes')]
VALUES = ['', '0', '1', '5', 'zz', 'a/b', '/x/', '1,2', '0,5', '0,1,2,3', '-1', '1.5', '9' * 25, ' 5', '+5', '05', 'BINARY', 'n\0m']
FIELDS = {  # offset: values that real and broken writers put there
    156: [bytes([c]) for c in b'0123456789gxLKSDMVNAX\0\x80'],
    124: [b'00000000123\0', b'000000001234', b'00000000005 ', b'         7\0', b'\x80' + bytes(10) + b'\5', b'\xff' * 12,
          b'\x80' + b'\x7f' * 11, bytes(12), b'           \0', b'0000000000z\0', bytes(6) + b'00005\0', b'5\0junkjunk00', b'77777777777\0'],
    257: [b'ustar\x0000', b'ustar  \0', b'ustar\0\0\0', bytes(8), b'ustar\x0099', b'USTAR\x0000'],
    345: [b'prefix\0' + bytes(13), bytes(20), b'/abs/pre' + bytes(12), b'\xff\xfe' + bytes(18)],
    0: [b'n/' + bytes(28), b'/' + bytes(29), b'a\0b' + bytes(27), b'\xff' * 30, bytes(30), b'dir/' + bytes(26)],
    157: [b'lnk' + bytes(20), bytes(23), b'/' + bytes(22)],
    100: [b'0000777\0', b'zz', b'-000001\0', b'\x80' + bytes(7), b'        '],
    508: [b'tar\0', bytes(4)],
    329: [b'0000000\x000000000\0', b'zzzz' + bytes(12), bytes(16), b'-' * 16],
}


def made(rnd):
    out, fmt = io.BytesIO(), rnd.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
    with tarfile.open(fileobj=out, mode='w', format=fmt) as t:
        for _ in range(rnd.randrange(1, 6)):
            i = tarfile.TarInfo(rnd.choice(NAMES))
            i.type = rnd.choice([b'0', b'0', b'0', b'5', b'1', b'2', b'3', b'6', b'7', b'\0'])
            if i.type in b'12':
                i.linkname = rnd.choice(['a', '/b', '../c', 'q' * 120, ''])
            data = rnd.randbytes(rnd.choice([0, 1, 511, 512, 513, 1500]))
            i.size = len(data) if i.type in b'07\0' else rnd.choice([0, 0, 0, 700])
            if fmt == tarfile.PAX_FORMAT and rnd.random() < .6:
                i.pax_headers = {rnd.choice(PAX): rnd.choice(VALUES) for _ in range(rnd.randrange(1, 4))}
            try:
                t.addfile(i, io.BytesIO(data + bytes(2000)))
            except ValueError:
                pass  # a name that ustar cannot hold
    return out.getvalue()


def damaged(rnd, archive):
    b = bytearray(archive)
    for _ in range(rnd.randrange(1, 4)):
        if len(b) < 512:
            break
        k = rnd.randrange(len(b) // 512) * 512
        h, what = b[k:k + 512], rnd.randrange(12)
        if what == 10:
            del b[k:k + 512]
        elif what == 11:
            b[k:k] = rnd.choice([bytes(512), bytes(1024), h])
        elif any(h):
            at = rnd.choice(list(FIELDS))
            new = rnd.choice(FIELDS[at]) if what < 10 else bytes([rnd.randrange(256)])
            at = at if what < 10 else rnd.randrange(480)  # behind that: sizes of sparse files, too long to read
            h[at:at + len(new)] = new
            if rnd.random() < .93:
                h[148:156] = b' ' * 8
                h[148:156] = b'%06o\0 ' % sum(h)
            b[k:k + 512] = h
        if rnd.random() < .05:
            del b[rnd.randrange(len(b) + 1):]
    return bytes(b)


def lists(argv, blob):
    text = subprocess.run(argv, input=blob, stdout=subprocess.PIPE, check=True).stdout.decode()
    found = [[]]
    for line in text.splitlines():
        found[-1].append(line)
        if line == 'end' or line.startswith('refused'):
            found.append([])
    return found[:-1]


def main():
    tool = os.path.abspath(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    n = int(sys.argv[3]) if len(sys.argv) > 3 else 100000 if os.environ.get('ST_FULL') else 4000
    if not shutil.which('go'):
        tap.skip_all('no Go')
    rnd = random.Random(seed)
    seeds = []
    for f in sorted(glob.glob(HERE + '/../fixtures/tar/*.tar')):
        with open(f, 'rb') as h:
            seeds.append(h.read())
    with tempfile.TemporaryDirectory() as tmp:
        go = os.path.join(tmp, 'list')
        subprocess.run(['go', 'build', '-o', go, os.path.join(HERE, 'tar_runtime.go')], check=True, cwd=tmp)
        both = bad = 0
        for at in range(0, n, 2000):
            archives = []
            for _ in range(2000):
                a = made(rnd) if rnd.random() < .6 else rnd.choice(seeds)
                archives.append(a if rnd.random() < .1 else damaged(rnd, a))
            blob = b''.join(struct.pack('<I', len(a)) + a for a in archives)
            ours, theirs = lists([tool, '--lists'], blob), lists([go], blob)
            if not tap.ok(len(ours) == len(theirs) == len(archives), f'archives {at} to {at + 2000} are read'):
                break
            for i, (a, b) in enumerate(zip(ours, theirs)):
                if a[-1] == b[-1] == 'end':
                    both += 1
                    if a != b:
                        bad += 1
                        print('# seed', seed, 'archive', at + i, *(x for x in zip(a, b) if x[0] != x[1]))
        tap.ok(bad == 0, f'{both} that both read to the end have the same list')
        tap.ok(both > n / 4, 'enough of them are read to the end')
    tap.done()


main()
