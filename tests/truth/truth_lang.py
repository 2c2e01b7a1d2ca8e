#!/usr/bin/env python3
"""Language packages: what catalog_tree finds against the tools that own the data. TAP.

    truth_lang.py CATALOG_TREE npm|python|gem|composer          a tree made for the test
    truth_lang.py CATALOG_TREE npm|python|gem DIR               an existing tree, such as the files of an image

npm and python install from their registries when ST_TRUTH_NETWORK=1, else they use what is on this machine.
A missing tool is a skip, with MUST_WORK=1 a failure.
"""
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile

NETWORK = os.environ.get('ST_TRUTH_NETWORK') == '1'
results = 0
HERE = os.path.dirname(os.path.abspath(__file__))

NPM_PACKAGES = ['express@4', 'webpack@5', 'eslint@8', 'jest@29', '@babel/preset-env@7', '@angular/core@17', 'react-scripts@5',
                'gulp@4', 'left-pad-alias@npm:left-pad@1.3.0']
PIP_PACKAGES = ['requests', 'flask', 'django', 'numpy', 'pyyaml', 'jinja2', 'sqlalchemy', 'celery', 'boto3', 'pytest', 'rich',
                'click', 'pydantic', 'fastapi', 'uvicorn', 'httpx', 'aiohttp', 'cryptography', 'paramiko', 'lxml', 'pillow',
                'redis', 'psycopg2-binary', 'scrapy', 'tox', 'black', 'mypy', 'isort', 'sphinx', 'zope.interface',
                'ruamel.yaml', 'backports.zoneinfo;python_version<"3.9"']


class Skip(Exception):
    pass


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            raise Skip(f'{tool} is not installed')


def run(*argv, **kw):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **kw).stdout.decode()


def records(tree, root, cataloger):
    return [json.loads(line) for line in run(tree, root, cataloger).splitlines()]


def full_name(r):
    return f"{r['ns']}/{r['name']}" if r['ns'] else r['name']


def result(ok, text):
    global results
    results += 1
    print(f'{"ok" if ok else "not ok"} {results} - {text}')
    return ok


def compare(what, want, got):
    """Both are lists of tuples; prints the TAP result and what differs."""
    want, got = sorted(want, key=str), sorted(got, key=str)
    ok = result(want == got and len(want) > 0, f'{what}: {len(want)} packages')
    for x in [x for x in want if x not in got][:20]:
        print('# missing:', x)
    for x in [x for x in got if x not in want][:20]:
        print('# not there:', x)
    return ok


# ---- npm --------------------------------------------------------------------------------------------

def npm_tree(tmp):
    need('node')
    if NETWORK:
        need('npm')
        with open(os.path.join(tmp, 'package.json'), 'w') as f:
            f.write('{"name": "root", "version": "1.0.0", "private": true}')
        run('npm', 'install', '--no-audit', '--no-fund', '--ignore-scripts', '--legacy-peer-deps', *NPM_PACKAGES, cwd=tmp)
        return tmp
    for candidate in (run('npm', 'root', '-g').strip() if shutil.which('npm') else '', '/usr/share/nodejs'):
        if os.path.isdir(candidate):
            os.makedirs(os.path.join(tmp, 'usr/share'))
            where = 'usr/share/nodejs' if candidate.endswith('nodejs') else 'node_modules'
            shutil.copytree(candidate, os.path.join(tmp, where), symlinks=True)
            return tmp
    raise Skip('no node_modules on this machine')


def npm(tree, root):
    need('node')
    want = json.loads(run('node', os.path.join(HERE, 'walk_node_modules.js'), root))
    got = records(tree, root, 'javascript-package-cataloger')
    bad = [x for x in want if x[1] is None]
    ok = compare('npm', [tuple(x) for x in want if x[1]],
                 [(r['path'], full_name(r), r['version']) for r in got if r['record'] == 'package'])
    unknown = sorted(r['path'] for r in got if r['record'] == 'unknown')
    return ok & result(sorted(x[0] for x in bad) == unknown, f'npm: {len(bad)} files that are no JSON')


# ---- python -----------------------------------------------------------------------------------------

def python_project(tmp, name):
    src = os.path.join(tmp, name)
    os.makedirs(src)
    with open(os.path.join(src, 'setup.py'), 'w') as f:
        f.write(f"from setuptools import setup\nsetup(name='{name}', version='1.2.3', py_modules=['{name}'], license='MIT')\n")
    with open(os.path.join(src, name + '.py'), 'w') as f:
        f.write('')
    return src


def python_tree(tmp):
    venv = os.path.join(tmp, 'venv')
    try:
        run(sys.executable, '-m', 'venv', venv)
    except subprocess.CalledProcessError:
        raise Skip('python3-venv is not installed') from None
    pip = [os.path.join(venv, 'bin/python'), '-m', 'pip', 'install', '--disable-pip-version-check']
    if NETWORK:
        run(*pip, *PIP_PACKAGES)
        need('git')
        src = python_project(tmp, 'st_from_git')
        git = ['git', '-c', 'user.name=x', '-c', 'user.email=x@example.org']
        run('git', 'init', '-q', cwd=src)
        run('git', 'add', '.', cwd=src)
        run(*git, 'commit', '-q', '-m', 'x', cwd=src)
        run(*pip, 'git+file://' + src)
        run(*pip, '-e', python_project(tmp, 'st_editable'))
    return venv


def python_directories(root):
    for d, dirs, files in os.walk(root):
        if any(n.endswith(('.dist-info', '.egg-info')) for n in dirs + files) or 'EGG-INFO' in dirs:
            yield d


