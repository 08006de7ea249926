"""Ask Triton itself, without our server: `python triton_client.py "Thank you so much"`.

Needs `pip install 'tritonclient[all]'`, and Triton: `make triton`. The text model takes text; who sends much tokenizes first and asks
`emotion_classifier`, as our server does.
"""

from __future__ import annotations

import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http


def main(text: str, grpc: str = "127.0.0.1:8001", http: str = "127.0.0.1:8000") -> None:
    for library, address in ((tritonclient.grpc, grpc), (tritonclient.http, http)):
        with library.InferenceServerClient(address) as client:
            texts = np.array([[text.encode()]], np.object_)  # (texts, 1); up to 64 texts
            tensor = library.InferInput("text", texts.shape, "BYTES")
            tensor.set_data_from_numpy(texts)
            answer = client.infer("emotion_text", [tensor])
            labels = answer.as_numpy("labels")[0, 0].decode()
            best = answer.as_numpy("probabilities")[0].max()
            print(f"{address}: {labels} (highest probability {best:.3f})")


main(*sys.argv[1:])
