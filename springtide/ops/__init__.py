"""What operating a process takes, whatever it does."""
