"""From audio frames to transcripts."""
