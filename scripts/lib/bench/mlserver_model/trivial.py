"""The trivial function as a runtime of MLServer: as many ones as rows."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Trivial(MLModel):
    """Loaded by MLServer; named in model-settings.json."""

    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = payload.inputs[0].shape[0]
        answer = NumpyCodec.encode_output("predict", np.ones((rows, 1)))
        return InferenceResponse(model_name=self.name, outputs=[answer])
