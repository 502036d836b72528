"""The whole replicated state as a file in etcd's form, and such files made into a new backend.

etcd's own tools read what we write (its v3 part), and we read what etcd wrote. The v2 store has no
place in etcd's snapshots; here it lies in a bucket of its own, which etcd leaves alone.
"""
