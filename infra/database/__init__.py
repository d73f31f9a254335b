"""The database as code: SQL migrations, the door that applies them, and ``schema.sql``, their sum."""
