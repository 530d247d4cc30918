"""What `export/benchmark.py` is made of: the registry, the plan, the jobs, the figures, the tables and the page."""
