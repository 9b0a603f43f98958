"""The app that records and archives cleared threads. Its tables are in the site's own database."""
