"""The server's certificates: two pairs that callers trust, of which one is in place."""

import os
import ssl
from pathlib import Path

from server import output


class Certificates:
    """Pairs in folders of their own; a link says which one is in place, so that both files are exchanged at once."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.ca = directory / "trusted.pem"
        self.certificate, self.key = (directory / "in-place" / name for name in ("server.pem", "server-key.pem"))
        self.current = 0

    def make(self) -> None:
        pairs = [self.pair(number) for number in (0, 1)]
        self.ca.write_text("".join((pair / "server.pem").read_text() for pair in pairs))
        self.put(0)

    def pair(self, number: int) -> Path:
        pair = self.directory / f"pair-{number}"
        pair.mkdir(parents=True, exist_ok=True)
        # Signed by itself: callers trust the certificate, and no authority.
        output([
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-keyout", str(pair / "server-key.pem"), "-out", str(pair / "server.pem"),
            "-subj", f"/CN=chaos {number}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ])  # fmt: skip
        return pair

    def exchange(self) -> None:
        """Puts the other pair in place."""
        self.put(1 - self.current)

    def put(self, number: int) -> None:
        partial = self.directory / "next"
        partial.unlink(missing_ok=True)
        partial.symlink_to(f"pair-{number}")
        os.rename(partial, self.directory / "in-place")
        self.current = number

    def is_shown(self, port: int) -> bool:
        """Whether the server shows the pair that is in place."""
        shown = ssl.get_server_certificate(("127.0.0.1", port), ca_certs=str(self.ca), timeout=10)
        return ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
