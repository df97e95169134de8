"""What the websockets of all vendors share: how one is opened and read, kept warm, lost and replaced."""
