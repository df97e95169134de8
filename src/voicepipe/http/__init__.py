"""All HTTP of the library. Only these modules import the client library, so that it can be replaced."""
