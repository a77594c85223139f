"""What becomes of somebody's documents when she leaves: a successor takes them, they are kept, or they are erased."""
