"""From text deltas to sentences, and from a reply's text to words that can be pronounced."""
