"""Floor 3: turns nodes into a cluster by kubeadm's phases. Knows nodes, not drivers."""
