"""`agent-runners doctor`: whether each part of a deployment works, and the remedy if it does not."""
