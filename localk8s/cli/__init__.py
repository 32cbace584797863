"""Floor 7: the door. The only importer of typer and rich. Options in, one call of the library, result out."""
