"""What goes wrong in a simulated cluster, one module for each part of it. ``faults`` decides when."""
