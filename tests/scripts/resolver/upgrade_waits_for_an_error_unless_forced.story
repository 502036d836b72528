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
charm newer
run
charm newer force
run
    deploy newer
retry
run
    config-changed