def python(tree, root):
    want, urls = [], []
    for d in python_directories(root):
        for dist in importlib.metadata.Distribution.discover(path=[d]):
            name, version = dist.metadata['Name'], dist.metadata['Version']
            if not name or not version or name == 'Python':
                continue  # not installed distributions: an empty file, and Python 2 itself
            want.append((os.path.relpath(d, root), name, version))
            origin = json.loads(dist.read_text('direct_url.json') or '{}')
            if 'vcs_info' in origin:
                vcs = origin['vcs_info']
                urls.append(f"{vcs['vcs']}+{origin['url']}@{vcs['commit_id']}")
    got = records(tree, root, 'python-installed-package-cataloger')
    ok = compare('python', want, [(r['meta']['sitePackagesRootPath'][1:] or '.', r['name'], r['version'])
                                  for r in got if r['record'] == 'package'])
    notes = [r['value'] for r in got if r['record'] == 'note']
    if urls or notes:
        ok &= compare('python vcs_url', urls, notes)
    return ok


# ---- gem --------------------------------------------------------------------------------------------

GEM_SCRIPT = r'''
require "json"
# Every file, also where RubyGems itself passes over the second of two files with the same gem.
dirs = Gem::Specification.dirs.push(Gem.default_specifications_dir).uniq
files = ARGV.empty? ? dirs.flat_map { |d| Dir[File.join(d, "*.gemspec")] } : ARGF.read.split("\n")
puts JSON.generate(files.map { |f| Gem::Specification.load(f) }.map { |s|
  [s.loaded_from, s.name, s.version.to_s, s.platform.to_s, s.licenses, s.homepage.to_s, s.authors] })
'''


def gem_files(root):
    for d, _, files in os.walk(root):
        if os.path.basename(d) == 'specifications' or d.endswith('/specifications/default'):
            yield from (os.path.join(d, f) for f in files if f.endswith('.gemspec') and not os.path.islink(os.path.join(d, f)))


def gem(tree, root):
    """root: None for the gems of this machine."""
    need('ruby')
    want, got = [], []
    specs = json.loads(run('ruby', '-e', GEM_SCRIPT) if root is None else
                       run('ruby', '-e', GEM_SCRIPT, '-', input='\n'.join(gem_files(os.path.abspath(root))).encode()))
    for directory in sorted({os.path.dirname(s[0]) for s in specs}):
        top = directory[:directory.rindex('/specifications')]
        want += [tuple(map(str, s[:6])) + (', '.join(s[6]),) for s in specs if os.path.dirname(s[0]) == directory]
        got += [(os.path.join(top, r['path']), r['name'], r['version'], r['quals'].get('platform', 'ruby'), str(r['licenses']),
                 r['meta'].get('homepage', ''), r['meta'].get('authors', ''))
                for r in records(tree, top, 'ruby-installed-gemspec-cataloger')
                if os.path.dirname(os.path.join(top, r['path'])) == directory]
    return compare('gem', want, got)


# ---- composer ---------------------------------------------------------------------------------------

COMPOSER_PACKAGES = [
    ('acme/alpha', 'v1.2.3', {'license': 'MIT', 'homepage': 'https://example.org/a'}),
    ('acme/beta-gamma', '2.0.0-RC1', {'license': ['GPL-2.0-only', 'MIT'], 'type': 'symfony-bundle'}),
    ('other/delta.x', 'dev-main', {'description': 'a "quoted" \u00e9 text / with slash'}),
    ('other/meta', '1.0', {'type': 'metapackage'}),
]


def composer_tree(tmp):
    need('composer', 'php')
    repositories = []
    for name, version, more in COMPOSER_PACKAGES:
        src = os.path.join(tmp, 'src', name)
        os.makedirs(src)
        with open(os.path.join(src, 'composer.json'), 'w') as f:
            json.dump({'name': name, 'version': version, **more}, f)
        repositories.append({'type': 'path', 'url': src, 'options': {'symlink': False}})
    app = os.path.join(tmp, 'app')
    os.makedirs(app)
    names = [(n, v) for n, v, _ in COMPOSER_PACKAGES]
    with open(os.path.join(app, 'composer.json'), 'w') as f:
        json.dump({'name': 'acme/app', 'repositories': [*repositories, {'packagist.org': False}], 'minimum-stability': 'dev',
                   'require': dict(names[:2] + names[3:]), 'require-dev': dict(names[2:3])}, f)
    run('composer', 'install', '--no-interaction', '--no-plugins', cwd=app, env={**os.environ, 'COMPOSER_HOME': tmp})
    return app


def composer(tree, root):
    shown = json.loads(run('composer', 'show', '--format=json', cwd=root))['installed']
    # `composer show` appends the reference to dev versions: "dev-main 1234567".
    want = [(p['name'], p['version'].split(' ')[0]) for p in shown]
    got = [(full_name(r), r['version']) for r in records(tree, root, 'php-composer-installed-cataloger')
           if r['record'] == 'package']
    return compare('composer', want, got)


def main():
    tree, what = sys.argv[1:3]
    makers = {'npm': npm_tree, 'python': python_tree, 'composer': composer_tree, 'gem': lambda tmp: None}
    checks = {'npm': npm, 'python': python, 'composer': composer, 'gem': gem}
    tmp = tempfile.mkdtemp(prefix='stella-truth-')
    try:
        root = sys.argv[3] if len(sys.argv) > 3 else makers[what](tmp)
        ok = checks[what](os.path.abspath(tree), root)
    except Skip as e:
        ok = result(os.environ.get('MUST_WORK') != '1', f'{what} # SKIP {e}')
    finally:
        shutil.rmtree(tmp)
    print(f'1..{results}')
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
