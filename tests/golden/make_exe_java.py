#!/usr/bin/env python3
"""Makes the golden inputs and fuzz seeds of the Go, Rust, Java and zip readers: small executables with nothing in them but
the tables and strings that are read, and small archives. Run from the root of the tree; `expect` files are made by
UPDATE=1 run_golden_catalog."""
import io, os, struct, zipfile, zlib

GO, RUST, JAVA = 'go-module-binary-cataloger', 'cargo-auditable-binary-cataloger', 'java-archive-cataloger'
SENTINEL = bytes.fromhex('3077af0c9274080241e1c107e6d618e6'), bytes.fromhex('f932433186182072008242104116d8f2')


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
        f.write(data)


def case(cataloger, name, path, data):
    d = f'tests/golden/catalog/{cataloger}/{name}'
    write(f'{d}/path', path.encode() + b'\n')
    write(f'{d}/input', data)
    write(f'tests/corpus/cat_{cataloger}/{name}', path.encode() + b'\n' + data)


# ---- executables ----------------------------------------------------------------------------------------------------

def elf(parts, bits=64, big=False, shdrs_last=True, data_at=0x400000, sections=True):
    """parts: (section name, flags, bytes); all in one writable segment at data_at."""
    e = '>' if big else '<'
    ehsize, phsize, shsize = (64, 56, 64) if bits == 64 else (52, 32, 40)
    n = len(parts) + 2
    shdrs_at = ehsize + phsize
    at = first = (ehsize + phsize + (0 if shdrs_last else n * shsize) + 15) // 16 * 16
    body, names, table = b'', b'\0', [(0, 0, 0, 0, 0, 0)]
    for name, flags, data in parts:
        table.append((len(names), 1, flags, data_at + at - first, at, len(data)))
        names += name.encode() + b'\0'
        data += b'\0' * (-len(data) % 16)
        body += data
        at += len(data)
    table.append((len(names), 3, 0, 0, at, len(names) + 10))
    names += b'.shstrtab\0'
    if shdrs_last:
        shdrs_at = at + len(names)
    if not sections:
        shdrs_at = n = 0
    ident = b'\x7fELF' + bytes([2 if bits == 64 else 1, 2 if big else 1, 1]) + bytes(9)
    head = struct.pack(e + ('HHIQQQIHHHHHH' if bits == 64 else 'HHIIIIIHHHHHH'), 2, 62 if bits == 64 else 3, 1, 0, ehsize,
                       shdrs_at, 0, ehsize, phsize, 1, shsize if n else 0, n, max(n - 1, 0))
    size = at - first
    if bits == 64:
        ph = struct.pack(e + 'IIQQQQQQ', 1, 6, first, data_at, data_at, size, size, 16)
        sh = b''.join(struct.pack(e + 'IIQQQQIIQQ', *t, 0, 0, 1, 0) for t in table)
    else:
        ph = struct.pack(e + 'IIIIIIII', 1, first, data_at, data_at, size, size, 6, 16)
        sh = b''.join(struct.pack(e + 'IIIIIIIIII', *t, 0, 0, 1, 0) for t in table)
    out = ident + head + ph + (b'' if shdrs_last else sh)
    out += bytes(first - len(out)) + body + names
    return out + sh if shdrs_last and sections else out


def varint(n):
    out = b''
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def framed(text):
    return SENTINEL[0] + text.encode() + SENTINEL[1] if text else b''


def inline(version, text):
    mod = framed(text)
    return b'\xff Go buildinf:' + bytes([8, 2]) + bytes(16) + varint(len(version)) + version.encode() + varint(len(mod)) + mod


def pointers(version, text, addr, width=8, big=False):
    """The header at addr, both string headers behind it, then the strings."""
    f = ('>' if big else '<') + ('Q' if width == 8 else 'I')
    mod, v = framed(text), version.encode()
    strings = addr + 32 + 4 * width
    head = b'\xff Go buildinf:' + bytes([width, 1 if big else 0]) + struct.pack(f[0] + f[1] * 2, addr + 32, addr + 32 + 2 * width)
    head += bytes(32 - len(head))
    return head + struct.pack(f[0] + f[1] * 4, strings, len(v), strings + len(v), len(mod)) + v + mod


