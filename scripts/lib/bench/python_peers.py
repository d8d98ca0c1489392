"""MLServer, for those who wonder what a Python server does with a forest of the same size.

Its model is scikit-learn's, trained on the same data, so its numbers are its own and the
time of one prediction too: a comparison of servers in kind, not of the same work.
"""

import json
from pathlib import Path

from client import Endpoint
from processes import Failure
from server import PYTHON, WORKERS, Server, free_port, output
from workloads import FOREST, TRIVIAL

HERE = Path(__file__).resolve().parent / "mlserver_model"


class MLServer(Server):
    """Two inference processes, no batching: its default."""

    key = "mlserver"
    title = f"MLServer, {WORKERS} workers"
    kind = PYTHON
    tolerance = None
    # Keys of model-settings.json.
    batching: dict[str, float] = {}

    def prepare(self) -> None:
        if not self.program("mlserver").exists():
            raise Failure("MLServer is not installed; run BENCH_MLSERVER=1 scripts/setup bench")
        for model in (FOREST, TRIVIAL):
            (self.directory / model).mkdir(exist_ok=True)
        trained = self.directory / FOREST / "model.joblib"
        if not trained.exists():
            output([str(self.program("python")), str(HERE / "train.py"), str(self.paths.work / "boston.csv"), str(trained)])
        (self.directory / TRIVIAL / "trivial.py").write_bytes((HERE / "trivial.py").read_bytes())
        settings = {
            FOREST: {
                "implementation": "mlserver_sklearn.SKLearnModel",
                "parameters": {"uri": "./model.joblib"},
            },
            TRIVIAL: {"implementation": "trivial.Trivial"},
        }
        for model, keys in settings.items():
            text = json.dumps({"name": model, **keys, **self.batching})
            (self.directory / model / "model-settings.json").write_text(text)

    def program(self, name: str) -> Path:
        return self.paths.target / "venv-mlserver" / "bin" / name

    def command(self, model: str) -> tuple[list[str], dict[str, str]]:
        environment = {
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": str(self.port),
            "MLSERVER_GRPC_PORT": str(free_port()),
            "MLSERVER_METRICS_PORT": str(free_port()),
            "MLSERVER_PARALLEL_WORKERS": str(WORKERS),
            "MLSERVER_DEBUG": "false",
            "PYTHONPATH": str(self.directory / model),
        }
        return [str(self.program("mlserver")), "start", str(self.directory / model)], environment

    def endpoint(self, model: str, rows: int) -> Endpoint:
        return Endpoint(self.port, f"/v2/models/{model}/infer", self.body(model, rows), key="outputs.0.data")

    def body(self, model: str, rows: int) -> bytes:
        """The records as one tensor of the Open Inference Protocol."""
        records = json.loads(super().body(model, rows))
        data = [value for record in records for value in record.values()]
        tensor = {"name": "x", "shape": [len(records), len(records[0])], "datatype": "FP64", "data": data}
        return json.dumps({"inputs": [tensor]}).encode()

    def version(self) -> str:
        script = 'from importlib.metadata import version; print(version("mlserver"))'
        return output([str(self.program("python")), "-c", script])


class MLServerBatching(MLServer):
    """The same with adaptive batching, which waits up to 10 ms for a batch to fill."""

    key = "mlserver-batching"
    title = f"MLServer, {WORKERS} workers, adaptive batching"
    batching = {"max_batch_size": 64, "max_batch_time": 0.01}
