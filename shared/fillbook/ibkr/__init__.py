"""Room ibkr: broker executions at the finest grain, once each, with every later correction, kept word for word and booked."""
