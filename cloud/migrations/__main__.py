"""`python -m cloud.migrations WORDS`: write the next step, from what the tables in `cloud.tables`
have and the last step has not. For whoever changes a table; read what it wrote.

Until the first release there is one step: remove it, and write it anew.
"""

import sys

from alembic import command
from sqlalchemy import create_engine

from cloud import migrations


def main() -> None:
    words = " ".join(sys.argv[1:]) or sys.exit("say in a few words what changes")
    number = f"{len(migrations.steps()) + 1:04d}"
    with create_engine("sqlite://").connect() as connection:
        config = migrations.config(connection)
        config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
        command.upgrade(config, "head")
        command.revision(config, words, autogenerate=True, rev_id=number)


if __name__ == "__main__":
    main()
