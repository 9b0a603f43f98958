"""Loads the application when the fork server of gloamy_site/heavy_requests.py imports this."""

import gc
import os

os.nice(5)  # so that pages come first if there are more processes than cores

from django.conf import settings  # noqa: E402 - imported with lower priority
from django.template.loader import get_template  # noqa: E402 - see above

import gloamy_site.wsgi  # noqa: E402, F401 - loads the views; the forked processes use it

TEMPLATES = settings.BASE_DIR / "templates"

for file in TEMPLATES.rglob("*.html"):
    get_template(str(file.relative_to(TEMPLATES)))  # caches the compiled template
gc.freeze()  # so that garbage collection in the forked processes does not copy their shared memory
