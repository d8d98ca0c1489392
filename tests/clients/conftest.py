"""The server that tests/clients/run started, as its own output describes it."""

import os
import pathlib
import re
import shlex
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def curl_line():
    output = pathlib.Path(os.environ["RSCORE_SERVE_OUTPUT"]).read_text()
    return next(line for line in output.splitlines() if line.startswith("curl "))


@pytest.fixture(scope="session")
def words(curl_line):
    return shlex.split(curl_line)


@pytest.fixture(scope="session")
def authority(words):
    """The CA's certificate, as a path."""
    return str(ROOT / words[words.index("--cacert") + 1])


@pytest.fixture(scope="session")
def token(curl_line):
    return re.search(r"Bearer ([^']+)'", curl_line).group(1)


@pytest.fixture(scope="session")
def base(curl_line):
    return re.search(r"https://[^/ ]+", curl_line).group(0)


@pytest.fixture(scope="session")
def session(authority, token):
    import requests

    session = requests.Session()
    # Otherwise a CA bundle named in the environment would win over the next line.
    session.trust_env = False
    session.verify = authority
    session.headers["Authorization"] = f"Bearer {token}"
    return session


@pytest.fixture(scope="session")
def boston():
    """Every row of MASS::Boston with the prediction that R itself gives, both to the last bit."""
    code = """
      suppressMessages(library(randomForest))
      model <- readRDS("models/boston/1/model.rds")
      data <- MASS::Boston[names(MASS::Boston) != "medv"]
      text <- vapply(data, function(x) sprintf("%.17g", x), character(nrow(data)))
      cat(paste(names(data), collapse = " "), "\\n")
      cat(paste(apply(text, 1, paste, collapse = " "), sprintf("%.17g", predict(model, data))), sep = "\\n")
    """
    text = subprocess.run(["Rscript", "--vanilla", "-e", code], cwd=ROOT, check=True, capture_output=True, text=True)
    names, *lines = text.stdout.split("\n")
    rows = [[float(word) for word in line.split()] for line in lines if line]
    columns = names.split()
    return [(dict(zip(columns, row)), row[-1]) for row in rows]
