"""The shell: sockets, threads, clocks and files around the pure rooms."""
