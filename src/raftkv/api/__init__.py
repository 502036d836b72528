"""What requests mean: validation, proposal, answer. Sees messages and values, never sockets."""
