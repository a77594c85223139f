"""What is gone for good: objects that are still to be deleted in the store, and members who are erased."""
