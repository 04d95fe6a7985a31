"""The model gateway of an attempt: it takes the agent's calls to its model, and makes them with the real key.

The gateway is a process outside the sandbox (`gateway`), and the only one of an attempt that holds the key of a model.
The agent has a random token in its place, which is good for this gateway alone. The worker starts the process and reads
from it what each call used (`process`). Like the proxy it runs without the rest of the engine, so its modules use
relative imports and import nothing else of ours.
"""
