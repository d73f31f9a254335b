"""Room snapshot: the trading day as published numbers, whole or not at all. Source: snapshot specification."""
