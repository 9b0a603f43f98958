"""The record and archive of cleared threads: an app of its own, as it is in the site's database."""
