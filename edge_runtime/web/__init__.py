"""The status page: a process of its own that reads the journal, and asks the listener for what people want done.

    python -m edge_runtime serve SITE_OR_FOLDER

It can neither slow nor stop the listening: a request is a few short reads, its work is bounded, and all that it writes
is a request into the journal and what people said of an event. Starlette is imported in `app.py`, uvicorn in
`server.py`, prometheus_client in `metrics.py`, each late: whoever only listens has none of them.
"""
