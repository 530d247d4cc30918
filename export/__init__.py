"""A trained run becomes a bundle: ONNX, INT8, package, comparison, report."""
