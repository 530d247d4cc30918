"""How long it takes from the microphone to the decision, and what that costs: what export/report.py measures."""
