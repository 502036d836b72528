relation 0 ring peer
life dying
run
    dead
