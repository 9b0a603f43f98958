"""Threads for people: messages, tool calls, steps, the timeline, search, rendering, export."""
