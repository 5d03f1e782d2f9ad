"""Results of each host, found in folders and read."""
