"""A forge to try publishing on: git over HTTP, and pull requests with the rules of GitHub.

It runs as a process of its own (`python -m app.demo.forge --root DIR --token-file FILE`), on loopback only. The adapter
for GitHub talks to it as to a GitHub Enterprise server, with the API below `/api/v3`; a test holds its answers against
the description of the API that GitHub publishes.
"""
