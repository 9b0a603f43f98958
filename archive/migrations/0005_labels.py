from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("archive", "0004_reveal_secrets"),
    ]

    operations = [
        migrations.AlterField(
            model_name="clearing",
            name="source",
            field=models.CharField(
                choices=[
                    ("thread page", "the thread's page"),
                    ("list", "the list"),
                    ("cleared page", "the Cleared page"),
                    ("admin", "the admin"),
                    ("command", "the command line"),
                    ("code", "Python code"),
                ],
                max_length=30,
            ),
        ),
        migrations.AlterField(
            model_name="clearing",
            name="stage",
            field=models.CharField(
                choices=[
                    ("draft", "not confirmed"),
                    ("running", "in progress"),
                    ("done", "done"),
                    ("cancelled", "cancelled"),
                    ("failed", "interrupted"),
                ],
                default="draft",
                max_length=20,
            ),
        ),
    ]
