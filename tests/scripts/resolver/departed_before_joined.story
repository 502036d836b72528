relation 0 ring peer
member 0 ledger/0 1
run
    deploy charm
    install
    ring-relation-created
    leader-settings-changed
    config-changed
    start
    ring-relation-joined ledger/0
    ring-relation-changed ledger/0
gone 0 ledger/0
member 0 ledger/2 1
run
    ring-relation-departed ledger/0 (ledger/0 leaves)
    ring-relation-joined ledger/2
    ring-relation-changed ledger/2
