"""Recorded calls for people: a page, a picture of a wait, and the figures of many calls."""
