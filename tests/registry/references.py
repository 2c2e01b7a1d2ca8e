#!/usr/bin/env python3
"""References: what stella asks a registry for is what skopeo asks for.

Every reference of references.txt is given to skopeo with a registries.conf that sends each registry to a server of this
test, which notes the path that is asked for. Usage: references.py PROBE"""
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
seen = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if '/manifests/' in self.path:
            seen.append(self.path)
        status = 200 if self.path == '/v2/' else 404
        self.send_response(status)
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(b'{}')

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


def rows():
    with open(os.path.join(HERE, 'references.txt'), encoding='utf-8') as f:
        for line in f:
            line = line.rstrip('\n')
            if line and not line.startswith('#'):
                ref, want, note = (line.split('\t') + ['', ''])[:3]
                yield ref, want, note


def skopeo_asks(ref, want, conf, port):
    """'DOMAIN REPO REF' as the server saw it; None: refused without a request."""
    del seen[:]
    env = dict(os.environ, REGISTRY_AUTH_FILE='/nonexistent/auth.json', NO_PROXY='127.0.0.1',
               HTTPS_PROXY=f'http://127.0.0.1:{port}', HTTP_PROXY=f'http://127.0.0.1:{port}') # nothing leaves
    p = subprocess.run(['skopeo', '--registries-conf', conf, 'inspect', '--raw', 'docker://' + ref], env=env,
                       capture_output=True, timeout=60)
    if not seen:
        return None, p.stderr.decode(errors='replace').strip()[-200:]
    # /v2/DOMAIN-OF-THE-CONF/REPO/manifests/REF
    name, what = seen[0][len('/v2/'):].split('/manifests/')
    key, repo = name.split('/', 1)
    return f'{conf_domains[key]} {repo} {what}', ''


conf_domains = {}


def main():
    probe = sys.argv[1]
    table = list(rows())
    n = bad = 0

    def ok(cond, text):
        nonlocal n, bad
        n += 1
        bad += not cond
        print(f"{'ok' if cond else 'not ok'} {n} - {text}")

    for ref, want, note in table:
        p = subprocess.run([probe, ref], capture_output=True, text=True)
        if want == '-':
            ok(p.returncode == 2 and p.stderr.strip(), f'{ref!r} is refused: {p.stderr.strip()}')
        else:
            ok(p.returncode == 0 and p.stdout.strip() == want, f'{ref!r} asks for {p.stdout.strip() or p.stderr.strip()}')
    if not shutil.which('skopeo'):
        n += 1
        print(f'ok {n} - the same with skopeo # SKIP no skopeo')
        print(f'1..{n}')
        return 1 if bad else 0
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    with tempfile.TemporaryDirectory() as tmp:
        conf = os.path.join(tmp, 'registries.conf')
        domains = sorted({want.split()[0] for _, want, _ in table if want != '-'})
        with open(conf, 'w', encoding='utf-8') as f:
            for i, d in enumerate(domains):
                conf_domains[f'd{i}'] = d
                f.write(f'[[registry]]\nprefix = "{d}"\nlocation = "127.0.0.1:{port}/d{i}"\ninsecure = true\n')
        for ref, want, note in table:
            if note.startswith('differs'):
                ok(True, f'{ref!r}: skopeo {note}')
                continue
            asked, why = skopeo_asks(ref, want, conf, port)
            ok(asked == (None if want == '-' else want), f'skopeo asks the same for {ref!r}: {asked} {why}')
    print(f'1..{n}')
    return 1 if bad else 0


sys.exit(main())
