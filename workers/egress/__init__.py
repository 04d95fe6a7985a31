"""The only way from a sandbox to the network: a proxy of its own for each attempt, which lets through what is allowed.

The proxy is a process outside the sandbox (`proxy`), started and heard by the worker (`process`). It runs without the
rest of the engine, so the modules that it is made of import each other relatively and nothing else of ours.
"""
