"""The pipeline, and a session of it: what listens, who has the floor, and how a reply is made."""
