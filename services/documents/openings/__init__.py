"""Break-glass: the only way past a visibility. A reason, a limited time, told to whoever uploaded, in the history."""
