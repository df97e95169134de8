"""From a request to the pieces of a reply: models, the tool loop, structured output."""
