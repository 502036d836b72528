"""Who may do what: users, roles, rights, tokens. Pure but for the hashing of passwords."""
