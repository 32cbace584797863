"""Floor 2: Kubernetes as a client sees it. The only importer of the ``kubernetes`` package (inside functions)."""
