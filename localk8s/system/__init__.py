"""Floor 1: the host. Processes, files, locks, waiting, host facts, paths. Knows nothing of Kubernetes."""
