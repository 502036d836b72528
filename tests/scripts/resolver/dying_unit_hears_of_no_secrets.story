run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
secret changed abc 2
secret rotate own 0
secret expired own 1
secret remove own 1
life dying
run
    stop
    remove
    dead
