"""Where batch runs read and write: a folder, or a container of Azurite, the emulator of
Azure Blob storage, with a client that needs nothing but Python."""

import base64
import hashlib
import hmac
import os
import re
import secrets
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree
from pathlib import Path

from processes import Failure, ServerProcess

ACCOUNT = "rscore"
CONTAINER = "retail"
# Of the protocol.
VERSION = "2019-12-12"


class Azurite:
    """A running emulator with one container. Use it as a context manager."""

    def __init__(self, target: Path, directory: Path, patience: float = 30.0):
        program = target / "tools" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
        if not program.exists():
            raise Failure("Azurite is not installed: scripts/setup test")
        self.key = base64.b64encode(secrets.token_bytes(32)).decode()
        log = directory / "azurite.log"
        command = ["node", str(program), "--blobHost", "127.0.0.1", "--blobPort", "0"]
        command += ["--location", str(directory / "azurite"), "--skipApiVersionCheck", "--disableTelemetry"]
        directory.mkdir(parents=True, exist_ok=True)
        self.process = ServerProcess("Azurite", command, {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"}, directory, log)
        try:
            self.endpoint = f"{self._address(patience)}/{ACCOUNT}"
            self._send("PUT", f"{self.endpoint}/{CONTAINER}?restype=container&{self.signature}")
        except BaseException:
            self.process.stop()
            raise

    def _address(self, patience: float) -> str:
        limit = time.monotonic() + patience
        while not (found := re.search(r"listens on (http://\S+)", self.process.log.read_text(errors="replace"))):
            self.process.check_alive()
            if time.monotonic() > limit:
                raise Failure(f"Azurite does not listen after {patience:.0f} s; see {self.process.log}")
            time.sleep(0.02)
        return found[1]

    def __enter__(self) -> "Azurite":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    @property
    def environment(self) -> dict[str, str]:
        """For rscore."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": self.key,
            "AZURE_STORAGE_ENDPOINT": self.endpoint,
        }

    @property
    def signature(self) -> str:
        """A shared access signature of the account, for a day, as a query."""
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
        fields = {"sp": "rwdlac", "ss": "b", "srt": "sco", "se": end, "sv": VERSION}
        signed = [ACCOUNT, fields["sp"], fields["ss"], fields["srt"], "", fields["se"], "", "", VERSION, ""]
        text = "\n".join(signed)
        digest = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        return urllib.parse.urlencode({**fields, "sig": base64.b64encode(digest).decode()})

    def write(self, path: str, contents: bytes) -> None:
        self._send("PUT", self.url(path), contents, {"x-ms-blob-type": "BlockBlob"})

    def read(self, path: str) -> bytes:
        return self._send("GET", self.url(path))

    def list(self, prefix: str) -> list[str]:
        """Paths of all objects whose paths begin so."""
        return list(self.versions(prefix))

    def versions(self, prefix: str) -> dict[str, str]:
        """Those paths, each with a text that is another one after every write."""
        found, marker = {}, ""
        while True:
            query = urllib.parse.urlencode({"restype": "container", "comp": "list", "prefix": prefix, "marker": marker})
            answer = self._send("GET", f"{self.endpoint}/{CONTAINER}?{query}&{self.signature}")
            page = xml.etree.ElementTree.fromstring(answer)
            for blob in page.iterfind("./Blobs/Blob"):
                found[blob.findtext("Name", "")] = blob.findtext("Properties/Etag", "")
            marker = page.findtext("NextMarker") or ""
            if not marker:
                return found

    def url(self, path: str) -> str:
        """Of an object, for whoever can't sign."""
        return f"{self.endpoint}/{CONTAINER}/{urllib.parse.quote(path)}?{self.signature}"

    def location(self, path: str) -> str:
        """As a job file names it."""
        return f"az://{CONTAINER}/{path}"

    def _send(self, method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        headers = {"x-ms-version": VERSION, "Content-Length": str(len(body or b"")), **(headers or {})}
        request = urllib.request.Request(url, data=body, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read()


class Folder:
    """A folder of this machine, with the interface of the emulator."""

    environment: dict[str, str] = {}

    def __init__(self, directory: Path):
        self.directory = directory

    def write(self, path: str, contents: bytes) -> None:
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents)

    def read(self, path: str) -> bytes:
        return (self.directory / path).read_bytes()

    def list(self, prefix: str) -> list[str]:
        return list(self.versions(prefix))

    def versions(self, prefix: str) -> dict[str, str]:
        files = (Path(folder, name) for folder, _, names in os.walk(self.directory) for name in names)
        found = {}
        for file in files:
            path = file.relative_to(self.directory).as_posix()
            # A process that was killed while it wrote leaves `name#1`, which was not renamed yet.
            if path.startswith(prefix) and not re.search(r"#\d+$", path):
                status = file.stat()
                found[path] = f"{status.st_ino} {status.st_mtime_ns}"
        return found

    def location(self, path: str) -> str:
        return str(self.directory / path)
