"""Spans as a collector gets them: by way of Rotel, an OpenTelemetry collector, and from the server itself."""

import contextlib
import gzip
import http.server
import importlib.resources
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

ROOT = pathlib.Path(__file__).resolve().parents[2]
STAGES = {"receive", "decode", "dispatch", "queue", "convert", "score", "encode"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SERVER, INTERNAL = 2, 1
ERROR = 2


class Receiver:
    """Takes OTLP over HTTP and decodes it with the messages that OpenTelemetry generates."""

    def __init__(self, port=0, tls=None):
        self.requests, self.lock = [], threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                with receiver.lock:
                    receiver.requests.append((self.path, dict(self.headers), ExportTraceServiceRequest.FromString(body)))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def spans(self):
        """All spans, each with the attributes of its resource."""
        with self.lock:
            messages = [message for _, _, message in self.requests]
        return [
            (span, attributes(group.resource))
            for message in messages
            for group in message.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    def server_span(self, request_id):
        """The span of a request; None as long as it has not come with all its children."""
        for span, _ in self.spans():
            if attributes(span).get("rscore.request.id") == request_id:
                return span
        return None


def attributes(holder):
    def value(any_value):
        return getattr(any_value, any_value.WhichOneof("value"))

    return {attribute.key: value(attribute.value) for attribute in holder.attributes}


def wait_for(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.02)
    pytest.fail(f"{what} did not come in {seconds} s")


class Server:
    """`rscore serve --dev` with a model, and settings by environment."""

    def __init__(self, directory, settings):
        models = directory / "models"
        if not models.exists():
            models.mkdir()
            shutil.copytree(ROOT / "models/rides", models / "rides")
        self.output, self.log_file = directory / "stdout", directory / "stderr"
        foreign = {name: value for name, value in os.environ.items() if not name.startswith("RSCORE_")}
        with open(self.output, "w") as output, open(self.log_file, "w") as log:
            arguments = ["serve", "--dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workers", "1"]
            self.process = subprocess.Popen(
                [os.environ["RSCORE_BINARY"], *arguments, "--models", models],
                cwd=ROOT,
                env={**foreign, "RSCORE_LOG__FORMAT": "json", "RSCORE_SERVER__SHUTDOWN_DELAY": "0s", **settings},
                stdout=output,
                stderr=log,
            )
        line = wait_for("the curl line", self.curl_line)
        self.base = re.search(r"https://[^/ ]+", line).group(0)
        self.operator = re.search(r"metrics and probes: (http://[^)]+)\)", self.output.read_text()).group(1)
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(ROOT / "certs/dev/ca.pem")
        self.session.headers["Authorization"] = "Bearer " + re.search(r"Bearer ([^']+)'", line).group(1)

    def curl_line(self):
        assert self.process.poll() is None, self.log_file.read_text()
        return next((line for line in self.output.read_text().splitlines() if line.startswith("curl ")), None)

    def predict(self, request_id, rows=None, **headers):
        rows = rows if rows is not None else json.loads((ROOT / "models/rides/1/sample.json").read_text())
        headers = {"X-Request-Id": request_id, **headers}
        return self.session.post(f"{self.base}/models/rides/predict", json=rows, headers=headers)

    def counted(self, outcome):
        text = requests.get(f"{self.operator}/metrics").text
        return float(re.search(rf'^rscore_trace_spans_total{{outcome="{outcome}"}} (\S+)$', text, re.MULTILINE).group(1))

    def log(self):
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    def line_of(self, request_id):
        return next(line for line in self.log() if line.get("request.id") == request_id and "status" in line)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def serving(directory, **settings):
    server = Server(directory, settings)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


@contextlib.contextmanager
def receiving(**arguments):
    receiver = Receiver(**arguments)
    try:
        yield receiver
    finally:
        receiver.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def behind():
    """What the collector hands on."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def collector(behind, tmp_path_factory):
    """A collector that takes OTLP and hands it on; its URL."""
    directory = tmp_path_factory.mktemp("collector")
    agent = importlib.resources.files("rotel") / "rotel-agent"
    # On a port that was free and that nobody else takes, in one of a few attempts.
    for _ in range(5):
        port = free_port()
        process = subprocess.Popen(
            [
                agent,
                "start",
                f"--otlp-http-endpoint=127.0.0.1:{port}",
                f"--otlp-grpc-endpoint=127.0.0.1:{free_port()}",
                "--exporter=otlp",
                f"--otlp-exporter-endpoint=http://127.0.0.1:{behind.port}",
                "--otlp-exporter-protocol=http",
                f"--pid-file={directory}/pid",
                f"--log-file={directory}/log",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if wait_for("the collector", lambda: process.poll() is not None or listens(port)) and process.poll() is None:
                yield f"http://127.0.0.1:{port}"
                return
        finally:
            process.terminate()
            process.wait(30)
    pytest.fail("the collector did not start")


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def server(collector, tmp_path_factory):
    settings = {"RSCORE_TRACES__ENDPOINT": collector, "RSCORE_TRACES__INTERVAL": "100ms"}
    with serving(tmp_path_factory.mktemp("server"), RSCORE_TRACES__SERVICE_NAME="rides-service", **settings) as server:
        yield server


def tree(receiver, request_id):
    """The span of a request and those below it by name, as soon as all have come."""

    def complete():
        root = receiver.server_span(request_id)
        if root is None:
            return None
        below = [span for span, _ in receiver.spans() if span.trace_id == root.trace_id and span.span_id != root.span_id]
        named = {span.name: span for span in below}
        assert len(named) == len(below), "two of one name"
        return (root, named) if set(named) == STAGES else None

    return wait_for(f"the spans of {request_id}", complete)


def test_a_request_is_a_trace_in_a_collector(server, behind):
    server.predict("alone").raise_for_status()
    root, below = tree(behind, "alone")
    assert (root.name, root.kind, root.parent_span_id) == ("POST /models/{name}/predict", SERVER, b"")
    told = attributes(root)
    expected = {
        "http.request.method": "POST",
        "http.route": "/models/{name}/predict",
        "http.response.status_code": 200,
        "url.path": "/models/rides/predict",
        "url.scheme": "https",
        "rscore.model.name": "rides",
        "rscore.model.version": 1,
    }
    assert {key: told.get(key) for key in expected} == expected
    assert told["rscore.rows"] > 0
    dispatch = below["dispatch"]
    assert attributes(dispatch)["rscore.batch.rows"] == told["rscore.rows"]
    assert attributes(dispatch)["rscore.worker.id"] >= 1
    for name, span in below.items():
        parent = dispatch if name in ("queue", "convert", "score") else root
        assert span.parent_span_id == parent.span_id, name
        assert span.kind == INTERNAL, name
        assert parent.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano, name
        assert span.end_time_unix_nano <= parent.end_time_unix_nano, name
    assert below["score"].end_time_unix_nano > below["score"].start_time_unix_nano
    assert abs(root.end_time_unix_nano / 1e9 - time.time()) < 600
    _, resource = next((span, resource) for span, resource in behind.spans() if span.span_id == root.span_id)
    assert resource["service.name"] == "rides-service"
    assert re.fullmatch(r"\d+\.\d+\.\d+", resource["service.version"])


def test_a_trace_of_the_caller_goes_on(server, behind):
    caller = f"00-{TRACE}-00f067aa0ba902b7-01"
    server.predict("child", traceparent=caller, tracestate="vendor=7").raise_for_status()
    root, _ = tree(behind, "child")
    assert (root.trace_id.hex(), root.parent_span_id.hex(), root.trace_state) == (TRACE, "00f067aa0ba902b7", "vendor=7")
    line = wait_for("the line", lambda: server.line_of("child"))
    assert line["trace.id"] == TRACE
    assert line["traceparent"] == f"00-{TRACE}-{root.span_id.hex()}-01", "the log names the span of the server"


def test_a_caller_that_does_not_sample_leaves_no_span(server, behind):
    other = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    server.predict("unsampled", traceparent=f"00-{other}-00f067aa0ba902b7-00").raise_for_status()
    # What comes after it has come: so would it have.
    server.predict("later").raise_for_status()
    tree(behind, "later")
    assert all(span.trace_id.hex() != other for span, _ in behind.spans())
    assert server.line_of("unsampled")["trace.id"] == other


def test_refusals_and_streams_are_traced(server, behind):
    assert server.predict("refused", rows=[{"wrong": 1}]).status_code == 422
    span = wait_for("the span", lambda: behind.server_span("refused"))
    assert attributes(span)["http.response.status_code"] == 422
    assert span.status.code != ERROR, "a mistake of the caller is none of the server"
    row = json.loads((ROOT / "models/rides/1/sample.json").read_text())[0]

    def lines():
        for _ in range(3000):
            yield json.dumps(row).encode() + b"\n"

    headers = {"Content-Type": "application/x-ndjson", "X-Request-Id": "streamed"}
    answer = server.session.post(f"{server.base}/models/rides/predict", data=lines(), headers=headers)
    answer.raise_for_status()
    root = wait_for("the span", lambda: behind.server_span("streamed"))
    assert attributes(root)["rscore.rows"] == 3000

    def scored():
        below = [span for span, _ in behind.spans() if span.trace_id == root.trace_id]
        return sum(span.name == "score" for span in below) >= 3

    wait_for("a span for each chunk", scored)


def test_nothing_is_lost_at_the_end_and_secrets_stay_secret(tmp_path):
    """Over TLS, with headers from a file; the interval is longer than the test."""
    headers = tmp_path / "headers"
    headers.write_text("# of the vendor\nAuthorization: Bearer swordfish\n")
    tls = (ROOT / "certs/dev/server.pem", ROOT / "certs/dev/server-key.pem")
    with receiving(tls=tls) as receiver:
        settings = {
            "RSCORE_TRACES__ENDPOINT": f"https://localhost:{receiver.port}/otlp/",
            "RSCORE_TRACES__HEADERS_FILE": str(headers),
            "RSCORE_TRACES__INTERVAL": "1h",
            "SSL_CERT_FILE": str(ROOT / "certs/dev/ca.pem"),
        }
        with serving(tmp_path, **settings) as server:
            server.predict("last").raise_for_status()
            assert receiver.spans() == []
            assert server.stop() == 0
            tree(receiver, "last")
            assert "swordfish" not in server.log_file.read_text()
        [(path, sent, _)] = receiver.requests
        assert path == "/otlp/v1/traces"
        assert (sent["authorization"], sent["content-type"]) == ("Bearer swordfish", "application/x-protobuf")


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    tls = (ROOT / "certs/dev/server.pem", ROOT / "certs/dev/server-key.pem")
    with receiving(tls=tls) as receiver:
        endpoint = f"https://localhost:{receiver.port}"
        with serving(tmp_path, RSCORE_TRACES__ENDPOINT=endpoint, RSCORE_TRACES__INTERVAL="50ms") as server:
            server.predict("unsafe").raise_for_status()
            wait_for("the failure", lambda: server.counted("failed") > 0)
        assert receiver.requests == []
        assert any("certificate" in line["message"] for line in server.log() if line["level"] == "WARN")


def test_a_collector_that_is_away_harms_no_request(tmp_path):
    port = free_port()
    settings = {"RSCORE_TRACES__ENDPOINT": f"http://127.0.0.1:{port}", "RSCORE_TRACES__INTERVAL": "50ms"}
    with serving(tmp_path, **settings) as server:
        lost = 0
        for _ in range(3):
            for _ in range(10):
                server.predict("away").raise_for_status()
            wait_for("the failure", lambda: server.counted("failed") > lost)
            lost = server.counted("failed")
        complaints = [line for line in server.log() if "traces can't be sent" in line["message"]]
        assert len(complaints) == 1, "said once, not for each batch"
        assert "refused" in complaints[0]["message"]
        assert server.counted("exported") == 0
        with receiving(port=port) as receiver:
            server.predict("back").raise_for_status()
            tree(receiver, "back")
            wait_for("the count", lambda: server.counted("exported") >= len(STAGES) + 1)
            wait_for("the word", lambda: any("traces are sent again" in line["message"] for line in server.log()))
            assert server.stop() == 0


def test_settings_that_make_no_sense_end_the_start(tmp_path):
    def start(**settings):
        environment = {"PATH": os.environ["PATH"], **settings}
        arguments = [os.environ["RSCORE_BINARY"], "serve", "--dev", "--models", ROOT / "models"]
        return subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    headers = tmp_path / "headers"
    headers.write_text("swordfish")
    for settings, complaint in [
        ({"RSCORE_TRACES__ENDPOINT": "collector:4318"}, "traces.endpoint"),
        ({"RSCORE_TRACES__ENDPOINT": "https://me:swordfish@collector"}, "traces.endpoint"),
        ({"RSCORE_TRACES__SAMPLE_RATIO": "2"}, "traces.sample_ratio"),
        (
            {"RSCORE_TRACES__ENDPOINT": "http://127.0.0.1:1", "RSCORE_TRACES__HEADERS_FILE": str(headers)},
            "traces.headers_file",
        ),
    ]:
        result = start(**settings)
        assert result.returncode == 64, result.stderr
        assert complaint in result.stderr
        assert "swordfish" not in result.stderr + result.stdout
