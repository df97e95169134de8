"""Services that speak OpenAI's chat completions and speech."""
