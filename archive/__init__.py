"""The site's record of what was cleared, in an app of its own: the store's holds no table of it."""
