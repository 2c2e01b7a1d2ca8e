#!/usr/bin/env python3
"""Java archives: every coordinate of a pom.properties, in every archive in every archive, must be reported, and nothing
else but one package for each archive that has none of its own name.

usage: java.py RUN_GOLDEN_CATALOG [FILE|DIRECTORY]...

Python's zipfile reads them. Without arguments: what is installed here (/usr/share/java, ~/.m2). TAP on standard output.
"""
import io, os, re, subprocess, sys, zipfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap

tool, paths = os.path.abspath(sys.argv[1]), sys.argv[2:]
EXT = re.compile(r'\.(jar|war|ear|par|sar|nar|jpi|hpi|kar|lpkg)$', re.I)
POM = re.compile(r'(^|/)META-INF/maven/(.*/)?pom\.(properties|xml)$')
packages = guesses = unreadable = 0


def properties(data):
    p = {}
    for line in data.decode('latin-1').splitlines():
        line = line.strip()
        if line and line[0] not in '#!':
            k, _, v = line.replace(':', '=', 1).partition('=') if '=' not in line else line.partition('=')
            p[k.strip()] = v.strip()
    return p


def theirs(data, inner, depth, want, archives):
    try:
        z = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile:
        archives[inner] = None
        return
    archives[inner] = set()
    for name in z.namelist():
        path = f'{inner}:{name}' if inner else name
        m = POM.search(name)
        if m:
            archives[inner].add(os.path.dirname(path))
        if m and m[3] == 'properties':
            p = properties(z.read(name))
            d = os.path.dirname(name).split('/')
            if p.get('version') and '$' not in p['version']:
                want.add((inner, os.path.dirname(path), p.get('groupId') or d[-2], p.get('artifactId') or d[-1], p['version']))
        if EXT.search(name) and depth < 8:
            theirs(z.read(name), path, depth + 1, want, archives)


def ours(path, name):
    out = subprocess.run([tool, '--file', name, path, 'java-archive-cataloger'], capture_output=True, check=True).stdout
    found, notes = [], []
    for line in out.decode('utf-8', 'surrogateescape').splitlines():
        key, _, value = line.strip().partition(' ')
        if line.startswith('package '):
            found.append({'inner': ''})
        elif line.startswith('  '):
            if key in ('meta', 'qual'):
                key, _, value = value.partition('=')
            found[-1][key] = value
        elif not line.startswith('cataloger'):
            notes.append(line)
    return found, notes


def check(path, name):
    global packages, guesses, unreadable
    want, archives = set(), {}
    with open(path, 'rb') as f:
        theirs(f.read(), '', 1, want, archives)
    got, notes = ours(path, name)
    have = set()
    wrong = []
    for p in got:
        packages += 1
        coordinate = (p.get('ns', ''), p['name'], p.get('version', ''))
        hits = [w for w in want if w[2:] == coordinate and p['inner'] in (w[0], w[1] + '/pom.properties')]
        have.update(hits[:1] if p['inner'] in archives else hits)
        if not hits:
            guesses += 1
            own = p['inner'] in archives or os.path.dirname(p['inner']) in {d for a in archives.values() if a for d in a}
            if not own:
                wrong.append(f'{p}')
    bad = [a for a, v in archives.items() if v is None]
    unreadable += len(bad)
    # a shaded jar may hold one coordinate twice; one of them may be the archive itself
    missing = {w[2:] + (w[0],) for w in want} - {w[2:] + (w[0],) for w in have}
    tap.ok(not missing and not wrong and (notes == ['result ok'] or bad), f'{name}: {len(want)} coordinates in {len(archives)} archives',
       '\n'.join([f'missing {m}' for m in missing] + wrong + notes))


paths = paths or [d for d in ('/usr/share/java', os.path.expanduser('~/.m2/repository')) if os.path.isdir(d)]
for p in paths:
    for f in [p] if os.path.isfile(p) else sorted(os.path.join(a, f) for a, _, fs in os.walk(p) for f in fs):
        if EXT.search(f):
            check(f, os.path.relpath(f, p) if f != p else os.path.basename(f))
if tap.count == 0:
    tap.skip_all('no archives here')
print(f'# {packages} packages, {packages - guesses} with the coordinate of a pom.properties; {unreadable} unreadable archives')
tap.done()
