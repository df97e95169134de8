"""Calls over Asterisk's AudioSocket."""