def pe(sections, base=0x140000000):
    """sections: (name, characteristics, bytes)"""
    opt = struct.pack('<H', 0x20b) + bytes(22) + struct.pack('<Q', base) + bytes(80)
    out = b'MZ' + bytes(58) + struct.pack('<I', 64)
    out += b'PE\0\0' + struct.pack('<HHIIIHH', 0x8664, len(sections), 0, 0, 0, len(opt), 0x22) + opt
    at, body = 0x400, b''
    for i, (name, flags, data) in enumerate(sections):
        data += bytes(-len(data) % 512)
        out += name.encode().ljust(8, b'\0') + struct.pack('<IIIIIIHHI', len(data), 0x1000 * (i + 1), len(data), at, 0, 0, 0, 0, flags)
        body += data
        at += len(data)
    return out + bytes(0x400 - len(out)) + body


def macho(sections, big=False):
    """sections of one __DATA segment: (name, bytes)"""
    e = '>' if big else '<'
    cmd = 72 + 80 * len(sections)
    at = first = (32 + cmd + 15) // 16 * 16
    body = heads = b''
    addr = 0x100000000
    for name, data in sections:
        heads += struct.pack(e + '16s16sQQIIIIIIII', name.encode(), b'__DATA', addr + at - first, len(data), at, 4, 0, 0, 0, 0, 0, 0)
        data += bytes(-len(data) % 16)
        body += data
        at += len(data)
    seg = struct.pack(e + 'II16sQQQQIIII', 0x19, cmd, b'__DATA', addr, len(body), first, len(body), 3, 3, len(sections), 0)
    out = struct.pack(e + 'IIIIIIII', 0xfeedfacf, 0x0100000c, 0, 2, 1, cmd, 0, 0) + seg + heads
    return out + bytes(first - len(out)) + body


def fat(images):
    out, at, body = struct.pack('>II', 0xcafebabe, len(images)), 4096, b''
    for image in images:
        out += struct.pack('>IIIII', 0x01000007, 3, at, len(image), 12)
        image += bytes(-len(image) % 4096)
        body += image
        at += len(image)
    return out + bytes(4096 - len(out)) + body


LIST = '''path\texample.com/tool/v2/cmd/tool
mod\texample.com/tool/v2\t(devel)\t
dep\tgithub.com/a/b\tv1.2.3\th1:AAAA=
dep\tgithub.com/old/name\tv1.0.0
=>\tgithub.com/new/name/v3\tv3.1.0\th1:BBBB=
dep\texample.com/local\tv0.0.0
=>\t./local\t(devel)\t
dep\tgopkg.in/yaml.v3\tv3.0.1\th1:CCCC=
build\t-compiler=gc
build\t-ldflags="-s -w -X main.other=9.9.9 -X 'example.com/tool/v2/build.Version=1.4.0-rc.2+x'"
build\tCGO_ENABLED=0
build\tGOARCH=arm64
build\tGOOS=linux
build\tvcs=git
build\tvcs.revision=0123456789abcdef0123
build\tvcs.time=2024-02-03T04:05:06Z
build\tvcs.modified=true
'''
SHORT = 'path\texample.com/x\nmod\texample.com/x\tv1.0.0\th1:MMMM=\ndep\tgolang.org/x/sys\tv0.1.0\th1:SSSS=\n'
AMONG = ('path\tcommand-line-arguments\ndep\tk8s.io/k\t(devel)\ndep\ta.b/c\tv1.0.0\n'
         'build\tvcs.revision=00112233445566778899\nbuild\tvcs.time=2020-01-02T03:04:05Z\n')
BAD = 'mod\nfoo\ndep\ta.b/c\tv1\th1:\tx\n=>\t\n=>\ta\ndep\tgood.org/x\tv2.0.0\nbuild\nbuild\t"\n'
AUDIT = (b'{"packages":[{"name":"cc","version":"1.0.83","source":"crates.io","kind":"build"},'
         b'{"name":"near","version":"9.8.7","source":"local"},'
         b'{"name":"it\\u006fa","version":"1.0.9","source":"crates.io","kind":"runtime","features":["a",{"b":1}]},'
         b'{"name":"forked","version":"0.2.0","source":"git","dependencies":[2]},'
         b'{"name":"tool","version":"0.3.1","source":"local","dependencies":[0,1,2,3],"root":true}],"format":1}')
