"""A model hub on loopback that speaks both APIs, ModelScope's and the Hugging Face hub's, and misbehaves on request."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".bin", ".safetensors", ".ckpt")  # kept in LFS: only these have a sha256 in the hub's listing


class FakeHub:
    """Serves {repo id: folder} while the `with` block lasts. `asked` lists the requests as (path, Range header).

    cut: break the connection after so many bytes of a file, once a file for each of `cuts`. hang: never answer.
    status: answer with that. lie: the listing's hashes are wrong. ranges=False: Range is ignored.
    """

    def __init__(self, repos, cut=None, cuts=1, hang=False, status=None, lie=False, ranges=True):
        self.repos = {repo: Path(folder) for repo, folder in repos.items()}
        self.cut, self.cuts, self.hang, self.status, self.lie, self.ranges = cut, cuts, hang, status, lie, ranges
        self.asked, self.was_cut, self.over = [], {}, threading.Event()
        self.hold = self.held = None  # hold: a file that is cut, and the line left open; held: it has come to that

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a client that was killed is meant
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def fetched(self):
        """The files that were sent, in order, without the listings."""
        return [path for path, _ in self.asked if "/resolve/" in path or "FilePath=" in path]

    def listing(self, repo):
        folder = self.repos[repo]
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            digest = hashlib.sha256(b"other" if self.lie else path.read_bytes()).hexdigest()
            yield path.relative_to(folder).as_posix(), path.stat().st_size, digest


class _Handler(BaseHTTPRequestHandler):
    hub = None
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.hub.asked.append((unquote(self.path), self.headers.get("Range")))
        if self.hub.hang:
            self.hub.over.wait(600)
            self.close_connection = True
            return
        if self.hub.status:
            return self._send(self.hub.status, b"{}")
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        for repo in self.hub.repos:
            for known, answer in (
                (f"/api/v1/models/{repo}/repo/files", self._modelscope_files),
                (f"/api/v1/models/{repo}/repo", lambda repo: self._file(repo, query["FilePath"])),
                (f"/api/models/{repo}/tree/main", self._hub_files),
            ):
                if url.path == known:
                    return answer(repo)
            if url.path.startswith(f"/{repo}/resolve/main/"):
                return self._file(repo, unquote(url.path).removeprefix(f"/{repo}/resolve/main/"))
        self._send(404, json.dumps({"Code": 10010205001, "Success": False, "Data": None}).encode())

    def _modelscope_files(self, repo):
        files = [
            {"Path": path, "Name": path.split("/")[-1], "Size": size, "Sha256": digest, "Type": "blob"}
            for path, size, digest in self.hub.listing(repo)
        ]
        folders = [{"Path": name, "Name": name, "Size": 0, "Sha256": "", "Type": "tree"} for name in ("unet", "vae")]
        self._send(200, json.dumps({"Code": 200, "Success": True, "Data": {"Files": folders + files}}).encode())

    def _hub_files(self, repo):
        found = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "unet"}]
        for path, size, digest in self.hub.listing(repo):
            lfs = {"lfs": {"oid": digest, "size": size, "pointerSize": 134}} if path.endswith(LARGE) else {}
            found.append({"type": "file", "oid": "0" * 40, "size": size, "path": path, **lfs})
        self._send(200, json.dumps(found).encode())

    def _file(self, repo, path):
        file = self.hub.repos[repo] / path
        if not file.is_file():
            return self._send(404, b"{}")
        content, start = file.read_bytes(), 0
        if self.hub.ranges and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        extra = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        body, cut = content[start:], self.hub.cut
        if cut and len(body) > cut and self.hub.was_cut.get(path, 0) < self.hub.cuts:
            self.hub.was_cut[path] = self.hub.was_cut.get(path, 0) + 1
            self._send(206 if start else 200, body[:cut], {**extra, "Content-Length": str(len(body))})
            if path == self.hub.hold:
                self.wfile.flush()
                self.hub.held = path
                self.hub.over.wait(600)
            self.close_connection = True
        else:
            self._send(206 if start else 200, body, extra)

    def _send(self, status, body, extra=None):
        self.send_response(status)
        for key, value in {
            "Content-Length": str(len(body)),
            "Content-Type": "application/json",
            **(extra or {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)
