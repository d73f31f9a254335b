"""What every function needs and no room owns: database, configuration, clock, edges, Pub/Sub, identity, logs."""
