"""Calls over Twilio Media Streams."""
