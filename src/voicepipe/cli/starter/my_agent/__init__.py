"""my-agent: a voice agent made with voicepipe."""
