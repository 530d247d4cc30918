"""What people type: `python -m edge_runtime COMMAND`, a function each, options -> exit code."""
