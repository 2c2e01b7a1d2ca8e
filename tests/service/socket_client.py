"""The protocol of the service's socket, as src/service/message.h says, for tests and benches."""
import json
import socket


class Client:
    def __init__(self, path, wait=30):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.connect(path)  # without a timeout: with one, a full backlog would refuse at once
        self.s.settimeout(wait)

    def call(self, op, fd=None, **fields):
        """Its rows; a dict with `error` and `message` where it is refused. EOFError: the service is gone. fd goes along."""
        socket.send_fds(self.s, [f"{op} {json.dumps(fields)}".encode()], [] if fd is None else [fd])
        return self.rest()

    def rest(self):
        rows = []
        while True:
            p = self.s.recv(1 << 18)
            if not p:
                raise EOFError
            if p[:1] == b"R":
                rows.append(json.loads(p[1:]))
            elif p[:1] == b"E":
                return rows
            else:
                return json.loads(p[1:])

    def must(self, op, fd=None, **fields):
        """Its rows. RuntimeError where it is refused."""
        got = self.call(op, fd, **fields)
        if isinstance(got, dict):
            raise RuntimeError(f"{op}: {got}")
        return got
