"""The pages. Reads are QuerySet methods; whatever writes goes through `tasks.service`."""
