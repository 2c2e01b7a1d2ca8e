#!/usr/bin/env python3
"""toml-test's cases of TOML 1.0: toml_cases.py PROBE. They are looked for in $ST_TOML_TEST and in Go's module cache (go mod
download github.com/toml-lang/toml-test@latest)."""
import glob
import json
import math
import os
import re
import subprocess
import sys


def find():
    for d in [os.environ.get("ST_TOML_TEST", "")] + sorted(glob.glob(os.path.expanduser("~/go/pkg/mod/github.com/toml-lang/toml-test@*"))):
        if d and os.path.exists(d + "/tests/files-toml-1.0.0"):
            return d + "/tests"
    return None


def norm(v):
    """Values that mean the same, made equal."""
    if isinstance(v, list):
        return [norm(x) for x in v]
    if set(v) == {"type", "value"} and isinstance(v["type"], str):
        kind, text = v["type"], v["value"]
        if kind == "float":
            f = float(text.replace("+nan", "nan").replace("-nan", "nan"))
            text = "nan" if math.isnan(f) else repr(f)
        elif "date" in kind or "time" in kind:
            text = text.upper().replace(" ", "T")
            text = re.sub(r"(\.\d*?)0+(?=Z|[+-]\d\d:|$)", r"\1", text).replace(".Z", "Z")
            text = re.sub(r"\.$", "", text)
        return {"type": kind, "value": text}
    return {k: norm(x) for k, x in v.items()}


def main():
    tests = find()
    if not tests:
        print("ok 1 - toml-test # SKIP its cases are not here\n1..1")
        return 0
    n = bad = 0
    with open(tests + "/files-toml-1.0.0", encoding="utf-8") as f:
        files = [x.strip() for x in f if x.strip().endswith(".toml")]
    for name in files:
        with open(os.path.join(tests, name), "rb") as f:
            p = subprocess.run([sys.argv[1]], stdin=f, capture_output=True)
        n += 1
        why = p.stderr.decode(errors="replace").strip()
        if name.startswith("valid/"):
            good = p.returncode == 0
            if good:
                with open(os.path.join(tests, name[:-5] + ".json"), encoding="utf-8") as f:
                    want, got = norm(json.load(f)), norm(json.loads(p.stdout))
                good = want == got
                why = f"wanted {want}\n# got {got}"
        else:
            good = p.returncode == 1
        bad += not good
        print(f"{'ok' if good else 'not ok'} {n} - {name}" + ("" if good else f"\n# {why[:1500]}"))
    print(f"1..{n}")
    return 1 if bad else 0


sys.exit(main())
