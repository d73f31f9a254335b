"""Everything around the functions: the manifest, the one door, the local cloud, the database, the documents."""
