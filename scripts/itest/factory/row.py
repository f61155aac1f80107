"""What a test says about a row, and the row that it gets: columns by name, parents as rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from itest.errors import ItestError
from itest.factory.catalogue import Catalogue, ForeignKey, Table
from itest.suite.schema import nearest


class Row:
    """One row as PostgreSQL returned it: `row.email`, `row["email"]`. It stays as it was when it was created."""

    __slots__ = ("_table", "_values")

    def __init__(self, table: str, values: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_table", table)
        object.__setattr__(self, "_values", values)

    def __getitem__(self, column: str) -> Any:
        return self._values[column]

    def __getattr__(self, column: str) -> Any:
        if column not in self._values:
            raise AttributeError(f"a row of {self._table} has no {column}; {nearest(column, self._values)}")
        return self._values[column]

    def __setattr__(self, column: str, value: object) -> None:
        raise AttributeError(f"a row doesn't change; UPDATE {self._table} SET {column} = … does")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and (self._table, self._values) == (other._table, other._values)

    def __reduce__(self) -> tuple[type[Row], tuple[str, Mapping[str, Any]]]:
        return Row, (self._table, self._values)  # copied and pickled by the two, as nothing can be set later

    __hash__ = None  # type: ignore[assignment]  # its values may be lists

    def __repr__(self) -> str:
        return f"{self._table}({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"

    def _asdict(self) -> dict[str, Any]:
        """The columns by name; underscored, like a namedtuple's, so that no column is in its way."""
        return dict(self._values)


class Unknown(ItestError):
    """A name that isn't in the catalogue, or wasn't when it was read."""


def table_of(catalogue: Catalogue, name: str) -> Table:
    """The table that a name leads to. Raises Unknown."""
    if name not in catalogue.names:
        with_schema = [known for known in catalogue.names if "." in known]
        hint = nearest(name, with_schema if "." in name else {table.name for table in catalogue.tables.values()})
        raise Unknown("usage", f"factory: no table {name}", hint=hint, cause="factory")
    return catalogue.names[name]


def columns_of(catalogue: Catalogue, table: Table, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values by column. A parent's row stands for the columns that refer to it: `user_id=row`, or `user=row`.

    Raises Unknown for a name that is neither, ItestError (usage) for a row of another table.
    """
    parents = _parents(table)
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name in table.columns and not isinstance(value, Row):
            values[name] = value
        elif name in table.columns:
            keys = [key for key in table.foreign_keys if name in key.columns]
            values |= _from(catalogue, table, name, keys, value)
        elif name in parents:
            values |= _from(catalogue, table, name, [parents[name]], value)
        else:
            hint = nearest(name, [*table.columns, *parents])
            raise Unknown("usage", f"factory {table.name}: no column {name}", hint=hint, cause="factory")
    return values


def _parents(table: Table) -> dict[str, ForeignKey]:
    """Foreign keys by what a person calls the parent: `user` for user_id, `item` for item_sku that refers to sku."""
    found: dict[str, ForeignKey] = {}
    for key in sorted(table.foreign_keys, key=lambda key: len(key.columns)):
        for column, parent_column in zip(key.columns, key.parent_columns, strict=True):
            for ending in ("_id", f"_{parent_column}"):
                name = column.removesuffix(ending)
                if name and name not in table.columns:
                    found.setdefault(name, key)
    return found


def _from(catalogue: Catalogue, table: Table, name: str, keys: list[ForeignKey], value: object) -> dict[str, Any]:
    """The columns of a foreign key, from the parent's row, or NULL for None."""
    if value is None:
        return {column: None for key in keys for column in key.columns if table.columns[column].nullable}
    parents = [catalogue.tables[key.parent].name for key in keys]
    for key, parent in zip(keys, parents, strict=True):
        if isinstance(value, Row) and value._table == parent:
            return {column: value[wanted] for column, wanted in zip(key.columns, key.parent_columns, strict=True)}
    got = f"a row of {value._table}" if isinstance(value, Row) else repr(value)
    wanted_ = f"a row of {' or '.join(parents)}" if parents else "a value: it refers to no table"
    hint = f"{name}=factory.create({parents[0]!r})" if parents else f"{name}=row.{name}"
    if parents and not isinstance(value, Row):
        hint = f"{keys[0].columns[-1]}={value!r}, or {hint}"
    raise ItestError("usage", f"factory {table.name}: {name} takes {wanted_}, not {got}", hint=hint, cause="factory")
