run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
config second
fail config-changed
run
    config-changed fails
life dying
run
retry
run
    config-changed
    stop
    remove
    dead
