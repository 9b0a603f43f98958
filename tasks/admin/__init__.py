"""The Django admin for tasks and checkpoints. It is read-only, except that it can clear threads."""

from django.contrib import admin

from tasks.admin.accounts import GroupAdmin as GroupAdmin
from tasks.admin.accounts import UserAdmin as UserAdmin
from tasks.admin.checkpoints import TaskCheckpointAdmin as TaskCheckpointAdmin
from tasks.admin.tasks import TaskRecordAdmin as TaskRecordAdmin

admin.site.site_header = admin.site.site_title = "gloamy tasks"
admin.site.index_title = "Administration"
admin.site.enable_nav_sidebar = False
