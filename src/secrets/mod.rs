//! Secrets: how keys are spelled, and how what must be kept is sealed.
//!
//! A secret is shown once, compared by hash or in constant time, wiped when dropped, and has no
//! `Debug` or `Display` that shows it. Depends on nothing else of ours; must not know whose a
//! secret is or what it opens.
