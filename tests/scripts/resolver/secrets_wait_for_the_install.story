secret changed abc 2
secret rotate own 0
run
    deploy charm
    install
    leader-settings-changed
    secret-changed
    secret-rotate
    config-changed
    start
