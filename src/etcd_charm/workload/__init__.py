"""Effects: this machine (files, users, services) and the cluster (through its client API).

Nothing here knows Juju. `engine.Workload` is the border that tests replace by one fake.
"""
