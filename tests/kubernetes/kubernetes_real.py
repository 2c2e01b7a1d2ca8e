#!/usr/bin/env python3
"""stella-act and deploy/watchdog against a real Kubernetes API server: the rights of rbac.yaml are enough and each is needed,
Events and series are what the server accepts, uid preconditions hold, every manifest passes the server's own validation.
kubernetes_real.py STELLA_ACT. Needs etcd, Go and PyYAML; skipped without them unless ST_MUST_WORK=1."""
import copy
import datetime
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "act")]
from act_test import Act, cgroup_path, record  # noqa: E402
from cluster import Cluster, documents  # noqa: E402

SOURCE = os.path.abspath(os.path.join(HERE, "..", ".."))
DEPLOY = os.path.join(SOURCE, "deploy", "watchdog")
NS = "arc-runners"
EVENTS = f"/apis/events.k8s.io/v1/namespaces/{NS}/events"


def ago(**kw):
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**kw)).strftime("%Y-%m-%dT%H:%M:%SZ")


def deploy(name):
    with open(os.path.join(DEPLOY, name), encoding="utf-8") as f:
        return documents(f.read())


class Lab:
    def __init__(self, t, cluster):
        self.t, self.c, self.n = t, cluster, 0
        self.tokens = {}

    def token(self, account):
        if account not in self.tokens:
            token = self.c.token("stella-system", account)
            self.t.secrets.append(token.split(".")[2])
            self.tokens[account] = self.t.write(account + ".token", token)
        return self.tokens[account]

    def runner(self, finalizer=False, **status):
        self.n += 1
        return self.c.create({"apiVersion": "actions.github.com/v1alpha1", "kind": "EphemeralRunner",
                              "metadata": {"name": f"set-{self.n}-runner", "namespace": NS, **(
                                  {"finalizers": ["ephemeralrunner.actions.github.com/runner-registration-finalizer"]} if finalizer else {})},
                              "spec": {"githubConfigUrl": "https://github.com/acme"},
                              "status": {"phase": "Running", "jobRepositoryName": "acme/app", "workflowRunId": 19000000000,
                                         "jobDisplayName": "build", **status}})

    def pod(self, owner=None, node="n1", dead=None, container="ab" * 32, name=None, **meta):
        self.n += 1
        name = name or (owner["metadata"]["name"] if owner else f"pod-{self.n}")
        state = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "startedAt": dead, "finishedAt": dead}} if dead else {
            "running": {"startedAt": ago(hours=1)}}
        owners = [{"apiVersion": "actions.github.com/v1alpha1", "kind": "EphemeralRunner", "name": owner["metadata"]["name"],
                   "uid": owner["metadata"]["uid"], "controller": True}] if owner else []
        return self.c.create({"apiVersion": "v1", "kind": "Pod",
                              "metadata": {"name": name, "namespace": NS, "labels": {"actions-ephemeral-runner": "True"} if owner else {},
                                           "ownerReferences": owners, **meta},
                              "spec": {"nodeName": node, "containers": [{"name": "runner", "image": "runner:1"}]},
                              "status": {"phase": "Running", "containerStatuses": [
                                  {"name": "runner", "image": "runner:1", "imageID": "x", "ready": not dead, "restartCount": 0,
                                   "containerID": "containerd://" + container, "state": state}]}})

    def act(self, rec, *more, account="stella-watchdog"):
        return self.t.run("kubernetes", "--server", self.c.url, "--ca-file", self.c.ca, "--token-file", self.token(account), *more,
                          stdin=rec)

    def record(self, pod, rung="hook", container="ab" * 32, **change):
        self.n += 1
        return record(cgroup__path=cgroup_path(pod["metadata"]["uid"], container), action__rung=rung, id=f"incident{self.n}", **change)

    def exists(self, obj):
        return self.c.call("GET", self.c.path(obj))[0] == 200

    def events(self, pod):
        items = self.c.must("GET", EVENTS)["items"]
        return [e for e in items if e["regarding"].get("uid") == pod["metadata"]["uid"]]


