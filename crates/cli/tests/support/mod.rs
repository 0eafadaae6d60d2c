//! What the test programs share: cases that name what they need, folders that clean up after
//! themselves, programs, daemons, and trees that are compared.
#![allow(dead_code, reason = "each test program uses its part")]

pub mod case;
pub mod daemon;
pub mod layout;
pub mod program;
pub mod scratch;
pub mod serving;
pub mod tree;
