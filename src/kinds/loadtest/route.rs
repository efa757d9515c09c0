//! What a request's method and URL have in common with others of its kind.
