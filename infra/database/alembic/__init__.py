"""Alembic's side of the migrations: the environment and one short revision per SQL file."""
