"""`agent-runners doctor`: each part of a deployment, whether it works, and the remedy where it does not."""
