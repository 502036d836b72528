# The container relation shows a subordinate its principal only; that ends with its principal.
relation 1 host barge
member 1 barge/0 1
relation 2 moss-peers peer
member 2 ledger/0 1
run
    deploy charm
    install
    host-relation-created
    moss-peers-relation-created
    leader-settings-changed
    config-changed
    start
    host-relation-joined barge/0
    host-relation-changed barge/0
    moss-peers-relation-joined ledger/0
    moss-peers-relation-changed ledger/0
app-data 2 1
member 1 barge/0 2
run
    host-relation-changed barge/0
    moss-peers-relation-changed
life dying
run
    host-relation-departed barge/0 (ledger/1 leaves)
    host-relation-broken
    moss-peers-relation-departed ledger/0 (ledger/1 leaves)
    stop
    remove
    dead
