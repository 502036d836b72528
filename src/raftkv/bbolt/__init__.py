"""bbolt's file form: what etcd's snapshots are. Written whole, read by anybody's hand."""
