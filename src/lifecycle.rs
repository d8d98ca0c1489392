//! Phases of the server: starting, serving, draining, stopped.
