"""TensorRT engines: what made one, where it lies, building it, and whether it decides as the bundle does.

It is part of the device, which builds an engine anew when there is none that fits: NumPy, msgspec and, only when they
are needed, tensorrt, tensorrt_rtx and cuda-bindings.
"""
