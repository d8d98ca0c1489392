//! The worker process: R behind a versioned protocol.
