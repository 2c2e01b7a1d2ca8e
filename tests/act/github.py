#!/usr/bin/env python3
"""stella-act github against a fake GitHub that checks what it is sent. github.py STELLA_ACT"""
import base64
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from act_test import Act, record  # noqa: E402
from fake_server import Authority, FakeServer, openssl  # noqa: E402

PLAIN, RUN = "ghp_plainTokenOfTheTest", "/repos/acme/app/actions/runs/987"
TOKENS = "/app/installations/55/access_tokens"


class GitHub:
    """Runs, an App with one installation, a plain token. Verifies JWTs with the App's public key and its own clock."""

    def __init__(self, t, cert, key, base=""):
        self.t, self.base = t, base
        self.fake = FakeServer(cert, key, self.answer)
        self.url = self.fake.url + base
        self.private = openssl("genrsa", "2048").decode()
        self.public = t.write("app.pub", openssl("rsa", "-pubout", input=self.private.encode()).decode())
        self.valid, self.made = {PLAIN}, 0
        self.status, self.attempt = "in_progress", 1
        self.looks_until_end = {"cancel": 0, "force-cancel": 0}  # looks that still see it running
        self.ending = None
        self.refused = None
        t.secrets += [self.private.split("\n")[3], PLAIN]

    def jwt_trouble(self, token):
        parts = token.split(".")
        pad = [base64.urlsafe_b64decode(p + "=" * (-len(p) % 4)) for p in parts]
        self.t.secrets.append(token)
        with tempfile.NamedTemporaryFile() as sig:
            sig.write(pad[2])
            sig.flush()
            good = subprocess.run(["openssl", "dgst", "-sha256", "-verify", self.public, "-signature", sig.name],
                                  input=".".join(parts[:2]).encode(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
        claims, now = json.loads(pad[1]), self.fake.now()
        if not good or json.loads(pad[0])["alg"] != "RS256" or claims["iss"] != "12345":
            return "A JSON web token could not be decoded"
        if claims["iat"] > now:
            return "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
        if not now < claims["exp"] <= now + 600:
            return "'Expiration time' claim ('exp') must be a numeric value representing the future time, at most 10 minutes"
        return None

    def answer(self, r):
        path = r.path[len(self.base):]
        bearer = r.headers.get("Authorization", "").removeprefix("Bearer ")
        if r.headers.get("X-GitHub-Api-Version") != "2022-11-28" or r.headers.get("User-Agent", "")[:10] != "stella-act":
            return 400, {}, {"message": "no version or user agent"}
        if path.startswith("/app/"):
            trouble = self.jwt_trouble(bearer)
            if trouble:
                return 401, {}, {"message": trouble}
            if path != TOKENS:
                return 404, {}, {"message": "Integration not found"}
            if r.json() != {"repositories": ["app"], "permissions": {"actions": "write"}}:
                return 422, {}, {"message": "not narrowed"}
            self.made += 1
            token = f"ghs_installationToken{self.made}"
            self.valid.add(token)
            self.t.secrets.append(token)
            return 201, {}, {"token": token, "expires_at": "2026-11-25T23:00:00Z", "permissions": {"actions": "write"}}
        if bearer not in self.valid:
            return 401, {}, {"message": "Bad credentials"}
        if path == RUN:
            if self.ending is not None and self.looks_until_end[self.ending] <= 0:
                self.status = "completed"
            elif self.ending is not None:
                self.looks_until_end[self.ending] -= 1
            return 200, {}, {"id": 987, "status": self.status, "run_attempt": self.attempt, "name": "CI"}
        if path in (RUN + "/cancel", RUN + "/force-cancel"):
            if self.status == "completed":
                return 409, {}, {"message": "Cannot cancel a workflow run that is completed."}
            self.ending = path.rsplit("/", 1)[1]
            return 202, {}, {}
        return 404, {}, {"message": "Not Found"}

    def posts(self):
        return [r.path.rsplit("/", 1)[1] for r in self.fake.log if r.method == "POST" and "/runs/" in r.path]


def fresh(t, certs, base=""):
    g = GitHub(t, *certs, base=base)
    app = t.write("app/github_app_id", "12345\n") and t.write("app/github_app_installation_id", "55") and t.write(
        "app/github_app_private_key", g.private)
    plain = t.write("plain/github_token", PLAIN + "\n")
    return g, os.path.dirname(app), os.path.dirname(plain)


def main():
    t = Act(sys.argv[1])
    authority = Authority(t.path("tls"))
    certs = authority.issue("server")
    url = [""]

    def run(credentials, rec=None, *more, **kw):
        return t.run("github", "--api-url", url[0], "--credentials", credentials, "--github-ca-file", kw.pop("ca", authority.ca),
                     *more, stdin=record() if rec is None else rec, **kw)

    def start(base=""):
        g, app, plain = fresh(t, certs, base)
        url[0] = g.url
        return g, app, plain

    # ---- the ways to an end
    g, app, plain = start()
    code, out, err = run(app)
    t.ok(code == 0 and g.posts() == ["cancel"] and out == "run 987 of acme/app is cancelled and has ended\n",
         "App: token, cancel, the run ends", code, out, err, g.posts())
    t.ok("all of its jobs end, not only this one" in err, "says that the whole run dies", err)
    code, out, err = run(app)
    t.ok(code == 0 and g.posts() == ["cancel"] and "had ended before" in out, "again: nothing is done", code, out, err)

    g, app, plain = start()
    code, out, err = run(plain, None, "--format", "json")
    t.ok(code == 0 and g.made == 0 and json.loads(out)["run"] == {"repository": "acme/app", "id": 987, "outcome": "cancelled"},
         "a plain token, JSON", code, out, err)

    g, app, plain = start()
    g.looks_until_end["cancel"] = 1000
    code, out, err = run(plain, None, "--force-after", "2s")
    t.ok(code == 0 and g.posts() == ["cancel", "force-cancel"] and "is force-cancelled and has ended" in out,
         "a run that does not obey is force-cancelled", code, out, err, g.posts())
    t.ok("goes on after 2 s: force-cancelling" in err, "and that is said", err)

    g, app, plain = start()
    g.looks_until_end = {"cancel": 1000, "force-cancel": 1000}
    code, out, err = run(plain, None, "--force-after", "1s", "--deadline", "6s")
    t.ok(code == 0 and t.seconds < 12 and "GitHub has not yet said that it ended" in out, "a run that never ends: asked, within the deadline", code, out, err, t.seconds)

    g, app, plain = start("/api/v3")
    code, out, err = run(app)
    t.ok(code == 0 and g.posts() == ["cancel"], "GitHub Enterprise Server's base path", code, out, err)

    # ---- what is not done
    g, app, plain = start()
    code, out, err = run(app, None, "--dry-run")
    t.ok(code == 0 and g.posts() == [] and g.made == 1 and out == "run 987 of acme/app would be cancelled\n",
         "dry run: token and look, no cancel", code, out, err)
    g.attempt = 2
    code, out, err = run(plain)
    t.ok(code == 0 and g.posts() == [] and "started again since" in out, "a newer attempt is left alone", code, out, err)
    g.attempt = 1
    asked = len(g.fake.log)
    for name, rec in [("a killed process", record(action__rung="culprit")), ("a failed rung", record(action__rung="cgroup", action__outcome="failed")),
                      ("a verdict", record(kind="verdict", action=None)), ("the watchdog's dry run", record(dry_run=True)),
                      ("a healthy cache", record(verdict__must_end=False))]:
        code, out, err = run(plain, rec)
        t.ok(code == 0 and len(g.fake.log) == asked and "is left alone" in out and err.count("\n") == 1,
             f"{name}: GitHub is not even asked", code, out, err)
    code, out, err = run(plain, record(action__rung="culprit"), "--end", "always", "--dry-run")
    t.ok(code == 0 and "would be cancelled" in out, "--end always overrules", code, out, err)
    code, out, err = run(plain, None, "--end", "never")
    t.ok(code == 0 and "is left alone" in out and g.posts() == [], "--end never too", code, out, err)

    # ---- what the job claims
    asked = len(g.fake.log)
    code, out, err = run(plain, record(github__api_url="https://evil.example/api"))
    t.ok(code == 3 and len(g.fake.log) == asked and "not sent" in err, "a job that names its own API gets no token", code, err)
    code, out, err = run(plain, record(github__api_url=url[0] + "/"), "--dry-run")
    t.ok(code == 0, "the same API with a slash is the same", code, err)
    asked = len(g.fake.log)
    code, out, err = run(plain, None, "--allow", "other", "--allow", "acme/lib")
    t.ok(code == 3 and len(g.fake.log) == asked and "--allow" in err, "a repository that is not allowed", code, err)
    code, out, err = run(plain, None, "--allow", "ACME", "--dry-run")
    t.ok(code == 0, "an owner that is", code, err)
    for bad in ["acme/app/../../x", "acme", "acme/app?x=1", "../app", "acme/app\n"]:
        code, out, err = run(plain, record(github__repository=bad))
        t.ok(code == 2 and len(g.fake.log) == asked + 1 and err.count("\n") == 1, f"no repository: {bad!r}", code, err)
    code, out, err = run(plain, record(github=None))
    t.ok(code == 2 and "names no workflow run" in err, "a record without a run", code, err)
    code, out, err = run(plain, record(github__run_id="424242"))
    t.ok(code == 4 and "no run 424242" in err, "no such run: exit 4", code, err)

    # ---- credentials
    g, app, plain = start()
    code, out, err = run(t.path("nowhere"))
    t.ok(code == 3 and "neither github_app_id nor github_token" in err, "no credentials: exit 3", code, err)
    code, out, err = t.run("github", "--api-url", g.url, stdin=record())
    t.ok(code == 3 and "--credentials" in err, "none named", code, err)
    t.write("bad/github_token", "ghp_wrong")
    code, out, err = run(t.path("bad"))
    t.ok(code == 3 and "401" in err and "Bad credentials" in err, "a token that is refused: exit 3", code, err)
    t.write("weak/github_token", "")
    code, out, err = run(t.path("weak"))
    t.ok(code == 3 and len(g.fake.log) == 1, "an empty token is not sent", code, err)
    for name, text in [("garbage", "nothing"), ("another key", openssl("genrsa", "2048").decode())]:
        t.write("badkey/github_app_id", "12345")
        t.write("badkey/github_app_installation_id", "55")
        t.write("badkey/github_app_private_key", text)
        code, out, err = run(t.path("badkey"))
        t.ok(code == 3, f"a private key that is {name}: exit 3", code, err)
    t.write("badkey/github_app_installation_id", "77")
    t.write("badkey/github_app_private_key", g.private)
    code, out, err = run(t.path("badkey"))
    t.ok(code == 3 and "no installation 77" in err, "no such installation: exit 3", code, err)
    g.fake.once[("POST", TOKENS)] = [(422, {}, {"message": "The permissions requested are not granted to this installation."})]
    code, out, err = run(app)
    t.ok(code == 3 and "actions: write" in err, "an App without actions: write: exit 3 names it", code, err)
    g.fake.once[("POST", RUN + "/cancel")] = [(403, {}, {"message": "Resource not accessible by integration"})]
    code, out, err = run(app)
    t.ok(code == 3 and "Resource not accessible" in err and "actions: write" in err, "403: exit 3 names the permission", code, err)

    g, app, plain = start()
    g.fake.once[("POST", RUN + "/cancel")] = [lambda r: (g.valid.clear(), (401, {}, {"message": "Bad credentials"}))[1]]
    code, out, err = run(app)
    t.ok(code == 0 and g.made == 2 and g.posts() == ["cancel", "cancel"], "an App's token that expired is replaced once", code, err)

    # ---- clocks
    for ahead in [3600, -3600, 45]:
        g, app, plain = start()
        g.fake.clock_ahead = ahead
        code, out, err = run(app)
        t.ok(code == 0 and g.posts() == ["cancel"], f"a clock that differs by {ahead} s", code, out, err)
        if ahead != 45:  # inside of the minute that iat is put back
            t.ok("clock" in err, "and that is said", err)
    g, app, plain = start()
    g.fake.once[("POST", TOKENS)] = [(401, {"Date": None}, {"message": "no"})]
    code, out, err = run(app)
    t.ok(code == 3, "401 without a Date is a refusal", code, err)

    # ---- trouble
    g, app, plain = start()
    g.fake.once[("POST", RUN + "/cancel")] = [(429, {"Retry-After": "2"}, {"message": "slow down"})]
    code, out, err = run(plain)
    t.ok(code == 0 and t.seconds >= 2 and g.posts() == ["cancel", "cancel"], "429 with Retry-After is waited for", code, err, t.seconds)
    g.status, g.ending = "in_progress", None
    g.fake.once[("GET", RUN)] = [(403, {"Retry-After": "1"}, {"message": "You have exceeded a secondary rate limit"})]
    code, out, err = run(plain)
    t.ok(code == 0 and "rate limit, waiting 1 s" in err, "403 of the secondary rate limit too", code, err)
    g.status, g.ending = "in_progress", None
    g.fake.clock_ahead = 1000
    g.fake.once[("GET", RUN)] = [lambda r: (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(g.fake.now()) + 2)},
                                            {"message": "API rate limit exceeded"})]
    code, out, err = run(plain)
    t.ok(code == 0 and 1 <= t.seconds < 30, "403 until x-ratelimit-reset, by the server's clock", code, err, t.seconds)
    g.status, g.ending = "in_progress", None
    g.fake.once[("GET", RUN)] = [(403, {"Retry-After": "3000"}, {"message": "later"})]
    code, out, err = run(plain)
    t.ok(code == 10 and t.seconds < 10 and "3000 s" in err, "a wait beyond the deadline: exit 10 at once", code, err, t.seconds)
    g.fake.once[("GET", RUN)] = [(500, {}, {}), (502, {}, b"<html>"), (None, {}, b""), (503, {"Retry-After": "1"}, {})]
    code, out, err = run(plain)
    t.ok(code == 0, "500, 502, a broken connection, 503: tried again", code, err)
    g.status, g.ending = "in_progress", None
    g.fake.once[("POST", RUN + "/cancel")] = [(None, {}, b"")]
    code, out, err = run(plain)
    t.ok(code == 0 and g.posts()[-2:] == ["cancel", "cancel"], "a cancel whose answer was lost is sent again", code, err)
    g.status, g.ending = "in_progress", None
    g.fake.once[("POST", RUN + "/cancel")] = [(500, {}, {"message": "Failed to cancel workflow run"})] * 9
    code, out, err = run(plain, None, "--deadline", "30s")
    t.ok(code == 10, "500 for ever: exit 10", code, err)
    g.fake.once.clear()
    g.fake.once[("POST", RUN + "/cancel")] = [(409, {}, {"message": "Cannot cancel a workflow run that is already being cancelled"})]
    g.ending = "cancel"
    code, out, err = run(plain)
    t.ok(code == 0, "409: it is being cancelled already", code, err)
    g.status, g.ending = "in_progress", None
    g.fake.once[("GET", RUN)] = [(200, {}, b"not json")]
    code, out, err = run(plain)
    t.ok(code == 1 and err.count("\n") == 1, "an answer that is no JSON", code, err)
    thief = FakeServer(*certs, lambda r: (200, {}, {"status": "completed"}))
    g.fake.once[("GET", RUN)] = [(301, {"Location": thief.url + RUN}, {})]
    code, out, err = run(plain)
    t.ok(thief.log and all("Authorization" not in r.headers for r in thief.log), "a redirect elsewhere carries no token", code, err)

    g, app, plain = start()
    g.fake.tls_delay = 1.5
    code, out, err = run(plain)
    t.ok(code == 0, "slow TLS is waited for", code, err)
    g.fake.tls_delay = 60
    code, out, err = run(plain, None, "--deadline", "3s")
    t.ok(code == 10 and t.seconds < 8, "TLS that never comes: exit 10 at the deadline", code, err, t.seconds)
    g.fake.tls_delay = 0
    other = Authority(t.path("tls2"))
    code, out, err = run(plain, None, ca=other.ca)
    t.ok(code == 1 and not g.fake.asked("POST", RUN + "/cancel")[1:], "a certificate of another authority: exit 1", code, err)
    wrong = authority.issue("wrong", names="DNS:api.example.org")
    g2 = FakeServer(*wrong, lambda r: (200, {}, {"status": "completed"}))
    code, out, err = t.run("github", "--api-url", g2.url, "--credentials", plain, "--github-ca-file", authority.ca, stdin=record())
    t.ok(code == 1 and not g2.log, "a certificate for another name: nothing is sent", code, err)
    code, out, err = t.run("github", "--api-url", "http://192.0.2.1", "--credentials", plain, stdin=record())
    t.ok(code == 1, "no plain HTTP", code, err)

    # ---- records and usage
    for name, text, says in [("empty", "", "empty"), ("garbage", "xx", "JSON"), ("a list", "[]", "not a JSON object"),
                             ("too long", " " * (4 << 20) + "x", "longer than")]:
        code, out, err = run(plain, text)
        t.ok(code == 2 and says in err and err.count("\n") == 1 and not out, f"a record that is {name}: exit 2", code, err)
    code, out, err = t.run("github", "--record", t.path("none.json"))
    t.ok(code == 2 and "none.json" in err, "no such file: exit 2", code, err)
    code, out, err = t.run("github", "--forec-after", "1s")
    t.ok(code == 2 and "did you mean --force-after?" in err, "a mistyped option: the nearest right word", code, err)
    code, out, err = t.run("gihub")
    t.ok(code == 2 and "did you mean github?" in err, "a mistyped command", code, err)
    t.done()


main()
