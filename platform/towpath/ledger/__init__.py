"""The record: an append-only, hash-chained table in SQLite or PostgreSQL.

`chain` is the pure part (what a record's hash covers, how a chain is verified), `export` the same chain as a file,
`sql` the database, `schema` its versions; `rollouts` are rows that change, each change with its record.
"""
