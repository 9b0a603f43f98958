"""What a thread's rows say to a person: messages, calls, steps, the picture, exports."""
