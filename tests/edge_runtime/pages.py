"""The page as a process of its own, and who asks it: a person's browser, or a program."""

import http.client
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from edge_runtime.web import key
from tests.conftest import ROOT

PATIENCE_S = 20.0


class Page:
    """`serve PLACE --port 0`; answers are (status, headers, body), the body decoded where it is JSON."""

    def __init__(self, place, *words, environment=None, before=""):
        """`before`: code that its process runs first."""
        code = f"{before}; import sys; from edge_runtime import __main__ as m; sys.exit(m.run_command(m.main))"
        program = ["-c", code] if before else ["-m", "edge_runtime"]
        command = [sys.executable, *program, "serve", place, "--port", 0, *words]
        pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen(list(map(str, command)), cwd=ROOT, env=environment, **pipes)
        self.said = self.process.stderr.readline()
        found = re.match(r"http://(\S+):(\d+)/ shows (.*); who ", self.said)
        assert found, self.said + self.process.communicate(timeout=5)[1]
        self.port, self.state = int(found[2]), Path(found[3])
        self.url, self.host = f"http://127.0.0.1:{self.port}", f"127.0.0.1:{self.port}"

    @property
    def token(self):
        return (self.state / key.FILE).read_text().strip()

    def ask(self, method, path, body=None, **headers):
        """Headers as words: content_type="text/plain"; None leaves one out."""
        given = {"host": self.host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            given.setdefault("content-type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, {name: value for name, value in given.items() if value is not None})
        answer = connection.getresponse()
        data, found = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        connection.close()
        told = json.loads(data) if found.get("content-type", "").startswith("application/json") else data
        return answer.status, found, told

    def get(self, path, **headers):
        """What is told, of an answer that is well."""
        status, _, told = self.ask("GET", path, **headers)
        assert status == 200, told
        return told

    def program(self, path, body, **headers):
        """A program with the token."""
        return self.ask("POST", path, body, authorization=f"Bearer {self.token}", **headers)[::2]

    def sign_in(self, who="ann"):
        """-> the cookie."""
        status, headers, told = self.ask("POST", "/api/sign-in", {"who": who, "token": self.token})
        assert status == 200, told
        return headers["set-cookie"].split(";")[0]

    def wait(self, path, true, seconds=PATIENCE_S):
        """Until what is told is so -> what is told."""
        deadline = time.monotonic() + seconds
        while True:
            told = self.get(path)
            if true(told):
                return told
            assert time.monotonic() < deadline, told
            time.sleep(0.05)

    def memory(self):
        """MiB that it holds."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024

    def end(self):
        """SIGTERM -> (exit code, seconds that it took, all that it said)."""
        began = time.monotonic()
        self.process.terminate()
        code = self.process.wait(10)
        took = time.monotonic() - began
        return code, took, self.said + self.process.stderr.read()

    def close(self):
        """Nothing of it is left."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
