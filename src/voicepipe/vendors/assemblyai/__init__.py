"""AssemblyAI: streaming speech to text, and text to speech, each over one websocket."""
