"""A TLS server on the loopback whose answers a test scripts, with a certificate authority of its own."""
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
from email.utils import formatdate


def openssl(*args, **kw):
    return subprocess.run(["openssl", *args], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **kw).stdout


class Authority:
    """Makes ca.pem, and NAME.pem + NAME.key for a server on 127.0.0.1."""

    def __init__(self, directory):
        self.dir = directory
        os.makedirs(directory, exist_ok=True)
        self.ca = self.path("ca.pem")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=stella test authority",
                "-keyout", self.path("ca.key"), "-out", self.ca)

    def path(self, name):
        return os.path.join(self.dir, name)

    def issue(self, name, subject="/CN=stella test server", names="IP:127.0.0.1", usage="serverAuth,clientAuth"):
        with open(self.path(name + ".ext"), "w") as f:
            f.write(f"subjectAltName={names}\nextendedKeyUsage={usage}\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", self.path(name + ".key"),
                "-out", self.path(name + ".csr"))
        openssl("x509", "-req", "-in", self.path(name + ".csr"), "-CA", self.ca, "-CAkey", self.path("ca.key"),
                "-CAcreateserial", "-days", "2", "-extfile", self.path(name + ".ext"), "-out", self.path(name + ".pem"))
        return self.path(name + ".pem"), self.path(name + ".key")


class Request:
    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body

    def json(self):
        return json.loads(self.body)


class FakeServer:
    """`answer(request)` gives (status, headers, object or bytes). `once[(method, path)]` is a list of answers, or of
    functions that give one, that come before it."""

    def __init__(self, cert, key, answer):
        self.answer, self.once, self.log = answer, {}, []
        self.clock_ahead = 0   # seconds that this server's clock is ahead
        self.tls_delay = 0     # seconds before the handshake
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                time.sleep(fake.tls_delay)
                self.request = context.wrap_socket(self.request, server_side=True)
                super().setup()

            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Request(self.command, self.path, self.headers, body)
                fake.log.append(request)
                waiting = fake.once.get((self.command, self.path.split("?")[0]))
                reply = waiting.pop(0) if waiting else fake.answer
                status, headers, data = reply(request) if callable(reply) else reply
                if status is None:  # hang up without a word
                    self.close_connection = True
                    return
                data = data if isinstance(data, bytes) else json.dumps(data).encode()
                self.send_response_only(status)
                headers = {"Date": formatdate(time.time() + fake.clock_ahead, usegmt=True), "Content-Length": str(len(data)),
                           "Content-Type": "application/json", **headers}
                for k, v in headers.items():
                    if v is not None:
                        self.send_header(k, v)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = do_PATCH = handle_one

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that gives up

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def now(self):
        return time.time() + self.clock_ahead

    def asked(self, method, path):
        return [r for r in self.log if r.method == method and r.path.split("?")[0] == path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
