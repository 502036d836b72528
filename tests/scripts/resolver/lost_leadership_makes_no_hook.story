leader yes
run
    deploy charm
    install
    leader-elected
    config-changed
    start
leader no
run
leader yes
run
    leader-elected
