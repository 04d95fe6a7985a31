"""The demo, `agent-runners demo`, and a demonstration forge with GitHub's rules that it publishes to."""
