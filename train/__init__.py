"""What needs gradients: simulated and real data, systems, losses, training, evaluation."""
