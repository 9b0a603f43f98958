"""An index of the store: one row per task, in a SQLite file of the site's own.

The index follows the store and can be deleted at any time; it is then built again. Lists take
their order and their counts from it, and read the rows that they show from the store.
"""
