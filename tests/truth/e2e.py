#!/usr/bin/env python3
"""Whole images: what `stella scan image` lists against the tools that own the data, run on the merged file system. TAP.

    e2e.py STELLA OCI_DIRECTORY [NAME...]          default: every layout in OCI_DIRECTORY with gzip or plain layers

The layers are merged here, by Python's tarfile and the OCI rules for whiteouts, without any code of stella. Only files that some
package tool reads are written (databases, package.json, dist-info, gemspecs, archives, executables). A missing tool is a skip.
"""
import gzip, importlib.metadata, io, json, os, re, shutil, subprocess, sys, tarfile, tempfile, zipfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap

WANTED = re.compile(r'(^|/)var/lib/dpkg/(status$|status\.d/|arch)|(^|/)(var/lib|usr/lib/sysimage|usr/share)/rpm/|/(node_modules|usr/share/nodejs)/'
                    r'(@[^/]+/)?[^/]+/package\.json$|\.dist-info/|\.egg-info($|/)|/specifications/.*\.gemspec$')
ARCHIVE = re.compile(r'\.(jar|war|ear|par|sar|nar|jpi|hpi|kar|lpkg)$')
EXECUTABLE = (b'\x7fELF', b'MZ', b'\xfe\xed\xfa', b'\xcf\xfa\xed\xfe', b'\xce\xfa\xed\xfe', b'\xca\xfe\xba\xbe')
NEST = 8


def layers(layout):
    blob = lambda d: os.path.join(layout, 'blobs', *d.split(':'))
    with open(os.path.join(layout, 'index.json')) as f:
        m = json.load(f)['manifests'][0]
    with open(blob(m['digest'])) as f:
        return [blob(l['digest']) for l in json.load(f)['layers']]


def open_layer(path):
    with open(path, 'rb') as f:
        magic = f.read(4)
    if magic[:2] == b'\x1f\x8b':
        if shutil.which('igzip'):
            p = subprocess.Popen(['igzip', '-dc'], stdin=open(path, 'rb'), stdout=subprocess.PIPE)
            return tarfile.open(fileobj=p.stdout, mode='r|', bufsize=1 << 20)
        return tarfile.open(fileobj=gzip.open(path), mode='r|')
    if magic == b'\x28\xb5\x2f\xfd':
        p = subprocess.Popen(['zstd', '-dcq', path], stdout=subprocess.PIPE)
        return tarfile.open(fileobj=p.stdout, mode='r|', bufsize=1 << 20)
    return tarfile.open(path, mode='r|')


class Tree:
    """A directory that layers are applied to; links are followed inside of it only."""

    def __init__(self, root):
        self.root = root
        os.makedirs(root, exist_ok=True)

    def real(self, path, depth=0):
        at = self.root
        parts = [p for p in path.split('/') if p not in ('', '.')]
        while parts:
            p = parts.pop(0)
            if p == '..':
                at = os.path.dirname(at) if at != self.root else at
                continue
            here = os.path.join(at, p)
            if os.path.islink(here) and depth < 40:
                depth += 1
                to = os.readlink(here)
                at = self.root if to.startswith('/') else at
                parts = [q for q in to.split('/') if q not in ('', '.')] + parts
            else:
                at = here
        return at

    def place(self, name):
        parent, base = os.path.split(name)
        return os.path.join(self.real(parent), base)

    def remove(self, path):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)

    def apply(self, layer):
        new = set()
        with open_layer(layer) as t:
            for m in t:
                t.members = []
                name = os.path.normpath('/' + m.name).lstrip('/')
                base = os.path.basename(name)
                if base == '.wh..wh..opq':
                    d = self.real(os.path.dirname(name))
                    for e in os.listdir(d) if os.path.isdir(d) else []:
                        if os.path.join(d, e) not in new:
                            self.remove(os.path.join(d, e))
                elif base.startswith('.wh.'):
                    p = self.place(os.path.join(os.path.dirname(name), base[4:]))
                    if p not in new:
                        self.remove(p)
                elif name:
                    self.entry(t, m, name, new)

    def entry(self, t, m, name, new):
        p = self.place(name)
        new.add(p)
        if m.isdir():
            if os.path.islink(p) or os.path.isfile(p):
                self.remove(p)
            os.makedirs(p, exist_ok=True)
            while p != self.root:  # an opaque mark that comes later spares what this layer brought
                p = os.path.dirname(p)
                new.add(p)
            return
        self.remove(p)
        os.makedirs(os.path.dirname(p), exist_ok=True)
        if m.issym():
            os.symlink(m.linkname, p)
        elif m.islnk():
            src = self.place(os.path.normpath('/' + m.linkname).lstrip('/'))
            if os.path.lexists(src):
                os.link(src, p, follow_symlinks=False)
        elif m.isreg():
            f = t.extractfile(m)
            head = f.read(4)
            keep = WANTED.search('/' + name) or ARCHIVE.search(name) or (m.size > 4096 and head.startswith(EXECUTABLE))
            with open(p, 'wb') as out:
                if keep:
                    out.write(head)
                    shutil.copyfileobj(f, out, 1 << 20)


