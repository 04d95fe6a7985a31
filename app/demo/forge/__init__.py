"""A demonstration forge to try publishing with: git over HTTP, and pull requests with the rules of GitHub.

It runs as a separate process (`python -m app.demo.forge --root DIR --token-file FILE`), on loopback only. The adapter
for GitHub uses it like a GitHub Enterprise server, with the API below `/api/v3`. A test checks its answers against the
description of the API that GitHub publishes.
"""
