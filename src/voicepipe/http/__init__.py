"""All HTTP of the library, and how its websockets reach their services. Only these modules import the HTTP client."""