W, DATA_PE = 3, 0xC0000040


def go(name, data, path='usr/bin/tool'):
    case(GO, name, path, data)


def executables():
    section = lambda data: [('.go.buildinfo', W, data)]
    go('elf64-inline', elf(section(inline('go1.22.1 X:rangefunc', LIST)), shdrs_last=False))
    go('elf64-external', elf([('.data', W, bytes(8192))] + section(inline('go1.21.0', LIST.replace('build\t-ldflags', 'build\tx')))))
    go('elf64-pointers', elf(section(pointers('go1.13', SHORT, 0x400000))))
    go('elf32-big-pointers', elf(section(pointers('go1.16.2', SHORT, 0x400000, 4, True)), 32, True))
    go('elf64-no-sections', elf([('x', W, bytes(4096) + inline('go1.19.4', SHORT))], sections=False))
    go('elf64-names-far', elf([('.data', W, bytes(24000))] + section(inline('go1.25.3', SHORT)) + [('z', 0, bytes(9000))]))
    go('elf64-gopath', elf(section(inline('go1.19.8', 'path\tgithub.com/docker/docker/cmd/dockerd\nbuild\tGOARCH=amd64\n'))))
    go('elf64-no-modules', elf(section(inline('go1.18', ''))))
    go('elf64-devel-compiler', elf(section(inline('devel go1.23-abc Mon', SHORT))))
    go('elf64-main-among-deps', elf(section(inline('go1.20', AMONG))))
    go('elf64-bad-lines', elf(section(inline('go1.20', BAD))))
    go('elf64-cut-string', elf(section(inline('go1.20', SHORT)[:60])))
    go('elf64-null-pointers', elf(section(b'\xff Go buildinf:' + bytes([8]) + bytes(17))), 'usr/lib/x.so')
    go('elf64-not-go', elf([('.data', W, bytes(64)), ('.text', 6, bytes(64))]), 'usr/lib/libc.so.6')
    go('pe-inline', pe([('.text', 0x60000020, bytes(100)), ('.data', DATA_PE, inline('go1.24.0', SHORT))]), 'app/tool.exe')
    go('pe-pointers', pe([('.data', DATA_PE, pointers('go1.17.2', SHORT, 0x140001000))]), 'app/tool.exe')
    go('macho-inline', macho([('__data', bytes(64)), ('__go_buildinfo', inline('go1.22.0', SHORT))]))
    go('macho-pointers', macho([('__go_buildinfo', pointers('go1.15', SHORT, 0x100000000))]))
    go('macho-universal', fat([macho([('__data', bytes(64))]), macho([('__go_buildinfo', inline('go1.22.0', SHORT))])]))
    audit = zlib.compress(AUDIT)
    rust = lambda name, data: case(RUST, name, 'usr/bin/tool', data)
    rust('elf64', elf([('.rodata', 2, bytes(6000)), ('.dep-v0', 2, audit), ('.data', W, bytes(6000))]))
    rust('elf32', elf([('.dep-v0', 2, audit)], 32))
    rust('pe', pe([('.text', 0x60000020, bytes(100)), ('.dep-v0', 0x40000040, audit)]))
    rust('macho', macho([('.dep-v0', audit)]))
    rust('none', elf([('.rodata', 2, b'x')]))
    rust('damaged', elf([('.dep-v0', 2, audit[:-60] + bytes(60))]))
    rust('not-json', elf([('.dep-v0', 2, zlib.compress(b'{"packages":[{"name":"a","version":"1"},7]}'))]))
    rust('bomb', elf([('.dep-v0', 2, zlib.compress(b' ' * (9 << 20), 9))]))
    rust('outside', elf([('.dep-v0', 2, audit)]).replace(struct.pack('<QQ', 0x80, len(audit)), struct.pack('<QQ', 1 << 62, len(audit))))


# ---- archives -----------------------------------------------------------------------------------------------------------

