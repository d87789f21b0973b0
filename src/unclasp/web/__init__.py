"""The web page of `demo` and what it is answered."""
