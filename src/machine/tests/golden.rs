//! Stored bytes never change meaning.
