# The requiring side of a juju-info relation is an endpoint like any other.
relation 3 host barge
run
    deploy charm
    install
    host-relation-created
    leader-settings-changed
    config-changed
    start
member 3 barge/0 1
run
    host-relation-joined barge/0
    host-relation-changed barge/0
gone 3 barge/0
relation 3 dying
life dying
run
    host-relation-departed barge/0 (ledger/1 leaves)
    host-relation-broken
    stop
    remove
    dead
