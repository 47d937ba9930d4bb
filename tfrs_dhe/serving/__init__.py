"""From a trained model to a directory that stock TF Serving answers from."""