def story(t, lab):
    runner = lab.runner()
    pod = lab.pod(runner)
    code, out, err = lab.act(lab.record(pod, "culprit"), "--node", "n1")
    events = lab.events(pod)
    t.ok(code == 0 and len(events) == 1 and lab.exists(runner), "a killed process: an Event, the runner lives", code, out, err)
    e = events[0]
    t.ok(e["type"] == "Warning" and e["reason"] == "MemoryLivelock" and e["action"] == "KillProcess" and
         e["reportingController"] == "stella-watchdog" and e["regarding"]["fieldPath"] == "spec.containers{runner}" and "series" not in e,
         "what the server kept of it", e)
    core = lab.c.must("GET", f"/api/v1/namespaces/{NS}/events?fieldSelector=involvedObject.uid={pod['metadata']['uid']}")["items"]
    t.ok(len(core) == 1 and core[0]["message"].startswith("live-locked"), "kubectl get events shows it", core)
    for n in [2, 3]:
        code, out, err = lab.act(lab.record(pod, "culprit"))
        events = lab.events(pod)
        t.ok(code == 0 and len(events) == 1 and events[0]["series"]["count"] == n, f"the same again: a series of {n}", code, out, err, events)
    again = lab.record(pod, "culprit")
    lab.act(again)
    code, out, err = lab.act(again)
    t.ok(code == 0 and "before" in out and lab.events(pod)[0]["series"]["count"] == 4, "the same record twice counts once", code, out, err)
    long = lab.record(pod, "tree", verdict__text="Ünï" * 2000, action__detail="\U0001F4A5" * 500)
    code, out, err = lab.act(long)
    t.ok(code == 0 and len(lab.events(pod)) == 2, "a note that is too long is cut between characters", code, out, err)
    raw = {k: v for k, v in events[0].items() if k not in ("series", "metadata")}
    status, answer = lab.c.call("POST", EVENTS, {**raw, "metadata": {"name": "long", "namespace": NS}, "note": "x" * 1025})
    t.ok(status == 422, "which the server would refuse otherwise", status, answer)
    code, out, err = lab.act(lab.record(pod), "--dry-run")
    t.ok(code == 0 and len(lab.events(pod)) == 2 and lab.exists(runner), "dry run: nothing is changed", code, out, err)
    last = lab.record(pod)
    code, out, err = lab.act(last, "--format", "json")
    got = json.loads(out) if code == 0 else {}
    t.ok(code == 0 and not lab.exists(runner) and got["runner"]["outcome"] == "deleted" and got["pod"]["container"] == "runner",
         "hand-over: the runner is deleted", code, out, err)
    code, out, err = lab.act(last)
    t.ok(code == 0 and "is gone" in err, "and again: nothing is left to do", code, out, err)


def preconditions(t, lab):
    old = lab.runner()
    pod = lab.pod(old)
    lab.c.must("DELETE", lab.c.path(old))
    new = copy.deepcopy(old)
    new["metadata"] = {k: old["metadata"][k] for k in ("name", "namespace")}
    new = lab.c.create(new)
    code, out, err = lab.act(lab.record(pod))
    t.ok(code == 0 and lab.exists(new) and "another one of the same name" in err, "a runner made again under the same name lives", code, err)
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": old["metadata"]["uid"]}}
    status, answer = lab.c.call("DELETE", lab.c.path(new), body)
    t.ok(status == 409 and lab.exists(new), "the server's answer to a wrong uid is the 409 that stella-act expects", status, answer)
    held = lab.runner(finalizer=True)
    pod = lab.pod(held)
    rec = lab.record(pod)
    code, out, err = lab.act(rec)
    t.ok(code == 0 and "deleted" in out and lab.exists(held), "with ARC's finalizer the runner stays for now", code, out, err)
    code, out, err = lab.act(rec)
    t.ok(code == 0 and "is being deleted already" in out, "and a second run says so", code, out, err)
    other = lab.pod(name="other-pod")
    code, out, err = lab.act(lab.record(other))
    t.ok(code == 0 and len(lab.events(other)) == 1 and "not of ARC" in err, "a pod that is not of ARC: an Event", code, out, err)
    work = lab.pod(labels={"runner-pod": new["metadata"]["name"]}, name="workflow-pod")
    code, out, err = lab.act(lab.record(work))
    t.ok(code == 0 and not lab.exists(new), "a workflow pod of kubernetes mode: the runner that it works for", code, out, err)
    code, out, err = lab.act(record(cgroup__path=cgroup_path("00000000-1111-2222-3333-444444444444")))
    t.ok(code == 4, "a pod that is not there: exit 4", code, err)


