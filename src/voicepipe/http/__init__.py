"""All HTTP of the library, so that the client library can be replaced."""
