//! Real servers for tests that need one: started for the test, and gone with it.

pub mod kafka;
