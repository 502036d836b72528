"""Deterministic simulation of whole clusters: one seed is one whole story.

Virtual time, one event queue, one seeded source of chance. What runs is the production replica;
network, disks, backend, clients and operators are models. See ``run_seed`` for the entry point.
"""
