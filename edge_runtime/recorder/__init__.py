"""What was heard around an alarm, kept: an event folder with sound, scores, pictures and the reason."""
