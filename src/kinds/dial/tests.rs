//! The way to servers of the tests' own.
