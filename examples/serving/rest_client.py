r"""Asks a model in TF Serving over REST, and prints the answer as JSON.

    python examples/serving/rest_client.py http://localhost:8501 movies --metadata
    python examples/serving/rest_client.py http://localhost:8501 movies \
        '{"user_id": ["user_1", "never seen", {"b64": "/wA="}]}'

Needs `requests` alone. In a program, open one session with `connect` for each thread
and keep it: it holds its connections open.
"""

import argparse
import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry


def connect() -> requests.Session:
    """Returns a session that asks again where the server is out of threads or away.

    A predict request changes nothing, so it may be sent twice. One that timed out is
    not: a server that is slow already would get more to do.
    """
    retry = Retry(
        total=3,
        read=False,
        backoff_factor=0.05,
        status_forcelist=[429, 503],
        allowed_methods=None,
        raise_on_status=False,
        # A proxy may say an hour, and a call would sleep so long, whatever its timeout.
        respect_retry_after_header=False,
    )
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def predict(
    session: requests.Session,
    url: str,
    model: str,
    inputs: Mapping[str, Any],
    signature: str = "serving_default",
    version: int | None = None,
    timeout: float = 1.0,
) -> Any:
    """Returns the outputs of a model: lists by their names, or one list if it has one.

    Args:
      session: From `connect`.
      url: Of the server, such as `http://localhost:8501`.
      model: The name of the model.
      inputs: Arrays or nested lists by the names of the inputs. Bytes are sent as
        `{"b64": ...}`; text is sent as it is.
      signature: The name of the signature.
      version: The version to ask; the latest one if None.
      timeout: Seconds to wait for the answer to each attempt.

    Raises:
      requests.HTTPError: If the server refuses, with what it says: status 400 if
        the inputs or the signature do not fit, 404 for an unknown model or version.
      requests.RequestException: If there is no answer.
      ValueError: If the answer has strings that are no UTF-8.
    """
    body = {"signature_name": signature, "inputs": inputs}
    response = session.post(
        _path(url, model, version) + ":predict",
        data=json.dumps(body, default=_json),
        timeout=timeout,
    )
    return _content(response)["outputs"]


def metadata(
    session: requests.Session,
    url: str,
    model: str,
    version: int | None = None,
    timeout: float = 1.0,
) -> Any:
    """Returns the signatures of a model as the server describes them."""
    response = session.get(_path(url, model, version) + "/metadata", timeout=timeout)
    return _content(response)["metadata"]["signature_def"]["signature_def"]


def status(
    session: requests.Session, url: str, model: str, timeout: float = 1.0
) -> dict[int, str]:
    """Returns the state of each version, such as `AVAILABLE`.

    AVAILABLE says that a version was loaded, not that it can answer.
    """
    content = _content(session.get(_path(url, model, None), timeout=timeout))
    return {int(x["version"]): x["state"] for x in content["model_version_status"]}


def _path(url: str, model: str, version: int | None) -> str:
    path = f"{url.rstrip('/')}/v1/models/{requests.utils.quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{version}"


def _content(response: requests.Response) -> Any:
    if not response.ok:
        raise requests.HTTPError(
            f"{response.status_code} from {response.url}: {response.text}",
            response=response,
        )
    try:
        return json.loads(response.content)
    except UnicodeDecodeError as error:
        raise ValueError(
            "The answer has strings that are no UTF-8, which is not JSON. Ask over "
            "gRPC, or export the output by a name that ends in `_bytes`."
        ) from error


def _json(value: Any) -> Any:
    """Makes JSON of what JSON has no form for."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"Inputs must be arrays, lists, numbers, text or bytes: {value!r}")


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="such as http://localhost:8501")
    parser.add_argument("model", help="name of the model")
    parser.add_argument("inputs", nargs="?", type=json.loads, help="inputs as JSON")
    parser.add_argument("--metadata", action="store_true", help="print the signatures")
    parser.add_argument("--status", action="store_true", help="print the versions")
    parser.add_argument("--signature", default="serving_default")
    parser.add_argument("--version", type=int, help="the latest by default")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds")
    args = parser.parse_args(words)
    if (args.inputs is not None) + args.metadata + args.status != 1:
        parser.error("give one of inputs, --metadata and --status")

    session = connect()
    if args.metadata:
        answer = metadata(session, args.url, args.model, args.version, args.timeout)
    elif args.status:
        answer = status(session, args.url, args.model, args.timeout)
    else:
        answer = predict(
            session,
            args.url,
            args.model,
            args.inputs,
            args.signature,
            args.version,
            args.timeout,
        )
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
