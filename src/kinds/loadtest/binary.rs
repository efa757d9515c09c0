//! Where the program comes from, and what is executed of it.
