"""Tools that look at graphs."""
