"""What runs beside the machine: sound in, one score a second, an alarm out."""

__version__ = "0.1.0"
BACKENDS = ("onnxruntime", "tensorrt")  # of edge_runtime.backends; here for those who need not import NumPy