def jar(members, method=zipfile.ZIP_DEFLATED, comment=b''):
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as z:
        z.comment = comment
        for name, data in members:
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            info.compress_type = method if not name.endswith('/') else zipfile.ZIP_STORED
            z.writestr(info, data)
    return out.getvalue()


def props(g, a, v):
    return f'META-INF/maven/{g}/{a}/pom.properties', f'#Created by Apache Maven 3.8.1\nversion={v}\ngroupId={g}\nartifactId={a}\n'


def mf(*lines):
    return 'META-INF/MANIFEST.MF', 'Manifest-Version: 1.0\r\n' + ''.join(line + '\r\n' for line in lines) + '\r\n'


POM = '''<?xml version="1.0"?>
<!-- <project><version>0</version></project> -->
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <parent><groupId>org.parent</groupId><artifactId>up</artifactId><version>7</version></parent>
  <artifactId>child</artifactId><version>${rev}</version>
  <properties><rev>2.5.0</rev></properties>
  <licenses><license><name>Apache-2.0 &amp; more</name></license><license><url>https://example.com/l</url></license></licenses>
  <dependencies><dependency><groupId>not</groupId><artifactId>this</artifactId><version>1</version></dependency></dependencies>
</project>'''
ODD = [('META-INF/maven/g/a/pom.properties', b'\xff\0\\u0041=\ngroupId\nartifactId=a b\nversion=${v}\n:::\n'),
       ('META-INF/maven/pom.properties', 'version=1\n'),
       ('META-INF/maven/x/y/pom.xml', '<project><a/><![CDATA[]]><b attr="<">' + '<x>' * 300 + '&#65;&amp</project'),
       ('META-INF/MANIFEST.MF', 'x\r\n y\r\nImplementation-Title:\r\n a\r\n b\n\n c\nBundle-License: ,;",')]


def java(name, path, data):
    case(JAVA, name, path, data)


