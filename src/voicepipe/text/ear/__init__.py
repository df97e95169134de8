"""What is written, as a person reads it out: rules, and a table of words a language."""
