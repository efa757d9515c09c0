//! One engine thread's way to a load test: a call a hit.