def pages(t, lab):
    for n in range(210):
        lab.pod(name=f"filler-{n:03d}", node="n2")
    runner = lab.runner()
    pod = lab.pod(runner, name="zz-last")
    code, out, err = lab.act(lab.record(pod, "culprit"))
    t.ok(code == 0, "the pod is found behind 200 others, by the server's own continue tokens", code, out, err)
    code, out, err = lab.act(lab.record(pod, "culprit"), "--node", "n2")
    t.ok(code == 4 and "on node n2" in err, "and not on another node", code, err)


def zombies(t, lab):
    dead, gone, healthy, fresh, again = lab.runner(), lab.runner(), lab.runner(), lab.runner(), lab.runner(failures={"x": ago(hours=1)})
    held = lab.runner(finalizer=True)
    lab.pod(dead, dead=ago(hours=1))
    lab.pod(healthy)
    lab.pod(again)
    lab.c.must("DELETE", lab.c.path(held))
    lab.pod(fresh, dead=ago(seconds=0))
    time.sleep(2)
    names = {r["metadata"]["name"]: w for r, w in
             [(dead, "container-dead"), (gone, "pod-gone"), (again, "pod-again"), (held, "deleting")]}

    def find(*more):
        code, out, err = lab.act("", "--find-zombies", "--namespace", NS, "--older-than", "1s", "--format", "json", *more,
                                 account="stella-zombies")
        return code, {z["name"]: (z["zombie"], z["outcome"]) for z in map(json.loads, out.splitlines())}, err

    code, found, err = find()
    t.ok(code == 0 and all(found.get(n) == (w, "kept") for n, w in names.items()) and healthy["metadata"]["name"] not in found,
         "zombies: found, each for its reason", code, found, names, err)
    code, out, err = lab.act("", "--find-zombies", "--namespace", NS, "--older-than", "30m", account="stella-zombies")
    t.ok(code == 0 and dead["metadata"]["name"] in out and fresh["metadata"]["name"] not in out and "--end always" in err,
         "zombies: the one that just died is left to its controller; text for people", code, out, err)
    code, found, err = find("--end", "always", "--dry-run")
    t.ok(code == 0 and found[dead["metadata"]["name"]][1] == "dry-run" and lab.exists(dead), "zombies: dry run", code, found, err)
    code, found, err = find("--end", "always")
    t.ok(code == 0 and not lab.exists(dead) and not lab.exists(gone) and lab.exists(again) and lab.exists(held) and lab.exists(healthy),
         "zombies: dead ones are deleted, those to be looked at are not", code, found, err)


def rights(t, lab):
    """Each verb taken away in turn: what needs it fails, and nothing else is needed, since the story above passed."""
    roles = {r["metadata"]["name"]: r for r in deploy("rbac.yaml") if r["kind"] == "ClusterRole"}
    accounts = {"stella-watchdog": "stella-watchdog", "stella-watchdog-runners": "stella-watchdog", "stella-zombies": "stella-zombies"}
    runner = lab.runner()
    pod = lab.pod(runner)
    lab.act(lab.record(pod, "culprit"))  # an Event to be counted

    def scenario(role):
        if role == "stella-zombies":
            victim = lab.runner()
            time.sleep(1.1)
            return lab.act("", "--find-zombies", "--namespace", NS, "--older-than", "1s", "--end", "always", account="stella-zombies") + (victim,)
        mine = lab.runner()
        held = lab.pod(mine)
        one = lab.act(lab.record(pod, "culprit"))  # pods list, events create + patch, runners get
        two = lab.act(lab.record(held))            # runners delete
        return (one if one[0] else two) + (mine,)

    for role, account in accounts.items():
        for rule in roles[role]["rules"]:
            for verb in rule["verbs"]:
                group, resource = rule["apiGroups"][0], rule["resources"][0]
                less = copy.deepcopy(roles[role])
                for r in less["rules"]:
                    if r["resources"] == rule["resources"] and r["apiGroups"] == rule["apiGroups"]:
                        r["verbs"] = [v for v in r["verbs"] if v != verb]
                less["rules"] = [r for r in less["rules"] if r["verbs"]]
                lab.c.apply(less)
                for _ in range(100):
                    if not lab.c.may(account, verb, group, resource):
                        break
                    time.sleep(0.1)
                code, out, err, _ = scenario(role)
                t.ok(code == 3 and "forbidden" in err, f"{role}: without {verb} {resource} it fails, exit 3", code, out, err)
                lab.c.apply(roles[role])
                for _ in range(100):
                    if lab.c.may(account, verb, group, resource):
                        break
                    time.sleep(0.1)
        code, out, err, mine = scenario(role)
        t.ok(code == 0 and not lab.exists(mine), f"{role}: with all of its verbs it works", code, out, err)
    for verb, group, resource in [("get", "", "secrets"), ("list", "", "secrets"), ("delete", "", "pods"), ("create", "", "pods"),
                                  ("get", "", "pods"), ("create", "", "pods/eviction"), ("patch", "actions.github.com", "ephemeralrunners"),
                                  ("get", "events.k8s.io", "events"), ("create", "", "events")]:
        t.ok(not lab.c.may("stella-watchdog", verb, group, resource), f"it may not {verb} {resource}")
    t.ok(not lab.c.may("stella-watchdog", "delete", "actions.github.com", "ephemeralrunners", "default"),
         "it may not delete runners of another namespace")
    bad = t.write("bad.token", "eyJhbGciOiJSUzI1NiJ9.e30.AAAA")
    code, out, err = t.run("kubernetes", "--server", lab.c.url, "--ca-file", lab.c.ca, "--token-file", bad, stdin=record())
    t.ok(code == 3 and "401" in err, "a token that is none: exit 3", code, err)


