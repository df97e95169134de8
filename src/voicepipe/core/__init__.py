"""The machine: parts, stages, the queues between them, and how long they live. Knows no speech and no vendor."""
