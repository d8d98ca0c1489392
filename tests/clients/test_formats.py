"""Tables of pyarrow and csv on their way to R and back, and curl that streams."""

import csv
import io
import json
import subprocess

import pyarrow as arrow
import pyarrow.ipc
import pyarrow.parquet

from conftest import ROOT

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"


def predict(session, base, body, content_type, accept):
    headers = {"Content-Type": content_type, "Accept": accept}
    answer = session.post(f"{base}/models/boston/predict", data=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].split(";")[0] == accept
    return answer.content


def stream_of(table, rows_per_batch=100):
    sink = io.BytesIO()
    with arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows_per_batch)
    return sink.getvalue()


def file_of(table):
    sink = io.BytesIO()
    arrow.parquet.write_table(table, sink)
    return sink.getvalue()


def table_of(boston):
    table = arrow.Table.from_pylist([row for row, _ in boston])
    # What a careful writer would send: whole numbers as small integers.
    for name in ["chas", "rad", "tax"]:
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(arrow.int32()))
    return table


def test_arrow_and_parquet_there_and_back(session, base, boston):
    expected = [value for _, value in boston]
    table = table_of(boston)
    answer = predict(session, base, stream_of(table), ARROW, ARROW)
    assert arrow.ipc.open_stream(answer).read_all()["prediction"].to_pylist() == expected
    answer = predict(session, base, file_of(table), PARQUET, PARQUET)
    assert arrow.parquet.read_table(io.BytesIO(answer))["prediction"].to_pylist() == expected


def test_csv_and_lines(session, base, boston):
    expected = [value for _, value in boston]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(boston[0][0]))
    writer.writeheader()
    writer.writerows(row for row, _ in boston)
    answer = predict(session, base, text.getvalue().encode(), "text/csv", "text/csv")
    assert [float(row["prediction"]) for row in csv.DictReader(io.StringIO(answer.decode()))] == expected
    lines = "\n".join(json.dumps(row) for row, _ in boston)
    answer = predict(session, base, lines.encode(), "application/x-ndjson", "application/x-ndjson")
    assert [float(line) for line in answer.splitlines()] == expected


def test_a_column_of_the_wrong_type_is_named(session, base, boston):
    table = table_of(boston).set_column(0, "crim", arrow.array(["much"] * len(boston)))
    for body, content_type in [(stream_of(table), ARROW), (file_of(table), PARQUET)]:
        answer = session.post(f"{base}/models/boston/predict", data=body, headers={"Content-Type": content_type})
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["column"] == "crim"
        assert "string" in answer.json()["errors"][0]["got"] or "Utf8" in answer.json()["errors"][0]["got"]


def stream_with_curl(base, authority, token, rows, *options):
    command = ["curl", "-sS", "--cacert", authority, "-H", f"Authorization: Bearer {token}", *options]
    command += ["-H", "Content-Type: application/x-ndjson", "-H", "Accept: text/csv", "-X", "POST", "-T", "-"]
    command += [f"{base}/models/boston/predict"]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    return subprocess.run(command, cwd=ROOT, input=lines, capture_output=True, text=True, timeout=120)


def test_curl_streams_a_table(base, authority, token, boston):
    """`curl -T -` sends as it reads, without a length, and takes the answer meanwhile."""
    for version in ["--http1.1", "--http2"]:
        answer = stream_with_curl(base, authority, token, [row for row, _ in boston] * 20, version)
        assert answer.returncode == 0, answer.stderr
        header, *values = answer.stdout.splitlines()
        assert header == "prediction"
        assert [float(value) for value in values] == [value for _, value in boston] * 20


def test_curl_reports_an_answer_that_was_broken_off(base, authority, token, boston):
    """What is wrong with a late row can't be told by the status any more."""
    rows = [row for row, _ in boston] * 20
    for version, code in [("--http1.1", 18), ("--http2", 92)]:
        answer = stream_with_curl(base, authority, token, [*rows, {**rows[0], "crim": "much"}], version)
        assert answer.returncode == code, answer.stderr
        header, *values = answer.stdout.splitlines()
        expected = ([value for _, value in boston] * 20)[: len(values)]
        assert header == "prediction" and [float(value) for value in values] == expected and 0 < len(values) < len(rows)
