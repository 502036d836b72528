"""An etcd-compatible, Raft-replicated key/value daemon."""
