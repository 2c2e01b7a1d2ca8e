#!/usr/bin/env python3
"""What syft, and so grype, reads from our documents: `syft convert` of each into syft-json.

    check_sbom_syft.py SYFT_JSON CYCLONEDX SPDX      three documents of one inventory

From syft-json everything that the reader knows has to come back; from the others the packages, the distribution and
what matching needs: source package and epoch. $SYFT names the program, default `syft`. Exit status 77
when there is none.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse

SYFT = shutil.which(os.environ.get("SYFT", "syft"))
# What syft has since a later release than the oldest that this test is run with (1.18): lost there, not wrong.
NEWER_OBJECTS = {"conda-metadata-entry"}
NEWER_FIELDS = {"nix-store-entry": {"path"}}
# What grype matches distribution packages by; architecture and module it takes from the purl.
MATCHING = {"deb": ("source", "sourceVersion"), "apk": ("originPackage",), "rpm": ("sourceRpm", "epoch")}
failures = 0


def fail(*what):
    global failures
    failures += 1
    print(*what)


def convert(path):
    env = dict(os.environ, SYFT_CHECK_FOR_APP_UPDATE="false")
    out = subprocess.run([SYFT, "-q", "convert", path, "-o", "syft-json"], env=env, check=True, capture_output=True)
    return json.loads(out.stdout)


def by_purl(doc):
    return {a["purl"]: a for a in doc["artifacts"]}


def clean(value):
    """Without what is empty: syft leaves out or adds empty members."""
    if isinstance(value, dict):
        kept = {k: clean(v) for k, v in value.items()}
        return {k: v for k, v in kept.items() if v not in ("", 0, None, [], {}, False)}
    return [clean(v) for v in value] if isinstance(value, list) else value


def compare_all(ours, theirs):
    mine, other = by_purl(ours), by_purl(theirs)
    if set(mine) != set(other):
        fail("packages differ:", set(mine) ^ set(other))
    for purl in set(mine) & set(other):
        a, b = mine[purl], other[purl]
        keys = ["id", "name", "version", "type", "foundBy", "language", "locations"]
        if a["metadataType"] not in NEWER_OBJECTS:
            keys += ["metadataType", "metadata"]
        for field in NEWER_FIELDS.get(a["metadataType"], ()):
            if field not in b["metadata"]:
                a["metadata"].pop(field, None)
        for key in keys:
            if clean(a.get(key)) != clean(b.get(key)):
                fail(purl, key, a.get(key), b.get(key))
        if sorted(l["value"] for l in a["licenses"]) != sorted(l["value"] for l in b["licenses"]):
            fail(purl, "licenses", a["licenses"], b["licenses"])
    edges = [{(r["parent"], r["child"], r["type"]) for r in d["artifactRelationships"]} for d in (ours, theirs)]
    if edges[0] - edges[1]:
        fail("relationships lost:", edges[0] - edges[1])
    for key in ("distro", "source"):
        if clean(ours[key]) != clean(theirs[key]):
            fail(key, ours[key], theirs[key])


def plain(purl):
    """As the libraries of different releases agree on it: letter case of Go paths differs."""
    return urllib.parse.unquote(purl).lower().strip()


def compare_matching(name, ours, theirs, metadata):
    other = {plain(p): a for p, a in by_purl(theirs).items()}
    for a in ours["artifacts"]:
        b = other.get(plain(a["purl"]))
        if re.search(r"%[01F][0-9A-F]", a["purl"]):
            continue  # not UTF-8 or control characters: no reader is held to anything
        if not b:
            fail(name, "lost:", a["purl"])
            continue
        # older readers drop the group of npm and composer names
        if b["name"] not in (a["name"], a["name"].split("/")[-1]) or a["version"] != b["version"]:
            fail(name, a["purl"], a["name"], a["version"], b["name"], b["version"])
        if a["type"] in MATCHING and a["type"] != b["type"]:
            fail(name, a["purl"], a["type"], b["type"])
        for key in MATCHING.get(a["type"], ()) if metadata else ():
            if clean(a["metadata"]).get(key) != clean(b["metadata"]).get(key):
                fail(name, a["purl"], key, a["metadata"], b["metadata"])


def main():
    if not SYFT:
        print("skipped: no syft")
        sys.exit(77)
    with open(sys.argv[1]) as f:
        ours = json.load(f)
    compare_all(ours, convert(sys.argv[1]))
    if ours["artifacts"]:
        cdx = convert(sys.argv[2])
        compare_matching("cyclonedx", ours, cdx, True)
        for key in ("id", "versionID"):
            if ours["distro"].get(key, "") != cdx["distro"].get(key, ""):
                fail("cyclonedx distro", key, ours["distro"], cdx["distro"])
        compare_matching("spdx", ours, convert(sys.argv[3]), False)
    print(f"{len(ours['artifacts'])} packages, {failures} differences")
    sys.exit(1 if failures else 0)


main()
