"""A server for an agent: a page, telephone numbers, clients of the Realtime protocol. Needs `voicepipe[server]`."""
