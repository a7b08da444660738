"""Where all tables belong."""

from typing import Final

from sqlalchemy import MetaData

metadata: Final = MetaData(
    naming_convention={  # a constraint that is to be changed one day needs a name
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
