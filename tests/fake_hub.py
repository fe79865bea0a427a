"""A model hub on loopback that speaks both APIs, ModelScope's and the Hugging Face hub's, as their official clients
expect them, and misbehaves on request. Large files lie on another host, a server of its own.

Small files of the hub: HEAD or GET /<id>/resolve/<revision>/<path> -> 307, relative, to /api/resolve-cache/...
Large ones: 302, absolute, to the other host; size, sha256 and, with xet, what Xet's client wants stand in that answer.
"""

import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

LARGE = (".bin", ".safetensors", ".ckpt")  # kept in LFS: only these have a sha256 in the hub's listing
SMALL = "/api/resolve-cache/models"


class Asked(NamedTuple):
    """A request."""

    method: str
    path: str
    headers: dict  # names in small letters
    elsewhere: bool  # it came to the other host


class FakeHub:
    """Serves {repo id: folder} while the `with` block lasts. `asked` lists the requests, `sent` (path, first byte) of files.

    cut: break the connection after so many bytes of a file, once a file for each of `cuts`. status: answer with that.
    lie: the listing's hashes are wrong. ranges: False, Range is ignored; "refused", it is answered 416. page: entries of a page of the listing.
    busy: so many requests are answered 429, "Retry-After: 7". token: who has not got it is answered 401.
    moved: everything is first found elsewhere, 308 to an absolute address. xet: large files are in Xet's storage.
    """

    def __init__(self, repos, cut=None, cuts=1, status=None, lie=False, ranges=True, page=100, **rare):
        self.repos = {repo: Path(folder) for repo, folder in repos.items()}
        self.cut, self.cuts, self.status, self.lie, self.ranges, self.page = cut, cuts, status, lie, ranges, page
        rare = {"busy": 0, "token": None, "moved": False, "xet": False, **rare}
        self.busy, self.token, self.moved, self.xet = (rare.pop(name) for name in ("busy", "token", "moved", "xet"))
        assert not rare, rare
        self.asked, self.sent, self.was_cut, self.over = [], [], {}, threading.Event()
        self.hold = self.held = None  # hold: a file that is cut, and the line left open; held: it has come to that

    def __enter__(self):
        self.servers = [self._start(elsewhere) for elsewhere in (False, True)]
        self.url, self.other = (f"http://127.0.0.1:{server.server_port}" for server in self.servers)
        return self

    def _start(self, elsewhere):
        handler = type("Handler", (_Handler,), {"hub": self, "elsewhere": elsewhere})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # a client that was killed is meant
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    def __exit__(self, *_):
        self.over.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def fetched(self):
        """The files that were sent, in order, without the listings."""
        return [path for path, _ in self.sent]

    def listing(self, repo):
        """(path, size, sha256 as listed, git's hash) of every file."""
        folder = self.repos[repo]
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            content = path.read_bytes()
            digest = hashlib.sha256(content + b"other" * self.lie).hexdigest()
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            yield path.relative_to(folder).as_posix(), len(content), digest, git

    def commit(self, repo):
        """The hash of a repository's only commit."""
        return hashlib.sha1(repr(list(self.listing(repo))).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub = None
    elsewhere = False
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        path = unquote(url.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.asked.append(Asked(self.command, unquote(self.path), headers, self.elsewhere))
        if self.elsewhere:
            repo = next(repo for repo in self.hub.repos if path.startswith(f"/{repo}/"))
            return self._bytes(repo, path.removeprefix(f"/{repo}/"))
        if self.hub.status:
            return self._send(self.hub.status, b"{}")
        if self.hub.busy > 0:
            self.hub.busy -= 1
            return self._send(429, b"{}", {"Retry-After": "7"})
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._send(401, b"{}", {"X-Error-Message": "Invalid credentials"})
        if self.hub.moved and "moved" not in query:
            there = f"{self.hub.url}{self.path}{'&' if url.query else '?'}moved=1"
            return self._send(308, b"", {"Location": there})
        self._answer(path, query)

    def _answer(self, path, query):
        for repo in self.hub.repos:
            for start, answer in (
                (f"/api/v1/models/{repo}/repo/files", lambda repo, _: self._modelscope_files(repo)),
                (f"/api/v1/models/{repo}/repo", lambda repo, _: self._modelscope_file(repo, query["FilePath"])),
                (f"/api/models/{repo}/tree/", lambda repo, _: self._hub_files(repo, int(query.get("cursor", 0)))),
                (f"/api/models/{repo}/revision/", lambda repo, _: self._hub_model(repo)),
                (f"/{repo}/resolve/", lambda repo, rest: self._hub_file(repo, rest.partition("/")[2])),
                (f"{SMALL}/{repo}/", lambda repo, rest: self._bytes(repo, rest.partition("/")[2])),
            ):
                if path == start or start.endswith("/") and path.startswith(start):
                    return answer(repo, path.removeprefix(start))
        self._json({"Code": 10010205001, "Success": False, "Data": None, "Message": "no such thing"}, 404)

    def _modelscope_files(self, repo):
        files = [
            {"Path": path, "Name": path.split("/")[-1], "Size": size, "Sha256": digest, "Type": "blob"}
            for path, size, digest, _ in self.hub.listing(repo)
        ]
        folders = [{"Path": name, "Name": name, "Size": 0, "Sha256": "", "Type": "tree"} for name in ("unet", "vae")]
        self._json({"Code": 200, "Success": True, "Data": {"Files": folders + files}})

    def _modelscope_file(self, repo, path):
        if path.endswith(LARGE):
            return self._send(302, b"", {"Location": f"{self.hub.other}/{repo}/{quote(path)}"})
        self._bytes(repo, path)

    def _hub_model(self, repo):
        self._json({"_id": "0", "id": repo, "modelId": repo, "sha": self.hub.commit(repo), "siblings": [], "tags": []})

    def _hub_files(self, repo, cursor):
        found = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "unet"}]
        for path, size, digest, git in self.hub.listing(repo):
            lfs = {"lfs": {"oid": digest, "size": size, "pointerSize": 134}} if path.endswith(LARGE) else {}
            xet = {"xetHash": digest} if lfs and self.hub.xet else {}
            found.append({"type": "file", "oid": git, "size": size, "path": path, **lfs, **xet})
        end = cursor + self.hub.page
        following = f"{self.hub.url}/api/models/{repo}/tree/main?recursive=True&cursor={end}"
        self._json(found[cursor:end], links={"Link": f'<{following}>; rel="next"'} if end < len(found) else {})

    def _hub_file(self, repo, path):
        known = {name: rest for name, *rest in self.hub.listing(repo)}
        commit = self.hub.commit(repo)
        if path not in known:
            return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        size, digest, git = known[path]
        headers = {"X-Repo-Commit": commit, "X-Linked-Size": str(size)}
        if not path.endswith(LARGE):
            location = f"{SMALL}/{repo}/{commit}/{quote(path)}"
            return self._send(307, b"", {**headers, "ETag": f'"{git}"', "Location": location + "?moved=1"})
        if self.hub.xet:
            auth = f'<{self.hub.url}/api/models/{repo}/xet-read-token/{commit}>; rel="xet-auth"'
            headers.update({"X-Xet-Hash": digest, "Link": auth})
        headers |= {"X-Linked-ETag": f'"{digest}"', "Location": f"{self.hub.other}/{repo}/{quote(path)}"}
        self._send(302, b"", headers)

    def _bytes(self, repo, path):
        """A file: part of it if that is asked for, packed if it is small and may be, broken off if it has to be."""
        file = self.hub.repos[repo] / path
        if not file.is_file():
            return self._send(404, b"{}")
        content, start = file.read_bytes(), 0
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        headers = {"ETag": f'"{git}"', "X-Repo-Commit": self.hub.commit(repo), "Accept-Ranges": "bytes"}
        if self.hub.ranges and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(content) or self.hub.ranges == "refused":
                return self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        status = 206 if "Content-Range" in headers else 200
        if self.command != "HEAD":
            self.hub.sent.append((path, start))
        if not path.endswith(LARGE) and status == 200 and "gzip" in self.headers.get("Accept-Encoding", ""):
            return self._packed(content, headers)
        body, cut = content[start:], self.hub.cut
        if cut and len(body) > cut and self.hub.was_cut.get(path, 0) < self.hub.cuts and self.command == "GET":
            self.hub.was_cut[path] = self.hub.was_cut.get(path, 0) + 1
            self._send(status, body[:cut], {**headers, "Content-Length": str(len(body))})
            if path == self.hub.hold:
                self.wfile.flush()
                self.hub.held = path
                self.hub.over.wait(600)
            self.close_connection = True
        else:
            self._send(status, body, headers)

    def _packed(self, content, headers):
        """As the hub sends text: gzip, in one chunk, without a length."""
        body = gzip.compress(content)
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        packed = {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked", "Content-Length": None}
        self._send(200, chunks, {**headers, **packed})

    def _json(self, content, status=200, links=None):
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(links or {})})

    def _send(self, status, body, extra=None):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(extra or {})}.items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
