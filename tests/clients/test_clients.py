"""Clients that exist: curl as the server prints it, Python's requests and standard library, PyJWT."""

import concurrent.futures
import http.client
import json
import ssl
import subprocess
import time
import urllib.parse

import jwt
import requests

from conftest import ROOT


def predict(session, base, model, body, **kwargs):
    return session.post(f"{base}/models/{model}/predict", json=body, timeout=30, **kwargs)


def test_the_printed_curl_line(curl_line, boston):
    answer = subprocess.run(["bash", "-c", curl_line], cwd=ROOT, check=True, capture_output=True, text=True)
    assert json.loads(answer.stdout)["predictions"] == [boston[0][1]]


def test_all_rows_in_every_form(session, base, boston):
    rows = [row for row, _ in boston]
    expected = [value for _, value in boston]
    names = list(rows[0])
    forms = [
        rows,
        {name: [row[name] for row in rows] for name in names},
        {"columns": names, "data": [list(row.values()) for row in rows]},
    ]
    for form in forms:
        assert predict(session, base, "boston", form).json()["predictions"] == expected


def test_sixty_four_callers_at_once_get_their_own_rows(session, base, boston):
    """Good rows, bad ones and unknown levels at once: each caller gets its own answer, to the bit."""

    def call(number):
        row, expected = boston[number % len(boston)]
        if number % 10 == 3:
            answer = predict(session, base, "boston", [{**row, "crim": "oops"}])
            return answer.status_code == 422 and answer.json()["errors"][0]["column"] == "crim"
        if number % 10 == 7:
            answer = predict(session, base, "rides", [{"weather": "hail", "day": "2024-05-01", "temperature": 20, "holiday": False}])
            return answer.status_code == 422 and answer.json()["errors"][0]["column"] == "weather"
        answer = predict(session, base, "boston", [row])
        return answer.status_code == 200 and answer.json()["predictions"] == [expected]

    with concurrent.futures.ThreadPoolExecutor(64) as callers:
        assert all(callers.map(call, range(2000)))


def test_a_missing_value_is_null_and_stays_in_its_row(session, base, boston):
    rows = [dict(boston[0][0]), dict(boston[1][0]), dict(boston[2][0])]
    rows[1]["crim"] = None
    del rows[2]["crim"]
    assert predict(session, base, "boston", rows).json()["predictions"] == [boston[0][1], None, None]


def test_a_token_of_pyjwt(base, authority):
    key = (ROOT / "certs/dev/signing-key.pem").read_text()
    claims = {"sub": "python", "scope": "score:mpg", "exp": int(time.time()) + 60}
    headers = {"Authorization": f"Bearer {jwt.encode(claims, key, algorithm='EdDSA')}"}
    rows = [{"wt": 2.62, "hp": 110, "am": 1}]
    url = f"{base}/models/{{}}/predict"
    assert requests.post(url.format("mpg"), json=rows, headers=headers, verify=authority, timeout=30).status_code == 200
    assert requests.post(url.format("boston"), json=rows, headers=headers, verify=authority, timeout=30).status_code == 403
    claims["exp"] = int(time.time()) - 3600
    headers = {"Authorization": f"Bearer {jwt.encode(claims, key, algorithm='EdDSA')}"}
    assert requests.post(url.format("mpg"), json=rows, headers=headers, verify=authority, timeout=30).status_code == 401


def test_the_standard_library(base, authority, token, boston):
    address = urllib.parse.urlsplit(base)
    context = ssl.create_default_context(cafile=authority)
    connection = http.client.HTTPSConnection(address.hostname, address.port, context=context, timeout=30)
    for row, expected in boston[:20]:
        connection.request(
            "POST",
            "/models/boston/predict",
            json.dumps([row]),
            {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        )
        answer = connection.getresponse()
        assert json.loads(answer.read())["predictions"] == [expected]


def test_the_certificate_is_checked(base, token):
    try:
        requests.get(f"{base}/models", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    except requests.exceptions.SSLError:
        return
    raise AssertionError("a client without the CA got through")
