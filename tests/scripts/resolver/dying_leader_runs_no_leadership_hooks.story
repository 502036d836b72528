run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
life dying
leader yes
secret changed abc 2
config second
run
    stop
    remove
    dead
