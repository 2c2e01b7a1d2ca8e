#!/usr/bin/env python3
"""Go executables: what the cataloger says against `go version -m -json`.

usage: go.py RUN_GOLDEN_CATALOG [FILE|DIRECTORY]...

Without files it builds its own (Go must be installed; one module from the module proxy): plain, stripped, trimmed, position
independent, for other systems and machines, with replacements. TAP on standard output.
"""
import json, os, re, shutil, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap

tool, paths = os.path.abspath(sys.argv[1]), sys.argv[2:]
skipped = packages = 0


def ours(path):
    out = subprocess.run([tool, '--file', 'usr/bin/x', path, 'go-module-binary-cataloger'], capture_output=True, check=True)
    found, pkg = [], None
    lines = out.stdout.decode('utf-8', 'surrogateescape').splitlines()
    for line in lines:
        key, _, value = line.strip().partition(' ')
        if line.startswith('package '):
            pkg = {}
            found.append(pkg)
        elif line.startswith('  ') and pkg is not None:
            if key == 'meta':
                key, _, value = value.partition('=')
            pkg[key] = value
    return found, [l for l in lines if l.startswith(('unknown', 'result'))]


LD = [r'\.[a-zA-Z0-9]*([rR]elease)?([gG]it)?([bB]uild)?[vV]er(sion)?=(\S+/)*(?P<v>v?\d+\.\d+\.\d+[-\w]*(?:\.[-\w]+)*)',
      r'\.[a-zA-Z0-9]*([tT]ag)=(\S+/)*(?P<v>v?\d+\.\d+\.\d+[-\w]*(?:\.[-\w]+)*)']


def devel_version(info, module):
    s = {x['Key']: x.get('Value', '') for x in info.get('Settings') or []}
    for pattern in LD:
        m = re.search(r'(?<![\w./-])(main|%s(/[^\s]*)?)%s' % (re.escape(module), pattern), s.get('-ldflags', ''))
        if m:
            return m['v'] if m['v'].startswith('v') else 'v' + m['v']
    if s.get('vcs.revision') and s.get('vcs.time'):
        return 'v0.0.0-%s-%s' % (re.sub(r'\D', '', s['vcs.time']), s['vcs.revision'][:12])
    return ''


def name_of(m):
    r = m.get('Replace')
    path = m['Path'] if not r or r['Path'].startswith(('.', '/')) or '\\' in r['Path'] else r['Path']
    last = r or m
    version = last.get('Version', '')
    return path, '' if version == '(devel)' else version, last.get('Sum', '')


def theirs(path):
    out = subprocess.run(['go', 'version', '-m', '-json', path], capture_output=True)
    if out.returncode or not out.stdout.strip():
        return None
    info = json.loads(out.stdout)
    want = []
    deps = info.get('Deps') or []
    main = info.get('Main') or {}
    if not main.get('Path') and info.get('Path'):
        devel = [d for d in deps if d.get('Version') == '(devel)']
        main = devel[0] if len(devel) == 1 else {'Path': info['Path'], 'Version': '(devel)'}
        if main['Path'] == 'command-line-arguments':
            main = {}
    if main.get('Path'):
        path_, version, digest = name_of(main)
        if main.get('Version') == '(devel)' and not main.get('Replace'):
            version = devel_version(info, main['Path'])
        want.append((path_, version, digest))
    want += [name_of(d) for d in deps if d is not main and d != main]
    v = info['GoVersion'].split(' ')[0]
    if re.match(r'go\d', v):
        want.append(('stdlib', v[2:], ''))
    return want, v


def check(path, what):
    global packages, skipped
    want, (got, notes) = theirs(path), ours(path)
    have = sorted(((p['ns'] + '/' if 'ns' in p else '') + p['name'], p.get('version', ''), p.get('h1Digest', '')) for p in got)
    if want is None:
        tap.ok(not have, f'{what}: not from Go', str(have))
        return
    names, version = want
    packages += len(have)
    tap.ok(sorted(names) == have and notes == ['result ok'], f'{what}: {len(names)} packages, {version}',
       f'missing {sorted(set(names) - set(have))}\nmore {sorted(set(have) - set(names))}\n{notes}')
    tap.ok(all(p['goCompiledVersion'] == version for p in got), f'{what}: compiled version')