def archives():
    one = jar([mf('Implementation-Title: Commons', 'Bundle-License: "Apache-2.0";link="a,b", MIT'), props('org.apache.commons', 'commons-text', '1.10.0')])
    java('pom-properties', 'app/lib/commons-text-1.10.0.jar', one)
    java('classifier', 'app/netty-4.1.0.Final-linux-x86_64.jar', jar([props('io.netty', 'netty', '4.1.0.Final')]))
    tool = mf('Implementation-Title: tool', 'Implementation-Version: 2.0')
    java('shaded', 'app/all.jar', jar([tool, props('g.one', 'one', '1.0'), props('g.two', 'two', '2.2'), props('com.x', 'tool', '2.0')]))
    java('shaded-unnamed', 'app/server-3.4.jar', jar([props('g.one', 'one', '1.0'), props('g.two', 'two', '2.2')]))
    java('pom-xml', 'app/child.jar', jar([('META-INF/maven/org.parent/child/pom.xml', POM)]))
    java('manifest-only', 'plugins/org.example.thing_3.2.1.jar', jar([mf(
        'Bundle-SymbolicName: org.example.thing;singleton:=true', 'Bundle-Version: 3.2.1.v2024',
        'Bundle-Vendor: A very long name that goes on in the next line of the manif', ' est')]))
    java('manifest-group', 'lib/widget-1.0.jar', jar([mf('Automatic-Module-Name: org.acme.tools.widget')]))
    java('manifest-version', 'lib/log4j-1.2-1.2.17.jar', jar([mf('Bundle-Version: 1.2.17')]))
    java('manifest-version-build', 'lib/vnu.jar', jar([mf('Implementation-Title: The Nu Markup Checker',
                                                          'Implementation-Version: 26.9.27 (c6ba02c)')]))
    java('renamed-osgi', 'usr/share/java/geronimo-jta-1.2-spec.jar', jar([
        mf('Bundle-SymbolicName: org.example.specs.geronimo-jta_1.2_spec', 'Bundle-Version: 1.0.0.alpha-1'),
        props('org.example.specs', 'geronimo-jta_1.2_spec', '1.0-alpha-1')]))
    java('renamed-osgi-group', 'usr/share/java/jansi1.jar', jar([
        mf('Bundle-SymbolicName: org.example.jansi', 'Bundle-Version: 1.18.0'), props('org.example.jansi', 'jansi', '1.18')]))
    java('known-group', 'lib/spring-core-5.3.9.jar', jar([mf('Implementation-Title: spring-core', 'Implementation-Version: 5.3.9')]))
    java('repository-path', 'root/.m2/repository/org/acme/x/1.2/x-1.2.jar', jar([mf('A: b')]))
    java('nothing', 'lib/data.jar', jar([mf('Created-By: 17 (X)'), ('a.txt', 'x')]))
    java('empty', 'lib/empty.jar', jar([]))
    java('weave', 'agent/spring-4.0.jar', jar([mf('Weave-Classes: a.B'), props('com.newrelic', 'instr', '1')]))
    java('plugin', 'plugins/git.hpi', jar([mf('Group-Id: org.jenkins-ci.plugins', 'Short-Name: git', 'Plugin-Version: 4.11', 'Plugin-License-Name: MIT')]))
    inner = jar([('BOOT-INF/lib/commons-text-1.10.0.jar', one), props('com.x', 'demo', '0.1'), mf('Implementation-Title: demo', 'Implementation-Version: 0.1')], zipfile.ZIP_STORED)
    java('nested', 'srv/app.war', jar([('WEB-INF/lib/', ''), ('WEB-INF/lib/demo.jar', inner), ('WEB-INF/lib/bad.jar', 'not a zip'), ('WEB-INF/lib/x.sar', 'no archive')]))
    deep = jar([props('g', 'bottom', '1')])
    for i in range(10):
        deep = jar([('%d.jar' % i, deep)])
    java('deep', 'a.jar', deep)
    java('prefix', 'app/run-1.0.jar', b'#!/bin/sh\nexec java -jar "$0"\n' + jar([props('g', 'run', '1.0')], comment=b'a comment'))
    java('no-zip', 'x/y.jar', b'text')
    java('no-zip-other', 'x/song.kar', b'MThd')
    wrong = jar([mf('A: b'), props('org.acme', 'a', '1.0')], zipfile.ZIP_STORED)
    name = b'META-INF/maven/org.acme/a/pom.properties'
    java('local-name-differs', 'a.jar', wrong.replace(name, name[:-3] + b'IES', 1))
    java('checksum', 'a.jar', wrong.replace(b'version=1.0', b'version=1.1'))
    at = wrong.rindex(b'PK\1\2')
    java('encrypted', 'a.jar', wrong[:at + 8] + b'\1' + wrong[at + 9:])
    java('method', 'a.jar', wrong[:at + 10] + b'\x0e' + wrong[at + 11:])
    java('odd-texts', 'odd-1.jar', jar(ODD))
    zips(one, inner)


def zips(one, inner):
    d = 'tests/corpus/zip/'
    write(d + 'deflated', one)
    write(d + 'stored', inner)
    write(d + 'empty', jar([]))
    overlap = jar([('a', 'A' * 50), ('b', 'B' * 50)], zipfile.ZIP_STORED)
    at = overlap.rindex(b'PK\1\2')
    write(d + 'overlap', overlap[:at + 42] + struct.pack('<I', 0x10) + overlap[at + 46:])
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as z:
        with z.open(zipfile.ZipInfo('big', (2024, 1, 1, 0, 0, 0)), 'w', force_zip64=True) as f:
            f.write(b'x' * 100)
    plain = out.getvalue()
    write(d + 'zip64-local', plain)
    end = plain.rindex(b'PK\5\6')
    size, start = struct.unpack('<II', plain[end + 12:end + 20])
    end64 = struct.pack('<IQHHIIQQQQ', 0x06064b50, 44, 45, 45, 0, 0, 1, 1, size, start) + struct.pack('<IIQI', 0x07064b50, 0, end, 1)
    write(d + 'zip64', plain[:end] + end64 + plain[end:end + 8] + b'\xff' * 12 + plain[end + 20:])
    write(d + 'prefix', b'#!' * 30 + one)
    write(d + 'bomb', jar([('zeros', b'\0' * (20 << 20))]))
    write(d + 'cut', one[:-9])


if __name__ == '__main__':
    executables()
    archives()
