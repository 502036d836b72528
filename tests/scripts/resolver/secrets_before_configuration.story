run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
secret changed abc 2
config second
run
    secret-changed
    config-changed
secret changed abc 3
run
    secret-changed
