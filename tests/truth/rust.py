#!/usr/bin/env python3
"""Rust executables: what the cataloger says against `rust-audit-info`.

usage: rust.py RUN_GOLDEN_CATALOG [FILE]...

Without files it builds its own with `cargo auditable` (cargo install cargo-auditable rust-audit-info). TAP on standard output.
"""
import json, os, shutil, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap

tool, paths = os.path.abspath(sys.argv[1]), sys.argv[2:]
packages = 0


def ours(path):
    out = subprocess.run([tool, '--file', 'usr/bin/x', path, 'cargo-auditable-binary-cataloger'], capture_output=True, check=True)
    lines = out.stdout.decode().splitlines()
    found = []
    for line in lines:
        key, _, value = line.strip().partition(' ')
        if line.startswith('package '):
            found.append({})
        elif line.startswith('  '):
            if key == 'meta':
                key, _, value = value.partition('=')
            found[-1][key] = value
    return found, lines[-1]


def check(path, what):
    global packages
    info = subprocess.run(['rust-audit-info', path], capture_output=True)
    got, result = ours(path)
    have = sorted((p['name'], p['version'], p.get('source', ''), 'root' in p) for p in got)
    if info.returncode:
        tap.ok(not have and result == 'result ok', f'{what}: nothing', str(have))
        return
    want = sorted((p['name'], p['version'], p['source'], bool(p.get('root'))) for p in json.loads(info.stdout)['packages']
                  if p.get('kind', 'runtime') == 'runtime')
    packages += len(want)
    tap.ok(want == have and result == 'result ok', f'{what}: {len(want)} packages',
       f'missing {sorted(set(want) - set(have))}\nmore {sorted(set(have) - set(want))}\n{result}')


FILES = {
    'Cargo.toml': '''[package]
name = "tool"
version = "0.3.1"
edition = "2021"
[dependencies]
near = { path = "near" }
itoa = "1"
serde_json = "1"
regex = { version = "1", default-features = false, features = ["std"] }
[build-dependencies]
cc = "1"
''',
    'build.rs': 'fn main() { let _ = cc::Build::new(); }\n',
    'src/main.rs': '''fn main() {
    let r = regex::Regex::new("a+").unwrap();
    println!("{} {} {}", serde_json::json!({"a": near::X}), itoa::Buffer::new().format(3), r.is_match("aa"));
}
''',
    'near/Cargo.toml': '[package]\nname = "near"\nversion = "9.8.7"\nedition = "2021"\n',
    'near/src/lib.rs': 'pub const X: u32 = 1;\n',
}


def build(d):
    for name, text in FILES.items():
        os.makedirs(os.path.dirname(f'{d}/{name}'), exist_ok=True)
        with open(f'{d}/{name}', 'w') as f:
            f.write(text)
    binary = d + '/target/release/tool'
    variants = [('plain', ''), ('stripped', '-Cstrip=symbols'), ('GNU ld', '-Clink-arg=-fuse-ld=bfd'), ('static', '-Ctarget-feature=+crt-static')]
    for name, flags in variants:
        r = subprocess.run(['cargo', 'auditable', 'build', '--release', '-q', '-j1'], cwd=d, env=dict(os.environ, RUSTFLAGS=flags), capture_output=True)
        if r.returncode:
            print('# not built:', name, r.stderr.decode()[-300:].replace('\n', ' '))
            continue
        check(binary, name)
        for strip in ['--strip-all', '--remove-section=.dep-v0']:
            if subprocess.run(['strip', strip, '-o', f'{d}/less', binary], capture_output=True).returncode == 0:
                check(f'{d}/less', f'{name} {strip}')
    tap.ok(tap.count > 0, 'something was built')


if paths:
    for p in paths:
        check(p, os.path.basename(p))
elif not shutil.which('cargo-auditable') or not shutil.which('rust-audit-info'):
    tap.skip_all('no cargo-auditable or rust-audit-info')
else:
    with tempfile.TemporaryDirectory() as d:
        build(d)
print(f'# {packages} packages compared')
tap.done()
