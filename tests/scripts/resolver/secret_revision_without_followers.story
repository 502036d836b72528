run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
secret remove abc 1
secret rotate xyz 0
run
    secret-remove
    secret-rotate
