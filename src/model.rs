//! Model bundles on disk.
