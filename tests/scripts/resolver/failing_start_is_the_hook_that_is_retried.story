# Install is not run again because of it.
fail start
run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start fails
retry
run
    start
