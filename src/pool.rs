//! The bounded pool of workers of one model version.
