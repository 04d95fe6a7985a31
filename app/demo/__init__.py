"""The demonstration of the product: `agent-runners demo`, and a forge with GitHub's rules to publish to."""
