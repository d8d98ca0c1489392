//! Server certificates.
