"""The only way from a sandbox to the network: one proxy for each attempt, which allows only the hosts in its rules.

The proxy is a process outside the sandbox (`proxy`). The worker starts it and reads its reports (`process`). It runs
without the rest of the engine, so its modules use relative imports and import nothing else of ours.
"""
