"""Cartesia: speech over a websocket, with a time for each word."""
