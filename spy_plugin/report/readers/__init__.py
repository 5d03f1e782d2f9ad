"""Find and read the results of each host."""
