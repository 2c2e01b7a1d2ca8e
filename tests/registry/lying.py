"""A registry that does what a test tells it to: serves images from memory, asks for logins, and lies."""
import base64
import http.server
import json
import os
import socket
import socketserver
import ssl
import subprocess
import threading
import time
import urllib.parse

from images import sha


class Registry:
    """blobs: digest -> bytes; manifests: (repository, reference) -> (media type, bytes).

    fault(handler, path) may answer by itself and return True. auth: None, "basic", "token", "anonymous-token".
    """

    def __init__(self, tls=None, address="127.0.0.1"):
        self.blobs, self.manifests, self.log = {}, {}, []
        self.fault = None
        self.auth = None
        self.users = {"user": "secret-password"}
        self.identity = "secret-identity"
        self.tokens, self.token_uses = {}, 10 ** 9
        self.realm = None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.serve(self)

            do_POST = do_HEAD = do_GET

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self.server = Server((address, 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls[:2])
            if len(tls) > 2:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(tls[2])
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.host = f"{address}:{self.port}"
        self.scheme = "https" if tls else "http"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def reset(self):
        del self.log[:]
        self.fault = self.auth = self.realm = None
        self.tokens.clear()
        self.token_uses = 10 ** 9

    def add(self, image, repo="app", tag="1"):
        for b in image.blobs + [image.config]:
            self.blobs["sha256:" + sha(b)] = b
        return self.add_manifest(image.manifest, json.loads(image.manifest)["mediaType"], repo, tag)

    def add_manifest(self, data, kind, repo="app", tag=None):
        digest = "sha256:" + sha(data)
        for ref in (tag, digest):
            if ref:
                self.manifests[repo, ref] = (kind, data)
        return digest

    def asked(self, what):
        return [r for r in self.log if what in r[1]]

    # ---- answers

    @staticmethod
    def send(h, status, body=b"", headers=(), length=None):
        h.send_response(status)
        for k, v in headers:
            h.send_header(k, v)
        h.send_header("Content-Length", str(len(body) if length is None else length))
        h.end_headers()
        if h.command != "HEAD":
            h.wfile.write(body)

    def error(self, h, status, code, headers=()):
        body = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
        self.send(h, status, body, [("Content-Type", "application/json"), *headers])

    def send_blob(self, h, data, upto=None):
        """With Range; `upto`: so many bytes, then the connection is cut."""
        rng = h.headers.get("Range")
        first = int(rng.split("=")[1].split("-")[0]) if rng else 0
        last = len(data) - 1
        if rng and rng.split("-")[1]:
            last = int(rng.split("-")[1])
        part = data[first:last + 1]
        h.send_response(206 if rng else 200)
        if rng:
            h.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        h.send_header("Content-Length", str(len(part)))
        h.end_headers()
        h.wfile.write(part[:upto])
        if upto is not None and upto < len(part):
            h.wfile.flush()
            h.connection.shutdown(socket.SHUT_RDWR)
            h.close_connection = True

    def challenge(self, h):
        if self.auth == "basic":
            return self.error(h, 401, "UNAUTHORIZED", [("WWW-Authenticate", 'Basic realm="registry"')])
        realm = self.realm or f"{self.scheme}://{self.host}/token"
        return self.error(h, 401, "UNAUTHORIZED", [(
            "WWW-Authenticate", f'Bearer realm="{realm}",service="the service",scope="repository:app:pull"')])

    def allowed(self, h):
        got = h.headers.get("Authorization", "")
        if not self.auth:
            return True
        if self.auth == "basic":
            return any(got == "Basic " + base64.b64encode(f"{u}:{p}".encode()).decode() for u, p in self.users.items())
        token = got.removeprefix("Bearer ")
        if self.tokens.get(token, 0) <= 0:
            return False
        self.tokens[token] -= 1
        return True

    def token(self, h, body):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(h.path).query)
        form = urllib.parse.parse_qs(body.decode())
        good = self.auth == "anonymous-token"
        for u, p in self.users.items():
            good |= h.headers.get("Authorization") == "Basic " + base64.b64encode(f"{u}:{p}".encode()).decode()
        good |= form.get("refresh_token") == [self.identity] and form.get("grant_type") == ["refresh_token"]
        asked = form if body else query
        if not good:
            return self.error(h, 401, "UNAUTHORIZED")
        if asked.get("scope") != ["repository:app:pull"] or asked.get("service") != ["the service"]:
            return self.error(h, 400, "BAD_SCOPE")
        token = f"secret-token-{len(self.tokens)}"
        self.tokens[token] = self.token_uses
        return self.send(h, 200, json.dumps({"token" if not body else "access_token": token, "expires_in": 300}).encode())

    def serve(self, h):
        body = h.rfile.read(int(h.headers.get("Content-Length") or 0))
        self.log.append((h.command, h.path, dict(h.headers)))
        path = urllib.parse.urlparse(h.path).path
        try:
            if path == "/token":
                return self.token(h, body)
            if self.fault and self.fault(h, path):
                return None
            if not path.startswith("/v2/"):
                return self.send(h, 404, b"<html>nothing here</html>", [("Content-Type", "text/html")])
            if not self.allowed(h):
                return self.challenge(h)
            if "/manifests/" in path:
                key = tuple(path[len("/v2/"):].split("/manifests/"))
                if key not in self.manifests:
                    known = any(k[0] == key[0] for k in self.manifests)
                    return self.error(h, 404, "MANIFEST_UNKNOWN" if known else "NAME_UNKNOWN")
                kind, data = self.manifests[key]
                return self.send(h, 200, data, [("Content-Type", kind)])
            if "/blobs/" in path:
                data = self.blobs.get(path.split("/blobs/")[1])
                return self.error(h, 404, "BLOB_UNKNOWN") if data is None else self.send_blob(h, data)
            return self.send(h, 200, b"{}")
        except (BrokenPipeError, ConnectionResetError):
            h.close_connection = True
            return None


