"""What the site needs beside its pages: the reference from docstrings, and what programs read of it."""
