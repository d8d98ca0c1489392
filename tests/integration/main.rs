//! Integration tests through the front door.

mod tidy;
