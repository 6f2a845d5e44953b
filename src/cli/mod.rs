//! The command line: one file a command. Every command says what comes next.
