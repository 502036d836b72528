"""What a file can be instead of a database."""


class DamagedDatabaseError(Exception):
    """The file is no bbolt database, or a damaged one; says where and what."""
