"""Floor 4: how the nodes come to be. Each driver lives in its own package and knows nothing of the others."""
