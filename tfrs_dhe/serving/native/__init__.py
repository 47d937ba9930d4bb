r"""Serves an export by a C program: TensorFlow's C++ runtime, without any Python.

That `tf.saved_model.load` answers in Python is no proof that a server will: Python
brings kernels and objects of its own. This program loads a version's directory with
the session loader of TF Serving, and nothing else, so what it answers is what the
stock server's runtime computes; it measures latency without Python in the way.

    from tfrs_dhe.serving import native

    with native.Server("models/retrieval/1") as server:
        answer = server.predict("serving_default", {"user_id": ["user_1"]})
        p50, fastest = server.time("serving_default", {"user_id": ["user_1"]}, 100)

`Server` compiles the program when it is first needed, which takes a C compiler
(`gcc`) and some seconds. By hand, in a shell:

    TF=$(python -c "import tensorflow as tf; print(tf.sysconfig.get_lib())")
    gcc -std=gnu11 -O2 serve.c -o serve -I$TF/include -L$TF \
        -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2 \
        -Wl,-rpath,$TF -Wl,--allow-shlib-undefined
    ./serve models/retrieval/1 < requests > answers

What a request and an answer look like is told at the top of `serve.c`, which is in
this folder. Linux only, as the wheel's libraries have these names there.
"""

from tfrs_dhe.serving.native._build import build
from tfrs_dhe.serving.native._protocol import RequestError
from tfrs_dhe.serving.native._server import Latency, Server
from tfrs_dhe.serving.native._signatures import Signature, read_signatures

__all__ = ["Latency", "RequestError", "Server", "Signature", "build", "read_signatures"]
