"""A Juju model on one machine: runs packed, unmodified charms without a controller.

This package knows Juju's observable behaviour (which hook runs when, what hook tools answer,
what the command line prints) and systemd-nspawn. It does not know any charm, and it imports
neither ops nor anything outside the standard library except yaml.
"""
