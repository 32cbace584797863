"""Floor 7: the door. The only importer of typer and rich: options, one call, render."""
