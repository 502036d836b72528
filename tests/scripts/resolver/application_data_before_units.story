relation 3 feed reader
run
    deploy charm
    install
    feed-relation-created
    leader-settings-changed
    config-changed
    start
app-data 3 1
member 3 reader/0 1
run
    feed-relation-changed
    feed-relation-joined reader/0
    feed-relation-changed reader/0
