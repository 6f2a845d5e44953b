//! The `authrai` binary.

fn main() {}
