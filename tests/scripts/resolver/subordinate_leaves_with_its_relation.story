# The last relation to its principal is removed: the subordinate's unit dies with it.
relation 1 host barge
member 1 barge/0 1
storage data/0
run
    deploy charm
    data-storage-attached
    install
    host-relation-created
    leader-settings-changed
    config-changed
    start
    host-relation-joined barge/0
    host-relation-changed barge/0
relation 1 dying
life dying
run
    data-storage-detaching
    host-relation-departed barge/0 (ledger/1 leaves)
    host-relation-broken
    stop
    remove
    dead
