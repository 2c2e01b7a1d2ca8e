#!/usr/bin/env python3
"""Check documents against the formats' own schemas and validators.

    check_sbom.py FILE...      which format a file has is seen from its contents

CycloneDX 1.6: the JSON schema, strict, as cyclonedx-python-lib ships it, and that every ref exists once.
SPDX 2.3: spdx-tools' validator. syft-json: syft's schema if $ST_SYFT_SCHEMA names it, each metadata object against the
definition that metadataType names. purls, in every format: packageurl-python, canonical and valid for their type.
Packages: tests/requirements.txt. Exit status 77 when they are not installed.
"""
import json
import os
import pathlib
import re
import sys

try:
    import jsonschema
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from packageurl import PackageURL
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

NOT_IN_SPEC = {"portage", "nix", "opkg"}
# The field writes the Go standard library so; the type's definition wants a namespace.
NO_NAMESPACE = "pkg:golang/stdlib"
failures = 0


def fail(path, *what):
    global failures
    failures += 1
    print(f"{path}:", *what)


def check_purl(path, purl):
    try:
        again = PackageURL.from_string(purl).to_string()
    except ValueError as wrong:
        return fail(path, purl, wrong)
    # The library lowers the digits of %XX in npm names, leaves '/' as it is, and neither keeps names that are not UTF-8
    # nor control characters at the end.
    hostile = re.search(r"%[01FC][0-9A-F]", purl)
    if not hostile and again.lower().replace("/", "%2f") != purl.lower().replace("/", "%2f"):
        fail(path, "not canonical:", purl, again)
    if purl.split("/")[0].removeprefix("pkg:") in NOT_IN_SPEC:
        return None
    for message in PackageURL.validate_string(purl):
        if message.severity.value == "error" and not purl.startswith(NO_NAMESPACE):
            fail(path, purl, message.message)
    return None


def check_cyclonedx(path, text, doc):
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong:
        fail(path, "schema:", wrong)
    refs = [doc["metadata"]["component"]["bom-ref"]] + [c["bom-ref"] for c in doc["components"]]
    if len(refs) != len(set(refs)):
        fail(path, "a bom-ref twice")
    known, seen = set(refs), set()
    for d in doc["dependencies"]:
        if d["ref"] in seen:
            fail(path, "dependencies twice:", d["ref"])
        seen.add(d["ref"])
        for ref in [d["ref"], *d["dependsOn"]]:
            if ref not in known:
                fail(path, "no such ref:", ref)
    return [c["purl"] for c in doc["components"] if "purl" in c]


def listed_ids():
    """Identifiers of our list: spdx-tools brings an older one and knows not all of them."""
    table = pathlib.Path(__file__).parents[2] / "src/inventory/license_ids.c"
    return set(re.findall(r'INIT\("([^"]+)"\)', table.read_text()))


def check_spdx(path, _text, doc):
    newer = listed_ids()
    for message in validate_full_spdx_document(parse_file(str(path))):
        unknown = re.match(r"Unrecognized license reference: ([^ ]+)\. ", message.validation_message)
        if not unknown or unknown[1] not in newer:
            fail(path, message.validation_message)
    ids = [p["SPDXID"] for p in doc["packages"]]
    if len(ids) != len(set(ids)):
        fail(path, "an SPDXID twice")
    known = set(ids) | {"SPDXRef-DOCUMENT"}
    for r in doc["relationships"]:
        if r["spdxElementId"] not in known or r["relatedSpdxElement"] not in known:
            fail(path, "no such element:", r)
    refs = [i["licenseId"] for i in doc["hasExtractedLicensingInfos"]]
    if len(refs) != len(set(refs)):
        fail(path, "a licenseId twice")
    return [r["referenceLocator"] for p in doc["packages"] for r in p.get("externalRefs", [])]


def definition(metadata_type):
    return "".join(word.capitalize() for word in metadata_type.split("-"))


def check_syft(path, _text, doc):
    schema_file = os.environ.get("ST_SYFT_SCHEMA")
    if schema_file:
        schema = json.loads(pathlib.Path(schema_file).read_text())
        for wrong in jsonschema.Draft202012Validator(schema).iter_errors(doc):
            fail(path, list(wrong.absolute_path), wrong.message)
        for a in doc["artifacts"]:
            one = {"$ref": f"#/$defs/{definition(a['metadataType'])}", "$defs": schema["$defs"]}
            allowed = schema["$defs"][definition(a["metadataType"])]["properties"]
            for wrong in jsonschema.Draft202012Validator(one).iter_errors(a["metadata"]):
                fail(path, a["purl"], list(wrong.absolute_path), wrong.message)
            if set(a["metadata"]) - set(allowed):
                fail(path, a["purl"], "fields that the schema does not have:", set(a["metadata"]) - set(allowed))
    else:
        print(f"{path}: syft's schema not checked: ST_SYFT_SCHEMA is not set")
    ids = [a["id"] for a in doc["artifacts"]] + [f["id"] for f in doc["files"]] + [doc["source"]["id"]]
    if len(ids) != len(set(ids)):
        fail(path, "an id twice")
    for r in doc["artifactRelationships"]:
        if r["parent"] not in ids or r["child"] not in ids:
            fail(path, "no such id:", r)
    return [a["purl"] for a in doc["artifacts"]]


def check_file(path):
    text = path.read_text()
    if path.name.endswith(".table.txt"):
        return
    if text[:1] != "{":
        purls = text.splitlines()
    else:
        doc = json.loads(text)
        kind = check_cyclonedx if "bomFormat" in doc else check_spdx if "spdxVersion" in doc else check_syft
        purls = kind(path, text, doc)
    for purl in purls:
        check_purl(path, purl)
    print(f"{path}: {len(purls)} purls")


for name in sys.argv[1:]:
    check_file(pathlib.Path(name))
sys.exit(1 if failures else 0)
