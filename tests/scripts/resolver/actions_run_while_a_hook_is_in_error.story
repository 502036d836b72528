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
action 7
command 1
config third
leader yes
run
    action 7
    command 1
retry
run
    config-changed
    leader-elected
