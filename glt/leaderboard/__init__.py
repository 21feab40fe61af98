"""A board of tickets whose every number is computed again from the ticket files."""