def files(root):
    for base, _, names in os.walk(root):
        for n in names:
            p = os.path.join(base, n)
            if os.path.isfile(p) and not os.path.islink(p):
                yield p


def run(*argv, **kw):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **kw).stdout.decode('utf-8', 'replace')


def dpkg(root):
    admin = os.path.join(root, 'var/lib/dpkg')
    parts = os.path.join(admin, 'status.d')
    if not os.path.exists(os.path.join(admin, 'status')) and not os.path.isdir(parts):
        return set()
    if not shutil.which('dpkg-query'):
        return None
    with tempfile.TemporaryDirectory() as tmp:
        with open(os.path.join(tmp, 'status'), 'wb') as out:
            if os.path.exists(os.path.join(admin, 'status')):
                out.write(open(os.path.join(admin, 'status'), 'rb').read())
            for n in sorted(os.listdir(parts)) if os.path.isdir(parts) else []:
                if not n.endswith('.md5sums'):
                    out.write(b'\nStatus: install ok installed\n' + open(os.path.join(parts, n), 'rb').read().strip() + b'\n')
        for d in ('info', 'updates'):
            os.mkdir(os.path.join(tmp, d))
        text = run('dpkg-query', '--admindir=' + tmp, '-W', '-f', '${db:Status-Status} ${Package} ${Version} ${Architecture}\n')
    return {tuple(l.split()[1:]) for l in text.splitlines() if l.startswith('installed ')}


def rpm(root):
    found = set()
    for d in ('var/lib/rpm', 'usr/lib/sysimage/rpm', 'usr/share/rpm'):
        p = os.path.join(root, d)
        if not os.path.isdir(p) or os.path.islink(p):
            continue
        names = os.listdir(p)
        backend = 'bdb_ro' if 'Packages' in names else 'sqlite' if 'rpmdb.sqlite' in names else None
        if not shutil.which('rpm') or not backend:
            return None  # no rpm of Debian's reads NDB
        text = run('rpm', '--define', '_db_backend ' + backend, '--dbpath', p, '-qa', '--qf', '%{NAME} %{EPOCH} %{VERSION}-%{RELEASE} %{ARCH}\n')
        for n, e, v, a in (l.split() for l in text.splitlines()):
            if n != 'gpg-pubkey':
                found.add((n, v if e in ('(none)', '0') else e + ':' + v, a))  # to rpm, no epoch and 0 are one version
    return found


def python(root):
    places = set()
    for base, dirs, names in os.walk(root):
        if any(n.endswith(('.dist-info', '.egg-info')) for n in dirs + names):
            places.add(base)
    found = set()
    for d in importlib.metadata.distributions(path=sorted(places)):
        if d.metadata['Name'] and d.metadata['Version']:
            found.add((re.sub(r'[-_.]+', '-', d.metadata['Name']).lower(), d.metadata['Version']))
    return found


def npm(root):
    found = set()
    for p in files(root):
        if re.search(r'/(node_modules|usr/share/nodejs)/(@[^/]+/)?[^/]+/package\.json$', p):  # Debian's Node looks in both
            try:
                with open(p, encoding='utf-8-sig') as f:
                    j = json.load(f)
                if isinstance(j, dict) and isinstance(j.get('name'), str) and isinstance(j.get('version'), str) and j['name'] and j['version']:
                    found.add((j['name'], j['version']))
            except ValueError:
                pass
    return found


def go(root):
    if not shutil.which('go'):
        return None
    programs = []
    for p in files(root):
        with open(p, 'rb') as f:
            if f.read(4).startswith(EXECUTABLE) and not ARCHIVE.search(p):
                programs.append(p)
    found = set()
    for p in programs:
        os.chmod(p, 0o755)
    for i in range(0, len(programs), 500):
        text = run('go', 'version', '-m', *programs[i:i + 500])
        for program in re.split(r'^(?=\S)', text, flags=re.M):
            lines = [l.split('\t')[1:] for l in program.splitlines()[1:]]
            of = lambda *kinds: [(l[1], l[2] if len(l) > 2 else '') for l in lines if l[0] in kinds]
            for at, l in enumerate(lines):  # a module is what replaces it; a directory has no version and leaves it the name
                by = lines[at + 1] if at + 1 < len(lines) and lines[at + 1][0] == '=>' else l
                if l[0] in ('dep', 'mod'):
                    name, version = (l[1] if by[1].startswith(('.', '/')) else by[1]), by[2] if len(by) > 2 else ''
                    found.add((name, '' if by is not l and version == '(devel)' else version))
            # Built outside of module mode the main package stands for its module, as it does in `go version -m`.
            if not of('mod') and len([v for _, v in of('dep') if v == '(devel)']) != 1:
                found.update((name, '') for name, _ in of('path') if name != 'command-line-arguments')
            go = re.search(r': (go\S+|devel \S+)', program.splitlines()[0]) if program.strip() else None
            if go:
                found.add(('stdlib', go[1].removeprefix('go')))
    return found


