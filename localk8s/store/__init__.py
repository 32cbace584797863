"""Floor 2: what is on disk. Every file name, the versioned cluster record, its lock."""
