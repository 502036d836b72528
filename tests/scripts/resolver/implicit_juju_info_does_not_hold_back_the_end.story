relation 0 ring peer
relation 3 juju-info moss implicit
member 3 moss/0 1
run
    deploy charm
    install
    ring-relation-created
    leader-settings-changed
    config-changed
    start
life dying
run
    stop
    remove
    dead