class Daemon:
    """A container engine's socket: images is name -> archive; fault(handler, name) as in Registry."""

    def __init__(self, path):
        self.images, self.fault, self.log = {}, None, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                name = urllib.parse.urlparse(self.path).path.split("/images/")[-1].removesuffix("/get")
                outer.log.append(self.path)
                data = outer.images.get(name)
                if outer.fault and outer.fault(self, name):
                    return
                if data is None:
                    Registry.send(self, 404, b'{"message":"No such image"}')
                    return
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for i in range(0, len(data), 50000):
                    part = data[i:i + 50000]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")

            def address_string(self):
                return "unix"

            def log_message(self, *args):
                pass

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self.server = Server(path, Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def endless(h, chunk=b"x" * 65536, seconds=20):
    """A body without a length that goes on until nobody listens."""
    h.send_response(200)
    h.send_header("Transfer-Encoding", "chunked")
    h.end_headers()
    end = time.time() + seconds
    try:
        while time.time() < end:
            h.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    except OSError:
        pass
    h.close_connection = True


def own_address():
    """An address of this machine that is not loopback, or None."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        s.connect(("192.0.2.1", 9))  # sends nothing
        a = s.getsockname()[0]
        return None if a.startswith("127.") else a
    except OSError:
        return None
    finally:
        s.close()


def certificate(directory, name, address, expired=False):
    """A self-signed certificate for an address: (certificate, key)."""
    base = os.path.join(directory, name)
    cert, key, conf = base + ".pem", base + ".key", base + ".cnf"
    with open(conf, "w", encoding="utf-8") as f:
        f.write(f"[ca]\ndefault_ca=c\n[c]\ndatabase={base}.db\nserial={base}.srl\nnew_certs_dir={directory}\n"
                "default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n"
                f"[e]\nsubjectAltName=IP:{address}\nbasicConstraints=critical,CA:true\n[req]\ndistinguished_name=d\n[d]\n")
    open(base + ".db", "w", encoding="utf-8").close()
    with open(base + ".srl", "w", encoding="utf-8") as f:
        f.write("01\n")
    dates = ("200101000000Z", "210101000000Z") if expired else ("200101000000Z", "491231235959Z")
    for command in (["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
                     base + ".csr", "-subj", "/CN=" + name, "-config", conf],
                    ["ca", "-batch", "-selfsign", "-config", conf, "-keyfile", key, "-in", base + ".csr", "-out", cert, "-notext",
                     "-startdate", dates[0], "-enddate", dates[1]]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return cert, key


class Relay:
    """TCP to a port of this machine; each connection ends after `cut` bytes of answers."""

    def __init__(self, target, cut):
        self.bytes = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

        def up(client, server):
            try:
                while data := client.recv(65536):
                    server.sendall(data)
            except OSError:
                pass

        def down(client):
            left = cut
            with client, socket.create_connection(("127.0.0.1", target)) as server:
                threading.Thread(target=up, args=(client, server), daemon=True).start()
                try:
                    while left and (data := server.recv(min(65536, left))):
                        client.sendall(data)
                        left -= len(data)
                        self.bytes += len(data)
                except OSError:
                    pass
                for s in (client, server):
                    try:
                        s.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass

        def accept():
            while True:
                try:
                    client, _ = self.listener.accept()
                except OSError:
                    return
                threading.Thread(target=down, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def close(self):
        self.listener.close()
