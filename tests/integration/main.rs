//! Integration tests through the front door.
