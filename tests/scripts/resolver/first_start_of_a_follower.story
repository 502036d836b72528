# A follower hears of the leader's settings once; joined is always followed by changed.
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
