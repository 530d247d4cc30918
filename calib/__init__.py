"""Numbers chosen by looking at recordings, without gradients: index, metrics, references, thresholds."""
