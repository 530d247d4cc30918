"""What `export/report.py` is made of: its content, the events of a run, the drawing, the words, the templates."""
