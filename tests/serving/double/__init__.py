r"""A stand-in for `tensorflow_model_server`, for tests of clients and of exports.

    python -m tests.serving.double --model_name=movies --model_base_path=DIR \
        --port_file=FILE

It speaks the same gRPC services and the same REST API, loads SavedModels with the
Session loader of TensorFlow 1, as the server does, and knows nothing of this package.
Codes of errors follow the server's source. What it leaves out: labels, batching,
deadlines of the session, more than one model, retries of a failed load, and all
calls that are not about Predict. Where variables are missing it refuses to load; the
server loads, and fails at each request.
"""
