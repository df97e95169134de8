"""Speech and language services. Only these modules import a vendor's SDK, and only when opened."""
