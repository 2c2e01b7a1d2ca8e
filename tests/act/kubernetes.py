#!/usr/bin/env python3
"""stella-act kubernetes against a fake API server: what a real one does only when it is in trouble, and ARC's part of the
story. What a real one accepts and refuses is tested by tests/kubernetes/. kubernetes.py STELLA_ACT"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from act_test import CONTAINER, UID, Act, record  # noqa: E402
from fake_server import Authority, FakeServer  # noqa: E402

NS = "arc-runners"
RUNNER = f"/apis/actions.github.com/v1alpha1/namespaces/{NS}/ephemeralrunners/set-x-runner-1"
EVENTS = f"/apis/events.k8s.io/v1/namespaces/{NS}/events"


def pod(uid=UID, name="set-x-runner-1", **more):
    return {"metadata": {"name": name, "namespace": NS, "uid": uid, "creationTimestamp": "2026-11-25T20:00:00Z",
                         "labels": {"actions-ephemeral-runner": "True"},
                         "ownerReferences": [{"apiVersion": "actions.github.com/v1alpha1", "kind": "EphemeralRunner",
                                              "name": name, "uid": "er-uid"}]},
            "spec": {"nodeName": "n1"},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "runner", "containerID": "containerd://" + CONTAINER, "state": {"running": {}}}]}, **more}


def runner(**status):
    return {"metadata": {"name": "set-x-runner-1", "namespace": NS, "uid": "er-uid", "creationTimestamp": "2026-11-25T20:00:00Z"},
            "status": {"phase": "Running", "jobRepositoryName": "acme/app", "workflowRunId": 987, **status}}


class Cluster:
    def __init__(self, t, cert, key):
        self.fake = FakeServer(cert, key, self.answer)
        self.pods, self.runner, self.events, self.token = [pod()], runner(), {}, "sa-token-one"
        self.page = 100
        t.secrets.append("sa-token")

    def answer(self, r):
        path, _, query = r.path.partition("?")
        if r.headers.get("Authorization") != "Bearer " + self.token:
            return 401, {}, {"kind": "Status", "message": "Unauthorized"}
        if path.endswith("/pods"):
            at = int(query.rpartition("continue=%")[2].replace("%3", "").replace("3", "", 1)) if "continue=" in query else 0
            end = at + self.page
            return 200, {}, {"kind": "PodList", "metadata": {"continue": str(end) if end < len(self.pods) else ""},
                             "items": self.pods[at:end]}
        if path == RUNNER and r.method == "GET":
            return (200, {}, self.runner) if self.runner else (404, {}, {"kind": "Status", "message": "not found"})
        if path == RUNNER and r.method == "DELETE":
            if not self.runner:
                return 404, {}, {"message": "not found"}
            if r.json()["preconditions"]["uid"] != self.runner["metadata"]["uid"]:
                return 409, {}, {"message": "Precondition failed: UID in precondition"}
            self.runner = None
            return 200, {}, {"kind": "Status", "status": "Success"}
        if path.startswith(EVENTS):
            if r.method == "POST":
                name = r.json()["metadata"]["name"]
                if name in self.events:
                    return 409, {}, {"message": "already exists"}
                self.events[name] = r.json()
                self.events[name]["metadata"]["resourceVersion"] = "1"
                return 201, {}, self.events[name]
            event = self.events[path.rsplit("/", 1)[1]]
            patch = r.json()
            if patch:
                if patch["metadata"]["resourceVersion"] != event["metadata"]["resourceVersion"]:
                    return 409, {}, {"message": "the object has been modified"}
                event["series"] = patch["series"]
                event["metadata"]["annotations"] = patch["metadata"]["annotations"]
                event["metadata"]["resourceVersion"] += "1"
            return 200, {}, event
        return 404, {}, {"message": "no such path"}


def main():
    t = Act(sys.argv[1])
    authority = Authority(t.path("tls"))
    certs = authority.issue("server")
    token = t.write("token", "sa-token-one\n")

    def start():
        return Cluster(t, *certs)

    def run(c, rec=None, *more, env=None):
        return t.run("kubernetes", "--server", c.fake.url, "--ca-file", authority.ca, "--token-file", token, *more,
                     stdin=record() if rec is None else rec, env=env)

    c = start()
    code, out, err = run(c, None, "--node", "n1")
    t.ok(code == 0 and c.runner is None and len(c.events) == 1 and "deleted" in out, "hand-over: Event, runner deleted", code, out, err)
    t.ok("fieldSelector=spec.nodeName%3Dn1" in c.fake.log[0].path, "only the node's pods are listed")
    event = list(c.events.values())[0]
    t.ok(event["regarding"]["uid"] == UID and event["regarding"]["fieldPath"] == "spec.containers{runner}" and
         event["reason"] == "MemoryLivelock" and event["action"] == "DeleteRunner" and event["type"] == "Warning" and
         event["note"].startswith("live-locked at memory.max 3Gi"), "what the Event says", event)
    code, out, err = run(c)
    t.ok(code == 0 and len(c.events) == 1 and "gone" in err and "before" in out, "again: nothing is left to do", code, out, err, c.events)

    c = start()
    run(c, record(action__rung="culprit"))
    t.ok(c.runner is not None and list(c.events.values())[0]["action"] == "KillProcess", "a killed process: Event only")
    code, out, err = run(c, record(action__rung="culprit"))
    t.ok("posted for this record before" in out and "series" not in list(c.events.values())[0], "the same record again is nothing", out)
    code, out, err = run(c, record(action__rung="culprit", id="other"), "--format", "json")
    t.ok(json.loads(out)["event"] == "again" and list(c.events.values())[0]["series"]["count"] == 2,
         "another record of the same kind counts", out)
    name = list(c.events)[0]
    c.fake.once[("PATCH", f"{EVENTS}/{name}")] = [c.answer, (409, {}, {"message": "modified"})]
    code, out, err = run(c, record(action__rung="culprit", id="third"))
    t.ok(code == 0 and c.events[name]["series"]["count"] == 3, "another counter in between: once more", code, out, err)
    c.fake.once[("PATCH", f"{EVENTS}/{name}")] = [(404, {}, {"message": "expired"})] * 1
    code, out, err = run(c, record(action__rung="culprit", id="fourth"))
    t.ok(code == 0, "an Event that expires in between", code, out, err)

    c = start()
    for n in range(250):
        c.pods.insert(0, pod(uid=f"00000000-0000-0000-0000-{n:012d}", name=f"other-{n}"))
    code, out, err = run(c)
    t.ok(code == 0 and len([r for r in c.fake.log if "/pods" in r.path]) == 3, "the pod on the third page", code, out, err)
    c.pods.pop()
    code, out, err = run(c)
    t.ok(code == 4 and UID in err and not out, "no such pod: exit 4", code, err)

    c = start()
    c.fake.once[("GET", "/api/v1/pods")] = [(401, {}, {"message": "Unauthorized"})]
    code, out, err = run(c)
    t.ok(code == 0, "a token that was just rotated is read again", code, err)
    c.token = "sa-token-two"
    code, out, err = run(c)
    t.ok(code == 3, "a token that is refused: exit 3", code, err)
    c = start()
    c.fake.once[("GET", "/api/v1/pods")] = [(503, {"Retry-After": "1"}, {}), (429, {"Retry-After": "1"}, {}), (None, {}, b"")]
    code, out, err = run(c)
    t.ok(code == 0, "503, 429, a broken connection", code, err)

    c = start()
    c.fake.once[("POST", EVENTS)] = [(403, {}, {"kind": "Status", "message": "events.events.k8s.io is forbidden"})]
    code, out, err = run(c)
    t.ok(code == 3 and c.runner is None and "not posted" in out and "is forbidden" in err,
         "an Event that is refused does not keep the runner alive: exit 3", code, out, err)
    c = start()
    c.runner["metadata"]["uid"] = "newer"
    code, out, err = run(c)
    t.ok(code == 0 and c.runner and "another one of the same name" in err, "a runner made again is left alone", code, err)
    c = start()
    c.fake.once[("DELETE", RUNNER)] = [(409, {}, {"message": "Precondition failed"})]
    code, out, err = run(c)
    t.ok(code == 0 and "was gone already" in out, "made again between look and deletion", code, out, err)
    c = start()
    c.runner["metadata"]["deletionTimestamp"] = "2026-11-25T21:00:00Z"
    code, out, err = run(c)
    t.ok(code == 0 and "is being deleted already" in out and not c.fake.asked("DELETE", RUNNER), "deleted already", code, out, err)
    c = start()
    code, out, err = run(c, None, "--dry-run")
    t.ok(code == 0 and {r.method for r in c.fake.log} == {"GET"} and "would be posted" in out and "would be deleted" in out,
         "dry run: only questions", code, out, err)
    c = start()
    c.pods = [pod()]
    c.pods[0]["metadata"]["ownerReferences"] = []
    code, out, err = run(c)
    t.ok(code == 0 and len(c.events) == 1 and c.runner and "not of ARC" in err, "a pod that is not of ARC: Event only", code, out, err)
    c.pods[0]["metadata"]["labels"] = {"runner-pod": "set-x-runner-1"}
    code, out, err = run(c)
    t.ok(code == 0 and c.runner is None, "a workflow pod of kubernetes mode: its runner", code, out, err)
    c = start()
    c.pods[0]["metadata"]["name"] = "../../secrets/x"
    code, out, err = run(c)
    t.ok(code == 1 and len(c.fake.log) <= 3 and all("secrets" not in r.path for r in c.fake.log), "a name that would leave its path",
         code, err)

    # ---- with the run
    gh = FakeServer(*certs, lambda r: (202, {}, {}) if r.method == "POST" else (200, {}, {"status": gh.state, "run_attempt": 1}))
    creds = t.write("gh/github_token", "ghp_clusterToken")
    t.secrets.append("ghp_clusterToken")

    def with_run(c, rec=None, *more):
        gh.state = "in_progress"
        gh.log.clear()
        gh.once[("POST", "/repos/acme/app/actions/runs/987/cancel")] = [lambda r: (setattr(gh, "state", "completed"), (202, {}, {}))[1]]
        return run(c, rec, "--cancel-run", "--credentials", os.path.dirname(creds), "--api-url", gh.url, "--github-ca-file",
                   authority.ca, "--force-after", "2s", *more)

    c = start()
    code, out, err = with_run(c, record(github=None), "--format", "json")
    t.ok(code == 0 and json.loads(out)["run"] == {"repository": "acme/app", "id": 987, "outcome": "cancelled"} and c.runner is None,
         "the run that ARC knows is cancelled, then the runner deleted", code, out, err)
    c = start()
    code, out, err = with_run(c, record(github__repository="victim/app", github__run_id="1"))
    t.ok(code == 0 and all("victim" not in r.path for r in gh.log) and "another run" in err, "a job that lies about its run", code, out, err)
    c = start()
    c.runner["status"] = {"phase": "Running"}
    code, out, err = with_run(c)
    t.ok(code == 0 and not gh.log and "only with --allow" in err, "without ARC's word and --allow no run is cancelled", code, out, err)
    c = start()
    c.runner["status"] = {"phase": "Running"}
    code, out, err = with_run(c, None, "--allow", "acme")
    t.ok(code == 0 and "run 987 of acme/app: is cancelled" in out, "with --allow it is", code, out, err)
    c = start()
    gh.once[("GET", "/repos/acme/app/actions/runs/987")] = [(404, {}, {"message": "Not Found"})]
    code, out, err = with_run(c)
    t.ok(code == 4 and c.runner is None, "a run that cannot be cancelled does not keep the runner alive", code, out, err)

    # ---- usage
    code, out, err = t.run("kubernetes", stdin=record())
    t.ok(code == 2 and "not in a cluster" in err, "outside of a cluster: exit 2 says what to name", code, err)
    code, out, err = run(start(), record(cgroup__path="/sys/fs/cgroup/system.slice/ssh.service"))
    t.ok(code == 4 and "belongs to no pod" in err, "a cgroup of no pod: exit 4", code, err)
    code, out, err = run(start(), None, "--namespace", "a/b")
    t.ok(code == 2, "a namespace that is no name: exit 2", code, err)
    os.unlink(token)
    code, out, err = run(start())
    t.ok(code == 3 and "token" in err, "a token file that is missing: exit 3 names it", code, err)
    t.done()


main()