def gem(root):
    specs = [p for p in files(root) if re.search(r'/specifications/.*\.gemspec$', p)]
    if not specs:
        return set()
    if not shutil.which('ruby'):
        return None
    text = run('ruby', '-e', 'ARGV.each { |f| s = Gem::Specification.load(f); puts "#{s.name} #{s.version}" if s }', *specs)
    return {tuple(l.split()) for l in text.splitlines()}


def pom(data, found, depth=0):
    try:
        z = zipfile.ZipFile(data)
    except (zipfile.BadZipFile, OSError):
        return
    for n in z.namelist():
        try:
            if re.search(r'(^|/)META-INF/maven/[^/]+/[^/]+/pom\.properties$', n):
                kv = dict(l.split('=', 1) for l in z.read(n).decode('utf-8', 'replace').splitlines() if '=' in l and l[0] not in '#!')
                kv = {k.strip(): v.strip() for k, v in kv.items()}
                if all(kv.get(k) for k in ('groupId', 'artifactId', 'version')):
                    found.add((kv['groupId'] + ':' + kv['artifactId'], kv['version']))
            elif ARCHIVE.search(n) and depth < NEST:
                pom(io.BytesIO(z.read(n)), found, depth + 1)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError):
            pass


def java(root):
    found = set()
    for p in files(root):
        if ARCHIVE.search(p):
            pom(p, found)
    return found


def qualifier(purl, key):
    m = re.search(r'[?&]%s=([^&#]*)' % key, purl)
    return m[1] if m else ''


def ours(a):
    t, n, v = a['type'], a['name'], a['version']
    if t in ('deb', 'rpm'):
        return n, v, qualifier(a['purl'], 'arch')
    if t == 'python':
        return re.sub(r'[-_.]+', '-', n).lower(), v
    if t == 'java-archive':
        m = re.match(r'pkg:maven/([^/]+)/([^@?]+)', a['purl'])
        return (m[1] + ':' + m[2] if m else n), v
    if t == 'go-module' and n == 'stdlib':
        return n, v.removeprefix('go')
    return n, v


TRUTH = {'deb': dpkg, 'rpm': rpm, 'python': python, 'npm': npm, 'go-module': go, 'gem': gem, 'java-archive': java}


def check(name, kind, want, scanned):
    got = {ours(a): a for a in scanned if a['type'] == kind}
    if want is None:
        tap.skip(f'{name} {kind}', 'no tool here reads it')
        return True
    if not want and not got:
        return True
    missing, extra = sorted(want - set(got)), sorted(set(got) - want)
    if kind == 'java-archive':  # the tool knows pom.properties alone; what has only a manifest or a file name is ours
        print(f'# {name} java-archive: {len(extra)} more from manifests and file names')
        extra = []
    if kind == 'go-module':  # a main module without a version, and versions from linker flags
        named = {n for n, _ in want}
        extra = [e for e in extra if e[0] not in named]
        missing = [m for m in missing if m[1] != '(devel)' or m[0] not in {n for n, _ in got}]
    tap.ok(not missing and not extra, f'{name} {kind}: {len(want)} packages')
    for m in missing[:40]:
        print('# missing:', *m)
    for e in extra[:40]:
        print('# not there:', *e, [l['accessPath'] for l in got[e]['locations']][:2])
    return not missing and not extra


def main():
    stella, corpus, names = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3:]
    for name in names or sorted(n for n in os.listdir(corpus) if '+' not in n):
        layout = os.path.join(corpus, name)
        with tempfile.TemporaryDirectory(dir=os.environ.get('TMPDIR', '/var/tmp')) as tmp:
            tree = Tree(os.path.join(tmp, 'root'))
            for l in layers(layout):
                tree.apply(l)
            scan = subprocess.run([stella, 'scan', 'image', 'oci:' + layout, '-q', '--format', 'syft-json'], stdout=subprocess.PIPE, check=True)
            scanned = json.loads(scan.stdout)['artifacts']
            for kind, truth in TRUTH.items():
                check(name, kind, truth(tree.root), scanned)
    tap.done()


if __name__ == '__main__':
    main()
