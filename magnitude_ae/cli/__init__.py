"""The command line `magnitude-ae`, and how it reads and writes tables."""

from magnitude_ae.cli.commands import app, main
from magnitude_ae.cli.tables import TABLES, check_writable, read_table, write_table

__all__ = ["TABLES", "app", "check_writable", "main", "read_table", "write_table"]
