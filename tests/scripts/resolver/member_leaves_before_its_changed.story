# Joined has run, its changed has not: the changed is owed all the same, then departed.
relation 3 feed reader
run
    deploy charm
    install
    feed-relation-created
    leader-settings-changed
    config-changed
    start
member 3 reader/0 1
fail feed-relation-joined
run
    feed-relation-joined reader/0 fails
gone 3 reader/0
retry
run
    feed-relation-joined reader/0
    feed-relation-changed reader/0
    feed-relation-departed reader/0 (reader/0 leaves)
