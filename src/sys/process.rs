//! Processes: clone3, pidfds, namespaces, prctl.