def manifests(t, lab):
    for name in ["rbac.yaml", "daemonset.yaml", "zombies.yaml"]:
        for doc in deploy(name):
            try:
                lab.c.apply(doc, dry=True)
                good, why = True, ""
            except RuntimeError as e:
                good, why = False, str(e)
            t.ok(good, f"{name}: the server takes {doc['kind']} {doc['metadata']['name']}", why)
    for name in ["arc-sidecar-values.yaml", "arc-oom-group-values.yaml"]:
        spec = deploy(name)[0]["template"]["spec"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "runner", "namespace": NS}, "spec": spec}
        try:
            lab.c.apply(pod, dry=True)
            good, why = True, ""
        except RuntimeError as e:
            good, why = False, str(e)
        t.ok(good, f"{name}: the server takes its pod", why)
    pod["spec"] = {**spec, "shareProcesNamespace": True}
    try:
        lab.c.apply(pod, dry=True)
        t.ok(False, "a misspelt field is refused, so that the tests above can fail")
    except RuntimeError as e:
        t.ok("shareProcesNamespace" in str(e), "a misspelt field is refused, so that the tests above can fail", e)


def tools():
    etcd = subprocess.run([os.path.join(SOURCE, "tools", "deb-tool"), "etcd-server", "usr/bin/etcd"], stdout=subprocess.PIPE, text=True,
                          check=False).stdout.strip()
    if not etcd:
        return None, "no etcd"
    try:
        import yaml  # noqa: F401
    except ImportError:
        return None, "no PyYAML (python3-yaml)"
    built = subprocess.run([os.path.join(HERE, "build-apiserver")], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        return None, "no kube-apiserver"
    return (etcd, built.stdout.strip()), ""


def main():
    if os.environ.get("ST_FULL") != "1":
        print("1..0 # SKIP a part of make check-full")
        return
    found, why = tools()
    if not found and os.environ.get("ST_MUST_WORK") != "1":
        print(f"1..0 # SKIP {why}")
        return
    t = Act(sys.argv[1])
    cluster = Cluster(t.dir, *found)
    try:
        if not t.ok(cluster.wait(), "etcd and kube-apiserver are up", cluster.log("apiserver"), cluster.log("etcd")):
            return
        lab = Lab(t, cluster)
        with open(os.path.join(HERE, "arc-crds.yaml"), encoding="utf-8") as f:
            for crd in documents(f.read()):
                cluster.apply(crd)
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
        for doc in deploy("rbac.yaml"):
            cluster.apply(doc)
        time.sleep(2)
        for part in [story, preconditions, zombies, pages, rights, manifests]:
            part(t, lab)
    finally:
        cluster.stop()
        t.done()


main()
