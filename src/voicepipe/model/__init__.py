"""From a request to the pieces of a reply: the model, the tool loop, structured output."""
