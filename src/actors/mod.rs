//! Actors: the work that a node does, as against the truth that the cluster holds.
//!
//! One supervisor owns the others and restarts what dies. Callers hold typed handles and never see
//! an actor; admission is bounded before a mailbox, calls have deadlines, and what an actor knows
//! can be rebuilt from the state and the disk. Must not know HTTP.
