# A menu; the scripts in hack/ hold the logic, and answer -h.

[private]
menu:
    @just --list --unsorted

# run a container, from nothing
demo *ARGS:
    hack/demo {{ARGS}}

# the tree's rules and the unit tests
check *STEPS:
    hack/check {{STEPS}}

# everything that says whether it works
test *STEPS:
    hack/test {{STEPS}}

# the conformance suite against one runtime
spec RUNTIME *ARGS:
    cargo run -q -p spec-tests -- --runtime {{RUNTIME}} {{ARGS}}

# rt, crun and runc against the floor (as root)
bench *ARGS:
    hack/bench {{ARGS}}

# rt, its man pages and completions into PREFIX (/usr/local), or away with --uninstall
install *ARGS:
    hack/install {{ARGS}}

# a Debian package of the same
deb *ARGS:
    hack/deb {{ARGS}}

# write the generated pages of docs/ anew
pages:
    hack/pages
