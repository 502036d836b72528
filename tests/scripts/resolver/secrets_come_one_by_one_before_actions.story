run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
secret changed abc 2
secret changed xyz 7
action 11
run
    secret-changed
    secret-changed
    action 11
secret changed abc 2
run
