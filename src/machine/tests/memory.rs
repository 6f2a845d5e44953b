//! How much memory a token takes.
