"""Five small running sample systems with the same customers, and the catalogue that reads them.

Real parts, written the way such systems are: an SQL database, three HTTP APIs in one server
process, Parquet files and a Delta table, all in one folder.
"""

from profile_pipelines.demo.changes import change
from profile_pipelines.demo.systems import DemoSystems

__all__ = ["DemoSystems", "change"]
