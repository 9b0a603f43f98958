"""Threads as people read them: messages, tool calls, steps, timeline, search, HTML and export."""
