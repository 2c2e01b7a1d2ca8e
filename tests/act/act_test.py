"""What the tests of stella-act share: TAP, a directory, records, and running the program while looking for leaks."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

UID = "0f8b2c1d-3e4f-4a5b-8c6d-7e8f90a1b2c3"
SOURCE = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
CONTAINER = "3f2a6c0d1e4b5a69788796a5b4c3d2e1f00112233445566778899aabbccddeef"


def cgroup_path(uid=UID, container=CONTAINER):
    return (f"/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid.replace('-', '_')}.slice/"
            f"cri-containerd-{container}.scope")


def record(**change):
    r = {
        "schema": "stella-watchdog/1", "id": "5d1f0c", "time": "2026-11-25T22:00:06Z", "kind": "action", "dry_run": False,
        "cgroup": {"path": cgroup_path(), "inode": 4242, "owner": cgroup_path().rsplit("/", 1)[0],
                   "limit_bytes": 3 << 30, "limit_file": "memory.max"},
        "verdict": {"state": "thrash", "confidence": "strong", "must_end": True, "seconds": 6.2,
                    "text": "live-locked at memory.max 3Gi: pinned 96 %, 113 major faults/s"},
        "culprit": {"pid": 812, "comm": "python3", "bytes": 2900000000},
        "action": {"rung": "hook", "outcome": "done", "detail": "handed over"},
        "github": {"repository": "acme/app", "run_id": "987", "run_attempt": "1", "job": "build", "api_url": None},
        "before": {"pinned": 3092376453}, "after": None,
        "samples": {"columns": ["t_us", "current"], "rows": [[1, 2], [3, None], [5, "max"]]},
    }
    for key, value in change.items():
        at, parts = r, key.split("__")
        for p in parts[:-1]:
            at = at[p]
        at[parts[-1]] = value
    return r


def asks_json(args):
    return "json" in args or "--format=json" in args


class Act:
    def __init__(self, program):
        self.program = os.path.abspath(program)
        self.dir = tempfile.mkdtemp(prefix="stella-act-")
        self.secrets = []  # texts that may appear in no output
        self.count = self.failed = 0
        self.leaks = []
        self.unlike = []   # lines of JSON that docs/schema does not describe
        try:
            import jsonschema
            with open(os.path.join(SOURCE, "docs", "schema", "stella-act-1.schema.json"), encoding="utf-8") as f:
                self.validator = jsonschema.Draft202012Validator(json.load(f))
        except (ImportError, AttributeError):
            self.validator = None

    def fits(self, line):
        return self.validator is None or self.validator.is_valid(json.loads(line))

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def run(self, *args, stdin=None, env=None, timeout=120):
        if isinstance(stdin, dict):
            stdin = json.dumps(stdin)
        clean = {k: v for k, v in os.environ.items()
                 if k.lower() not in ("https_proxy", "http_proxy", "no_proxy", "node_name") and
                 not k.startswith(("STELLA_", "KUBERNETES_"))}
        begun = time.monotonic()
        r = subprocess.run([self.program, *args], input=(stdin or "").encode(), env={**clean, **(env or {})},
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
        self.seconds = time.monotonic() - begun
        out, err = r.stdout.decode(), r.stderr.decode()
        if asks_json(args):
            self.unlike += [line for line in out.splitlines() if not self.fits(line)]
        self.leaks += [s for s in self.secrets if s and s in out + err]
        return r.returncode, out, err

    def ok(self, good, what, *more):
        self.count += 1
        self.failed += not good
        print("ok" if good else "not ok", self.count, "-", what, flush=True)
        if not good:
            for m in more:
                print("#", str(m)[:3000].replace("\n", "\n# "))
        return good

    def skip(self, what, why):
        self.count += 1
        print("ok", self.count, "-", what, "# SKIP", why)

    def done(self):
        if self.validator:
            self.ok(not self.unlike and not self.fits('{"schema": "stella-act/1"}'), "every line of JSON is as docs/schema says",
                    self.unlike)
        else:
            self.skip("every line of JSON is as docs/schema says", "no jsonschema")
        self.ok(not self.leaks, "no credential in any output", self.leaks)
        shutil.rmtree(self.dir, ignore_errors=True)
        print(f"1..{self.count}")
        sys.exit(self.failed != 0)
