"""How fast things are, beside something that everybody knows: a bare backbone, another engine, a fresh process."""
