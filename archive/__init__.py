"""The record and archive of cleared threads: a separate app, as it uses the site's database."""
