"""From recogniser events to decisions: when the agent takes its turn and when it gives it up. Pure."""
