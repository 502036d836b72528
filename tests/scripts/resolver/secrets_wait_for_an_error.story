run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
fail config-changed
config second
run
    config-changed fails
secret rotate abc 0
secret changed def 5
run
retry
run
    config-changed
    secret-rotate
    secret-changed
