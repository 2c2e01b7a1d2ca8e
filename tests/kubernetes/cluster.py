"""etcd and a real kube-apiserver on the loopback, and a small client of an administrator."""
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "act"))
from fake_server import Authority, openssl  # noqa: E402

PLURALS = {"Namespace": ("/api/v1", "namespaces", False), "ServiceAccount": ("/api/v1", "serviceaccounts", True),
           "Pod": ("/api/v1", "pods", True), "Secret": ("/api/v1", "secrets", True),
           "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles", False),
           "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
           "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles", True),
           "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings", True),
           "DaemonSet": ("/apis/apps/v1", "daemonsets", True), "CronJob": ("/apis/batch/v1", "cronjobs", True),
           "StatefulSet": ("/apis/apps/v1", "statefulsets", True), "Deployment": ("/apis/apps/v1", "deployments", True),
           "Service": ("/api/v1", "services", True), "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims", True),
           "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies", True),
           "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets", True),
           "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", False),
           "EphemeralRunner": ("/apis/actions.github.com/v1alpha1", "ephemeralrunners", True)}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Cluster:
    def __init__(self, directory, etcd, apiserver):
        self.dir, self.children = directory, []
        authority = Authority(os.path.join(directory, "pki"))
        self.ca = authority.ca
        cert, key = authority.issue("apiserver", names="IP:127.0.0.1,DNS:kubernetes.default.svc")
        admin_cert, admin_key = authority.issue("admin", subject="/O=system:masters/CN=admin")
        signing = os.path.join(directory, "sa.key")
        with open(signing, "wb") as f:
            f.write(openssl("genrsa", "2048"))
        ports = [free_port() for _ in range(3)]
        self.start("etcd", etcd, "--data-dir", os.path.join(directory, "etcd"), "--listen-client-urls", f"http://127.0.0.1:{ports[0]}",
                   "--advertise-client-urls", f"http://127.0.0.1:{ports[0]}", "--listen-peer-urls", f"http://127.0.0.1:{ports[1]}",
                   "--unsafe-no-fsync" if self.knows(etcd, "--unsafe-no-fsync") else "--quota-backend-bytes=100000000")
        self.url = f"https://127.0.0.1:{ports[2]}"
        self.start("apiserver", apiserver, "--etcd-servers", f"http://127.0.0.1:{ports[0]}", "--bind-address", "127.0.0.1",
                   "--advertise-address", "127.0.0.1", "--secure-port", str(ports[2]), "--tls-cert-file", cert,
                   "--tls-private-key-file", key, "--client-ca-file", self.ca, "--authorization-mode", "RBAC",
                   "--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", signing,
                   "--service-account-signing-key-file", signing, "--service-cluster-ip-range", "10.0.0.0/24",
                   "--disable-admission-plugins", "ServiceAccount", "--allow-privileged=true",
                   "--endpoint-reconciler-type", "none")
        self.context = ssl.create_default_context(cafile=self.ca)
        self.context.load_cert_chain(admin_cert, admin_key)

    @staticmethod
    def knows(program, option):
        text = subprocess.run([program, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
        return option in text

    def start(self, name, *argv):
        with open(os.path.join(self.dir, name + ".log"), "wb") as log:
            self.children.append(subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                                  env={**os.environ, "ETCD_UNSUPPORTED_ARCH": ""}))

    def stop(self):
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()

    def wait(self, seconds=240):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(c.poll() is not None for c in self.children):
                return False
            try:
                if self.call("GET", "/readyz")[0] == 200:
                    return True
            except OSError:
                pass
            time.sleep(0.5)
        return False

    def log(self, name, n=3000):
        with open(os.path.join(self.dir, name + ".log"), "rb") as f:
            return f.read()[-n:].decode(errors="replace")

    def call(self, method, path, body=None, kind="application/json"):
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers={"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=60) as r:
                text = r.read()
                return r.status, (json.loads(text) if text[:1] == b"{" else text.decode())
        except urllib.error.HTTPError as e:
            text = e.read()
            return e.code, (json.loads(text) if text[:1] == b"{" else text.decode())

    def must(self, method, path, body=None, **kw):
        for _ in range(20):
            status, answer = self.call(method, path, body, **kw)
            if status < 300:
                return answer
            if status not in (404, 429, 500, 503) or method == "DELETE":  # a CRD or a namespace just made takes a moment
                break
            time.sleep(0.5)
        raise RuntimeError(f"{method} {path}: {status} {answer}")

    def path(self, obj, name=True):
        api, plural, namespaced = PLURALS[obj["kind"]]
        where = f"/namespaces/{obj['metadata']['namespace']}" if namespaced else ""
        return f"{api}{where}/{plural}" + (f"/{obj['metadata']['name']}" if name else "")

    def apply(self, obj, dry=False):
        """Server-side apply; unknown fields are errors."""
        query = "?fieldManager=test&force=true&fieldValidation=Strict" + ("&dryRun=All" if dry else "")
        return self.must("PATCH", self.path(obj) + query, obj, kind="application/apply-patch+yaml")

    def create(self, obj):
        status = obj.pop("status", None)
        made = self.must("POST", self.path(obj, name=False), obj)
        if status is not None:
            made = self.must("PATCH", self.path(made) + "/status", {"status": status}, kind="application/merge-patch+json")
        return made

    def token(self, namespace, account):
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return self.must("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})["status"]["token"]

    def may(self, account, verb, group, resource, namespace="arc-runners"):
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": f"system:serviceaccount:stella-system:{account}",
            "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": namespace}}}
        return self.must("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]


def documents(text):
    import yaml
    return [d for d in yaml.safe_load_all(text) if d]


