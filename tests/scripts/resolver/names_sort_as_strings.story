relation 3 feed reader
run
    deploy charm
    install
    feed-relation-created
    leader-settings-changed
    config-changed
    start
member 3 reader/2 1
member 3 reader/10 1
run
    feed-relation-joined reader/10
    feed-relation-changed reader/10
    feed-relation-joined reader/2
    feed-relation-changed reader/2