MAIN = '''package main
import ("fmt"; "golang.org/x/text/language"; "example.com/local"; "rsc.io/quote")
var version = "unset"
func main() { fmt.Println(version, language.English, local.X, quote.Hello()) }
'''
MOD = '''module example.com/tool/v2
go 1.21
require (
	golang.org/x/text v0.14.0
	example.com/local v1.2.3
	rsc.io/quote v1.5.1
)
replace example.com/local => ./local
replace rsc.io/quote => rsc.io/quote v1.5.2
'''
VARIANTS = [
    ('plain', {}, []),
    ('stripped', {}, ['-ldflags=-s -w -X main.version=1.2.3-rc.1']),
    ('tag', {}, ['-ldflags=-X "example.com/tool/v2/build.gitTag=v4.5.6"']),
    ('trimpath', {}, ['-trimpath']),
    ('no build id', {}, ['-ldflags=-buildid=']),
    ('pie', {}, ['-buildmode=pie']),
    ('386', {'GOARCH': '386'}, []),
    ('arm', {'GOARCH': 'arm'}, []),
    ('s390x', {'GOARCH': 's390x'}, []),
    ('mips', {'GOARCH': 'mips'}, []),
    ('ppc64', {'GOARCH': 'ppc64'}, []),
    ('windows', {'GOOS': 'windows'}, []),
    ('windows 386', {'GOOS': 'windows', 'GOARCH': '386'}, ['-ldflags=-s -w']),
    ('darwin', {'GOOS': 'darwin'}, []),
    ('darwin arm64 stripped', {'GOOS': 'darwin', 'GOARCH': 'arm64'}, ['-ldflags=-s -w']),
    ('freebsd', {'GOOS': 'freebsd'}, []),
]


def build(d):
    os.makedirs(d + '/local')
    for name, text in [('main.go', MAIN), ('go.mod', MOD), ('local/go.mod', 'module example.com/local\n'),
                       ('local/l.go', 'package local\nconst X = 1\n'),
                       ('cgo.go', 'package main\n// #include <stdlib.h>\nimport "C"\nfunc init() { C.free(nil) }\n')]:
        with open(f'{d}/{name}', 'w') as f:
            f.write(text)
    env = dict(os.environ, GOFLAGS='-mod=mod', GOTOOLCHAIN='local', CGO_ENABLED='0')
    if not shutil.which('go'):
        tap.skip_all('no Go')
    if subprocess.run(['go', 'mod', 'tidy'], cwd=d, env=env, capture_output=True).returncode:
        tap.skip_all('no Go, or no module proxy')
    made = []
    for name, more, args in VARIANTS:
        r = subprocess.run(['go', 'build', '-o', f'{d}/bin', *args, '.'], cwd=d, env=dict(env, **more), capture_output=True)
        if r.returncode == 0:
            check(f'{d}/bin', name)
        else:
            print('# not built:', name, r.stderr.decode()[:200].replace('\n', ' '))
    cgo = dict(env, CGO_ENABLED='1')
    for name, args in [('cgo', []), ('cgo pie', ['-buildmode=pie']), ('cgo stripped', ['-ldflags=-s -w -linkmode=external']),
                       ('cgo static', ['-ldflags=-linkmode=external -extldflags=-static']), ('shared', ['-buildmode=c-shared'])]:
        r = subprocess.run(['go', 'build', '-o', f'{d}/bin', *args, '.'], cwd=d, env=cgo, capture_output=True)
        if r.returncode == 0:
            check(f'{d}/bin', name)
            for strip in ['--strip-all', '--strip-section-headers']:
                if subprocess.run(['strip', strip, '-o', f'{d}/less', f'{d}/bin'], capture_output=True).returncode == 0:
                    check(f'{d}/less', f'{name} {strip}')
    with open(d + '/main.go', 'w') as f:
        f.write('package main\nfunc main() { println(1) }\n')
    os.remove(d + '/cgo.go')
    subprocess.run(['go', 'build', '-o', 'bin', 'main.go'], cwd=d, env=env, capture_output=True)
    check(f'{d}/bin', 'built from a file')
    env['GO111MODULE'] = 'off'
    subprocess.run(['go', 'build', '-o', 'bin', '.'], cwd=d, env=env, capture_output=True)
    check(f'{d}/bin', 'outside of module mode')


if paths:
    for p in paths:
        files = [p] if os.path.isfile(p) else sorted(os.path.join(a, f) for a, _, fs in os.walk(p) for f in fs)
        for f in files:
            with open(f, 'rb') as h:
                if h.read(4) in (b'\x7fELF', b'MZ\x90\x00', b'\xcf\xfa\xed\xfe', b'\xca\xfe\xba\xbe'):
                    check(f, os.path.relpath(f, p) if f != p else os.path.basename(f))
else:
    with tempfile.TemporaryDirectory() as d:
        build(d)
print(f'# {packages} packages compared')
tap.done()
